-- A schema version, once.
insert into extraction_schema (schema_hash, ref, source, prompt_tokens, created_at)
values (%(schema_hash)s, %(ref)s, %(source)s, %(prompt_tokens)s, %(now)s)
on conflict (schema_hash) do nothing
