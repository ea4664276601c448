-- A word of an index has its postings beside it in one piece, which is how they are read and scored; names have an index of
-- their own, so that a search for one need not look at every chunk that has its words somewhere.

do $$
declare
  found record;
  chunks text;
  words text;
begin
  for found in select index_no from reference_index loop
    chunks := 'reference_' || found.index_no || '_chunks';
    words := 'reference_' || found.index_no || '_words';
    execute format('drop table %I, %I', words, 'reference_' || found.index_no || '_postings');
    execute format('create table %I (lexeme text not null, df int not null, chunk_nos bytea not null, weights bytea not null)', words);
    execute format('alter table %I alter column chunk_nos set storage external, alter column weights set storage external', words);
    execute format($sql$
      insert into %1$I (lexeme, df, chunk_nos, weights)
      with occurrence as (
        select t.lexeme, c.chunk_no,
          (select sum(case weight when 'A' then 3 else 1 end) from unnest(t.weights) weight)::real as tf
        from %2$I c, unnest(c.terms) t
      ), length as (
        select chunk_no, sum(tf) as n from occurrence group by chunk_no
      ), whole as (
        select avg(n)::real as mean from length
      )
      select o.lexeme, count(*)::int, array_send(array_agg(o.chunk_no order by o.chunk_no)),
        array_send(array_agg((o.tf * 2.2 / (o.tf + 1.2 * (0.25 + 0.75 * l.n / a.mean)))::real order by o.chunk_no))
      from occurrence o join length l using (chunk_no) cross join whole a
      group by o.lexeme
    $sql$, words, chunks);
    execute format('create unique index on %I (lexeme) include (df)', words);
    execute format('drop index if exists %I', chunks || '_terms_idx');
    execute format('create index on %I using gin (word_stems(title || '' '' || heading))', chunks);
  end loop;
end $$;
