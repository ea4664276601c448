-- Texts that packs carry; what is kept already stays.
insert into context_text (text_id, text)
select * from unnest(%(text_ids)s::uuid[], %(texts)s::text[])
on conflict do nothing
