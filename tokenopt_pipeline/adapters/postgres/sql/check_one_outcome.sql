-- Per shard: blocks it should have, blocks with an overlay, and blocks whose overlay has not ended.
select s.end_ordinal - s.first_ordinal as expected, count(o.block_no) as found,
  count(*) filter (where o.status in ('pending', 'submitted')) as open,
  (select coalesce(array_agg(d.document_id || ':' || b.block_index), '{}') from (
     select x.block_no from overlay x
     where x.run_no = s.run_no and x.shard_no = s.shard_no and x.status in ('pending', 'submitted')
     order by x.ordinal limit 10) w join block b using (block_no) join document d using (document_no)) as offenders
from shard s left join overlay o on o.run_no = s.run_no and o.shard_no = s.shard_no
where s.run_no = %(run_no)s and s.shard_no = %(shard_no)s
group by s.run_no, s.shard_no, s.first_ordinal, s.end_ordinal
