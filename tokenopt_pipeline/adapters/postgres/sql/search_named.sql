-- The chunks in whose title and heading every word of a short query stands, the shortest names first.
with asked as (
  select string_agg(quote_literal(lexeme), ' & ')::tsquery as query, count(*) as n
  from unnest(word_stems(%(query)s))
)
select c.chunk_no
from asked a, {chunks} c
where a.n between 1 and %(most_words)s and word_stems(c.title || ' ' || c.heading) @@ a.query
order by length(c.title || c.heading), c.chunk_no
limit %(n)s
