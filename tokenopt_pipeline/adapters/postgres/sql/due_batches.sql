-- Batches that are not ended and are to be looked at by now, the oldest first.
select * from batch where state in ('intended', 'submitted') and look_at <= %(now)s order by batch_no
