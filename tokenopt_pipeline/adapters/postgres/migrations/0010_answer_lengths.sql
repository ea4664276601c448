-- How long answers are, so that packs are sized with what was seen, and why a pack is as large as it is.

-- Billed output of this block: its share of the whole answer. Null: it has no answer, or is of before it was kept.
alter table model_output add column answer_tokens int;
-- Null: a pack of before it was kept.
alter table pack add column reason text;
