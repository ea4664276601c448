-- The answers of the shard, for validation against their schema.
select d.document_id || ':' || b.block_index as block_uid, coalesce(o.confirmed, o.staged) as answer
from overlay o join block b using (block_no) join document d using (document_no)
where o.run_no = %(run_no)s and o.shard_no = %(shard_no)s and o.status in ('ai_complete', 'confirmed')
order by o.ordinal
