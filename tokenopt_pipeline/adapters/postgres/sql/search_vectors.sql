-- The chunks whose vectors are nearest to the query's, by cosine.
select chunk_no, section_no, 1 - (embedding <=> %(vector)s::halfvec) as cosine
from {chunks}
order by embedding <=> %(vector)s::halfvec
limit %(n)s
