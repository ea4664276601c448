-- People's part: who confirmed, corrected or rejected which answer, and what it was before.

create table review (
  review_no bigint generated always as identity primary key,
  run_no int not null,
  block_no bigint not null,
  verdict text not null,
  reviewer text not null,
  reviewed_at timestamptz not null,
  note text not null default '',
  old_answer jsonb,
  new_answer jsonb,
  constraint a_review_is_of_an_enrolled_block foreign key (run_no, block_no) references overlay,
  constraint review_verdict_is_known check (verdict in ('confirmed', 'corrected', 'rejected')),
  constraint a_rejection_leaves_no_answer check ((verdict = 'rejected') = (new_answer is null))
);
create index review_by_block on review (run_no, block_no, review_no);
create trigger review_is_append_only before update or delete on review for each row execute function refuse_change();
create trigger review_is_never_emptied before truncate on review for each statement execute function refuse_change();

-- A person may answer where no model did: what is confirmed need not have been staged.
alter table overlay
  drop constraint an_answered_overlay_has_values,
  add constraint an_answered_overlay_has_values check (status <> 'ai_complete' or staged is not null),
  add constraint a_staged_answer_stands check (staged is null or status in ('ai_complete', 'confirmed'));

create or replace function refuse_illegal_transition() returns trigger language plpgsql as $$
begin
  if old.status <> new.status and (old.status, new.status) not in (
    ('pending', 'skipped'), ('pending', 'submitted'), ('pending', 'ai_complete'), ('pending', 'failed'),
    ('submitted', 'ai_complete'), ('submitted', 'failed'), ('ai_complete', 'confirmed'), ('failed', 'confirmed')
  ) and not (
    old.status in ('ai_complete', 'confirmed') and new.status = 'failed' and new.error_class = 'rejected'
  ) then
    raise exception 'overlay of block %: % to % is not allowed', old.block_no, old.status, new.status
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
