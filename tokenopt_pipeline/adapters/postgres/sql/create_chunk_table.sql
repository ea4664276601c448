-- An index's chunks: text, words and vector in one row.
create table {chunks} (
  chunk_no int primary key,
  section_no int not null,
  source_name text not null,
  title text not null,
  heading text not null,
  text text not null,
  n_tokens int not null,
  content_hash uuid not null,
  trigger jsonb,
  terms tsvector not null generated always as (
    setweight(word_stems(title || ' ' || heading), 'A') || word_stems(text)
  ) stored,
  embedding {vector}
)
