-- The words of a query with their postings, the rarest first, until so many postings are read: what is left says little and
-- costs most. A word that no chunk has counts for what the query could be at most.
with asked as (
  select lexeme, coalesce(cardinality(positions), 1) as times from unnest(word_stems(%(words)s))
), known as (
  select a.lexeme, a.times, coalesce(w.df, 0) as df, sum(w.df) over (order by w.df, a.lexeme) as cost
  from asked a left join {words} w using (lexeme)
)
select k.times, k.df, w.chunk_nos, w.weights
from known k left join {words} w on w.lexeme = k.lexeme and (k.cost <= %(most_postings)s or k.cost = k.df)
order by k.df, k.lexeme
