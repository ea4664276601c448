"""Indexes of before a word had its postings beside it are searched as new ones are."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg

from tokenopt_pipeline.adapters.postgres import migrations
from tokenopt_pipeline.adapters.postgres.connection import connect
from tokenopt_pipeline.adapters.postgres.index_tables import filled
from tokenopt_pipeline.adapters.postgres.migrate import migrate

_BEFORE = """
set search_path = tokenopt, public;
insert into reference (name, sources_digest, registered_at) values ('style', 'd', now());
insert into reference_index (reference_no, recipe_digest, sources_digest, chunk_tokens, n_chunks, n_rules, state, built_at, n_sections)
values (1, 'r', 'd', 200, 3, 0, 'serving', now(), 3);
create table reference_1_words (lexeme text, word_no int, df int);
create table reference_1_postings (word_no int, chunk_no int, weight real);
"""
_CHUNKS = """
insert into reference_1_chunks (chunk_no, section_no, source_name, title, heading, text, n_tokens, content_hash)
values (1, 1, 'a', 'Tides', '', 'The tide comes and goes.', 9, gen_random_uuid()),
  (2, 2, 'a', '', 'Moons', 'A moon pulls at the tide.', 9, gen_random_uuid()),
  (3, 3, 'b', '', '', 'Nothing of the kind.', 9, gen_random_uuid())
"""


def test_an_index_is_carried_over_as_it_would_be_built_today(embedded_server: tuple[str, Path], tmp_path: Path) -> None:
    url, name = embedded_server[0].replace("/tokenopt?", "/before_one_piece?"), "before_one_piece"
    whole = Path(next(iter(migrations.__path__)))
    for file in whole.glob("*.sql"):
        if file.name < "0021":
            shutil.copy(file, tmp_path)
    with psycopg.connect(embedded_server[0].replace("/tokenopt?", "/postgres?"), autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create extension vector schema public")
    migrate(url, tmp_path)
    with connect(url) as connection:
        connection.execute(_BEFORE.encode())
        connection.execute(filled("create_chunk_table", 1, vector=psycopg.sql.SQL("halfvec(4)")))
        connection.execute(_CHUNKS.encode())

    assert "0021_postings_in_one_piece.sql" in migrate(url, whole)

    with connect(url) as connection:
        carried = connection.execute("select * from reference_1_words order by lexeme").fetchall()
        connection.execute("drop table reference_1_words")
        for each in ("create_word_table", "keep_postings_unpacked", "fill_word_table", "create_word_index"):
            connection.execute(filled(each, 1))
        built = connection.execute("select * from reference_1_words order by lexeme").fetchall()
        gone = connection.execute("select to_regclass('tokenopt.reference_1_postings') as found").fetchone()
    assert carried == built
    assert {each["lexeme"]: each["df"] for each in carried}["tide"] == 2
    assert gone == {"found": None}
