insert into webhook_refusal (provider, refusal, n, last_at) values (%(provider)s, %(refusal)s, 1, %(now)s)
on conflict (provider, refusal) do update set n = webhook_refusal.n + 1, last_at = excluded.last_at
