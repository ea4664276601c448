-- How long this transaction waits for a lock: longer than the server needs to notice that a holder was killed.
select set_config('lock_timeout', '3s', true)
