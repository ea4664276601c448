-- An event, unless it was heard before.
insert into webhook (provider, webhook_id, kind, batch_id, received_at)
values (%(provider)s, %(webhook_id)s, %(kind)s, %(batch_id)s, %(now)s)
on conflict (provider, webhook_id) do nothing
