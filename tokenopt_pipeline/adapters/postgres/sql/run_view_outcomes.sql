-- A block of the run and the answered blocks before it in its document, the nearest first; nothing of another run.
with asked as (
  select o.run_no, o.ordinal, b.document_no, b.block_index
  from run r
  join overlay o using (run_no)
  join block b using (block_no)
  join document d using (document_no)
  where r.run_no = %(run_no)s and d.document_id = %(document_id)s and b.block_index = %(block_index)s
)
select d.document_id, b.block_index, o.ordinal, o.status, coalesce(o.confirmed, o.staged) as answer
from asked
join block b on b.document_no = asked.document_no and b.block_index <= asked.block_index
join overlay o on o.run_no = asked.run_no and o.block_no = b.block_no
join document d on d.document_no = b.document_no
where b.block_index = asked.block_index or coalesce(o.confirmed, o.staged) is not null
order by b.block_index desc
limit %(most)s
