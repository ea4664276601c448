-- The intent to have a batch made.
insert into batch (run_no, shard_no, model, key, round, n_requests, n_bytes, primes, intended_at, look_at)
values (%(run_no)s, %(shard_no)s, %(model)s, %(key)s, %(round)s, %(n_requests)s, %(n_bytes)s, %(primes)s, %(now)s, %(now)s)
returning *
