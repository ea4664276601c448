-- The chunks nearest to the query's vector moved towards the mean of the first results.
with aim as materialized (
  select %(vector)s::halfvec + avg(embedding) as vector from {chunks} where chunk_no = any(%(first)s)
)
select chunk_no, section_no, 1 - (embedding <=> (select vector from aim)) as cosine
from {chunks}
order by embedding <=> (select vector from aim)
limit %(n)s
