-- References, the passages of which vectors were paid for, and which index serves. An index's chunks, words and
-- postings stand in tables of its own, named after its number, so that building one locks nobody and dropping one is instant.

create table reference (
  reference_no int generated always as identity primary key,
  name text not null unique,
  -- Of the sources as they were registered last; an index with another digest is stale.
  sources_digest text not null,
  registered_at timestamptz not null,
  constraint reference_name_is_a_plain_word check (name ~ '^[a-z0-9][a-z0-9_-]{0,63}$')
);

-- The reference whole, as a model is shown it when retrieval is not safe enough.
create table reference_source (
  reference_no int not null references reference,
  source_name text not null,
  position int not null,
  content_id text not null,
  text text not null,
  n_tokens int not null,
  primary key (reference_no, source_name),
  constraint one_source_per_position unique (reference_no, position),
  constraint source_content_is_a_hash check (content_id ~ '^[0-9a-f]{64}$')
);

create table reference_probe (
  reference_no int not null references reference,
  position int not null,
  query text not null,
  relevant text[] not null,
  primary key (reference_no, position),
  constraint a_probe_has_something_to_find check (cardinality(relevant) > 0)
);

create table reference_index (
  index_no int generated always as identity primary key,
  reference_no int not null references reference,
  recipe_digest text not null,
  sources_digest text not null,
  chunk_tokens int not null,
  embedder text,
  dimension int,
  n_chunks int not null,
  n_rules int not null,
  state text not null,
  built_at timestamptz not null,
  -- What its probes measured and set; null: it has not been measured.
  calibration jsonb,
  constraint index_state_is_known check (state in ('serving', 'retired')),
  constraint an_embedder_has_a_dimension check ((embedder is null) = (dimension is null))
);
create unique index one_serving_index_per_reference on reference_index (reference_no) where state = 'serving';

-- Keyed by what was embedded and by what: neither another index nor another reference pays for it again.
create table passage_embedding (
  content_hash uuid not null,
  embedder text not null,
  dimension int not null,
  embedding halfvec not null,
  primary key (content_hash, embedder, dimension),
  constraint an_embedding_has_its_dimension check (vector_dims(embedding) = dimension)
);
alter table passage_embedding alter column embedding set storage external;

-- The stems of a text's words, the same for what is searched and what is searched for. Marks inside words part them:
-- left alone, "boundary-layer" would count three times and "page.md" once.
create function word_stems(words text) returns tsvector language sql immutable parallel safe
  as $$ select to_tsvector('pg_catalog.english'::regconfig, translate(words, '-_/.', '    ')) $$;
