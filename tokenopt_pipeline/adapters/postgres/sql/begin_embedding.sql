-- The intent to have texts embedded.
insert into embedding_use (run_no, embedder, texts, usd_ceiling, began_at)
values (%(run_no)s, %(embedder)s, %(texts)s, %(usd_ceiling)s, %(now)s)
returning use_no
