-- Blocks of a run by their uids, locked against other reviewers, with what stands for them.
select d.document_id || ':' || b.block_index as block_uid, o.block_no, o.status, o.rule_id, coalesce(o.confirmed, o.staged) as answer
from unnest(%(document_ids)s::text[], %(block_indexes)s::int[]) as asked(document_id, block_index)
join document d using (document_id)
join block b on b.document_no = d.document_no and b.block_index = asked.block_index
join overlay o on o.run_no = %(run_no)s and o.block_no = b.block_no
order by o.block_no
for update of o
