-- A pack's blocks with their texts.
select p.block_no, o.ordinal, b.block_type, b.text, b.n_tokens, p.attempts_before
from pack_block p
join overlay o on o.run_no = p.run_no and o.block_no = p.block_no
join block b on b.block_no = p.block_no
where p.pack_no = %(pack_no)s
order by p.position
