-- Batches of one request that go first, so that the others find their common prefix kept.

alter table batch
  -- What its request shares with those that wait for it; null: nobody waits.
  add column primes text,
  add constraint a_priming_batch_has_one_request check (primes is null or n_requests = 1);
