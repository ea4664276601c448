-- How much of each chunk a word is (Okapi BM25, k1 = 1.2, b = 0.75, without the word's information, which follows from df), a word
-- in a title or heading counting three times.
insert into {words} (lexeme, df, chunk_nos, weights)
with occurrence as (
  select t.lexeme, c.chunk_no,
    (select sum(case weight when 'A' then 3 else 1 end) from unnest(t.weights) weight)::real as tf
  from {chunks} c, unnest(c.terms) t
), length as (
  select chunk_no, sum(tf) as n from occurrence group by chunk_no
), whole as (
  select avg(n)::real as mean from length
)
select o.lexeme, count(*)::int, array_send(array_agg(o.chunk_no order by o.chunk_no)),
  array_send(array_agg((o.tf * 2.2 / (o.tf + 1.2 * (0.25 + 0.75 * l.n / a.mean)))::real order by o.chunk_no))
from occurrence o join length l using (chunk_no) cross join whole a
group by o.lexeme
