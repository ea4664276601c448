-- The newest answered blocks of a schema on a model, in one form: how long the block is and what its answer was billed.
select b.block_type, b.n_tokens as block_tokens, m.answer_tokens
from ledger l
join run r using (run_no)
join model_output m using (call_no)
join call c using (call_no)
join pack p on p.pack_no = c.pack_no and p.asks <> 'classification'
join block b on b.block_no = m.block_no
where l.model = %(model)s and l.kind = %(kind)s and r.schema_hash = %(schema_hash)s
  and coalesce(r.policy -> 'packing' ->> 'output_form', 'plain') = %(form)s and m.answer_tokens is not null
order by l.call_no desc, m.position limit %(most)s
