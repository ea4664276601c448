-- Leases shards on which something can be done now: a batch has ended, or packs wait for a batch and nobody is at it.
with ready as (
  select b.run_no, b.shard_no from batch b where b.state = 'ended' and b.look_at <= %(now)s
  union
  select p.run_no, p.shard_no from pack p join run r using (run_no)
  where r.state = 'open' and p.state = 'open' and p.mode = 'async' and p.created_at <= %(idle_since)s
    and not exists (select from batch_request q join batch b using (batch_no) where q.pack_no = p.pack_no and b.state <> 'closed')
    and not exists (select from batch b where b.run_no = p.run_no and b.shard_no = p.shard_no
                    and (b.state = 'intended' or b.closed_at > %(idle_since)s))
    -- One that goes first may be of another shard.
    and not exists (select from batch b where b.run_no = p.run_no and b.primes is not null and b.state <> 'closed')
), free as (
  select y.run_no, y.shard_no from ready y left join batch_lease l using (run_no, shard_no)
  where l.until is null or l.until <= %(now)s
  order by y.run_no, y.shard_no limit %(most)s
), leased as (
  insert into batch_lease (run_no, shard_no, lease, until)
  select run_no, shard_no, %(lease)s, %(until)s from free
  on conflict (run_no, shard_no) do update set lease = excluded.lease, until = excluded.until
  where batch_lease.until <= %(now)s
  returning run_no, shard_no
)
select run_no, shard_no from leased order by run_no, shard_no
