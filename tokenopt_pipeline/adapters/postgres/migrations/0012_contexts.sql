-- What runs know of their references, frozen with them, and what each pack carries of it.

alter table run add column knowledge jsonb not null default '[]';

-- Texts that packs carry, each once: references whole, and passages that were found. They outlive their indexes.
create table context_text (
  text_id uuid primary key,
  text text not null
);

-- Packs of schemas that ask for references; the others have no row.
create table pack_context (
  pack_no bigint primary key references pack,
  kind text not null,
  cause text not null,
  reason text not null,
  tokens int not null,
  text_ids uuid[] not null,
  constraint context_kind_is_known check (kind in ('full', 'retrieved', 'on_demand')),
  constraint a_context_with_texts_has_tokens check ((tokens > 0) = (cardinality(text_ids) > 0)),
  constraint a_context_on_demand_carries_nothing check (kind <> 'on_demand' or tokens = 0)
);
