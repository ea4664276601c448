-- Runs follow their routing: packs that ask somebody else, doubts about answers, and which of several answers a block has.

alter table pack
  add column asks text not null default 'answer',
  add column cause text not null default 'planned',
  -- Where the blocks' route began, which bounds how far they may escalate.
  add column first_tier text,
  add column hops int not null default 0,
  add column obstacle text;
update pack set first_tier = tier, cause = case when generation > 0 then 'split' else 'planned' end;
alter table pack
  alter column first_tier set not null,
  add constraint what_a_pack_asks_is_known check (asks in ('answer', 'second_opinion', 'classification')),
  add constraint why_a_pack_exists_is_known
    check (cause in ('planned', 'split', 'fallback', 'escalation', 'second_opinion', 'classified')),
  add constraint a_fallback_has_an_obstacle check (cause <> 'fallback' or obstacle is not null),
  add constraint an_obstacle_costs_a_hop check (obstacle is null or hops > 0);
create index moved_pack on pack (run_no, shard_no)
  where cause not in ('planned', 'split') or asks <> 'answer' or hops > 0 or tier <> first_tier;

alter table run add column classification_tokens int not null default 0;

-- `verdict`: what was decided about the answer, in one sentence; null: nothing was to decide.
alter table model_output
  add column doubts jsonb,
  add column verdict text,
  drop constraint a_valid_output_is_the_last,
  add constraint a_valid_output_is_the_last_or_says_why_not check (finding <> 'valid' or is_last or verdict is not null);

-- Blocks of which an earlier, doubted answer is the output after all.
create table chosen_answer (
  run_no int not null,
  block_no bigint not null,
  call_no bigint not null references call,
  reason text not null,
  chosen_at timestamptz not null,
  primary key (run_no, block_no),
  constraint a_choice_is_for_an_enrolled_block foreign key (run_no, block_no) references overlay
);
create trigger chosen_answer_is_append_only before update or delete on chosen_answer
  for each row execute function refuse_change();
create trigger chosen_answer_is_never_emptied before truncate on chosen_answer
  for each statement execute function refuse_change();

create function refuse_second_end() returns trigger language plpgsql as $$
begin
  if tg_table_name = 'chosen_answer' then
    if exists (select from model_output m where m.run_no = new.run_no and m.block_no = new.block_no and m.is_last) then
      raise exception 'block %: a last output and a chosen answer', new.block_no
        using errcode = 'check_violation', constraint = 'a_block_has_one_end';
    end if;
    if not exists (select from model_output m where m.call_no = new.call_no and m.run_no = new.run_no
                   and m.block_no = new.block_no and m.finding = 'valid') then
      raise exception 'block %: the chosen answer is not valid', new.block_no
        using errcode = 'check_violation', constraint = 'a_chosen_answer_is_valid';
    end if;
  elsif new.is_last and exists (
    select from chosen_answer c where c.run_no = new.run_no and c.block_no = new.block_no) then
    raise exception 'block %: a chosen answer and a last output', new.block_no
      using errcode = 'check_violation', constraint = 'a_block_has_one_end';
  end if;
  return new;
end $$;
create trigger a_chosen_answer_is_the_only_end before insert on chosen_answer
  for each row execute function refuse_second_end();
create trigger a_last_output_is_the_only_end before insert on model_output
  for each row execute function refuse_second_end();
