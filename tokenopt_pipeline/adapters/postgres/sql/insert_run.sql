-- A run, unless one of the same inputs is open.
insert into run (run_id, collection_no, schema_hash, policy, policy_hash, policy_sources, inputs_digest, answer_recipe,
                 schema_ref, mode, kind, n_blocks, n_shards, budget_usd, learned, knowledge, classification_tokens,
                 created_at)
values (%(run_id)s, %(collection_no)s, %(schema_hash)s, %(policy)s, %(policy_hash)s, %(policy_sources)s,
        %(inputs_digest)s, %(answer_recipe)s, %(schema_ref)s, %(mode)s, %(kind)s, %(n_blocks)s, %(n_shards)s, %(budget_usd)s, %(learned)s,
        %(knowledge)s, %(classification_tokens)s, %(now)s)
on conflict (inputs_digest) where state = 'open' do nothing
returning run_no
