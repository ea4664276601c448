-- The chunks whose words say most about the query, with the share of the query's information they hold. The rarest words
-- are looked up first, until so many postings are read: what is left says little and costs most.
with asked as (
  select lexeme, coalesce(cardinality(positions), 1) as times from unnest(word_stems(%(words)s))
), known as (
  select a.times, w.word_no, w.df, sum(w.df) over (order by w.df, w.word_no) as cost,
    ln(1 + (%(n_chunks)s - coalesce(w.df, 0) + 0.5) / (coalesce(w.df, 0) + 0.5)) as information
  from asked a left join {words} w using (lexeme)
), total as (
  select sum(times * information * 2.2) as possible from known
)
select best.chunk_no, c.section_no, (best.score / (select possible from total))::float8 as share
from (
  select p.chunk_no, sum(k.times * p.weight) as score
  from known k join {postings} p using (word_no)
  where k.cost <= %(most_postings)s or k.cost = k.df
  group by p.chunk_no
  order by score desc, p.chunk_no
  limit %(n)s
) best join {chunks} c using (chunk_no)
order by best.score desc, best.chunk_no
