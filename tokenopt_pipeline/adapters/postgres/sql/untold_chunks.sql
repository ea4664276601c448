-- Chunks of an index that no trigger decides about: of sections without one, and of those rules that are named.
select c.chunk_no, c.n_tokens from {chunks} c
where c.chunk_no = any(%(undeciding)s)
  or not exists (select from {chunks} r where r.section_no = c.section_no and r.trigger is not null)
order by c.chunk_no
