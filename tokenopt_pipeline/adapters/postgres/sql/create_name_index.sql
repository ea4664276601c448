-- Full text of what chunks are called: an index of all their words would have every chunk that has one of them looked at.
create index on {chunks} using gin (word_stems(title || ' ' || heading))
