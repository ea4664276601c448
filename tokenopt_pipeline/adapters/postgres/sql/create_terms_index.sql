-- Full text: every word of a name, phrases, boolean queries.
create index on {chunks} using gin (terms)
