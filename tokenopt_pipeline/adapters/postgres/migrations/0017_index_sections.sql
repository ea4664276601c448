-- An index knows how many sections it is made of, and so whether every one of them is a rule that speaks for itself.

alter table reference_index add column n_sections int;
do $$
declare found record;
begin
  for found in select index_no from reference_index loop
    execute format('update reference_index set n_sections = (select count(distinct section_no) from %I) where index_no = $1',
      'reference_' || found.index_no || '_chunks') using found.index_no;
  end loop;
end $$;
alter table reference_index alter column n_sections set not null;
