-- Shards of the run with blocks whose story has not ended, or that have no overlay yet.
select s.shard_no
from shard s left join overlay o on o.run_no = s.run_no and o.shard_no = s.shard_no
  and o.status in ('skipped', 'ai_complete', 'failed', 'confirmed')
where s.run_no = %(run_no)s
group by s.shard_no, s.first_ordinal, s.end_ordinal
having count(o.block_no) < s.end_ordinal - s.first_ordinal
order by s.shard_no
