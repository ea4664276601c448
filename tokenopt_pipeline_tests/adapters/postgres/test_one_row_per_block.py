"""Databases of before a block had one row keep what was decided."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg

from tokenopt_pipeline.adapters.postgres import migrations
from tokenopt_pipeline.adapters.postgres.migrate import migrate

_BEFORE = """
set search_path = tokenopt, public; set session_replication_role = replica;
insert into overlay (run_no, block_no, shard_no, ordinal, status, rule_id, answer_key)
values (1, 1, 0, 0, 'skipped', 'blank', gen_random_uuid()), (1, 2, 0, 1, 'submitted', null, gen_random_uuid()),
  (1, 3, 0, 2, 'pending', null, gen_random_uuid()), (1, 4, 0, 3, 'pending', null, gen_random_uuid());
insert into skip_decision values (1, 1, 0, 'skip', 'blank', 'The paragraph holds only white space.', null, null),
  (1, 2, 0, 'keep', 'kept', 'No skip rule matches.', null, null),
  (1, 3, 0, 'reuse', 'same_as_earlier_block', 'The block repeats block 2 of the run.', 1, 2);
insert into pack_block values (7, 1, 1, 2, 0, true), (5, 1, 1, 2, 0, false);
"""


def test_decisions_move_into_their_overlays_and_what_was_not_decided_is_decided_again(
    embedded_server: tuple[str, Path], tmp_path: Path
) -> None:
    url, name = embedded_server[0].replace("/tokenopt?", "/before_one_row?"), "before_one_row"
    whole = Path(next(iter(migrations.__path__)))
    for file in whole.glob("*.sql"):
        if file.name < "0015":
            shutil.copy(file, tmp_path)
    with psycopg.connect(embedded_server[0].replace("/tokenopt?", "/postgres?"), autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    migrate(url, tmp_path)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_BEFORE.encode())

    assert "0015_one_row_per_block.sql" in migrate(url, whole)

    with psycopg.connect(url) as connection:
        found = connection.execute(
            "select block_no, status, verdict, rule_id, canonical_block_no from tokenopt.overlay order by 1"
        ).fetchall()
        packs = connection.execute("select pack_no, is_live from tokenopt.pack_block order by 1").fetchall()
    assert found == [
        (1, "skipped", "skip", "blank", None),
        (2, "submitted", "keep", "kept", None),
        (3, "pending", "reuse", "same_as_earlier_block", 2),
    ]
    assert packs == [(5, False), (7, True)]
