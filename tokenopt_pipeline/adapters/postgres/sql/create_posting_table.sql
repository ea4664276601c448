-- How much each word says in each chunk (Okapi BM25, k1 = 1.2, b = 0.75), a word in a title or heading counting three times.
create table {postings} as
with occurrence as (
  select t.lexeme, c.chunk_no,
    (select sum(case weight when 'A' then 3 else 1 end) from unnest(t.weights) weight)::real as tf
  from {chunks} c, unnest(c.terms) t
), length as (
  select chunk_no, sum(tf) as n from occurrence group by chunk_no
), whole as (
  select (select avg(n) from length)::real as mean, (select count(*) from {chunks}) as n_chunks
)
select w.word_no, o.chunk_no,
  (ln(1 + (a.n_chunks - w.df + 0.5) / (w.df + 0.5))
    * o.tf * 2.2 / (o.tf + 1.2 * (0.25 + 0.75 * l.n / a.mean)))::real as weight
from occurrence o join {words} w using (lexeme) join length l using (chunk_no) cross join whole a
order by w.word_no, o.chunk_no
