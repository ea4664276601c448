"""`tokenopt export`: one record per block in document order, the same blocks in every form."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tokenopt_pipeline_tests.end_to_end.terminal import SCHEMA, Terminal

_FIELDS = ("entities", "facts", "event_date", "sensitivity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A finished run and its records."""

    terminal: Terminal
    run: str
    records: list[dict[str, Any]]

    @property
    def uids(self) -> list[str]:
        return [record["immutable"]["block"]["uid"] for record in self.records]


@pytest.fixture(scope="module")
def exported(module_terminal: Terminal) -> Exported:
    run = module_terminal.tok("run", "demo", "--schema", SCHEMA, "--json").json()["run"]
    lines = module_terminal.tok("export", run).out.splitlines()
    return Exported(terminal=module_terminal, run=run, records=[json.loads(line) for line in lines])


def test_every_block_has_one_record_in_document_order(exported: Exported) -> None:
    assert len(set(exported.uids)) == len(exported.uids) == 250
    places = [(r["immutable"]["document"]["source_name"], r["immutable"]["block"]["index"]) for r in exported.records]
    assert places == sorted(places)


def test_a_record_keeps_what_the_block_is_apart_from_what_was_extracted(exported: Exported) -> None:
    for record in exported.records:
        assert set(record) == {"immutable", "extracted"}
        assert set(record["immutable"]) == {"document", "block"}
        extracted = record["extracted"]
        assert extracted["run"] == exported.run
        answered = extracted["status"] == "ai_complete"
        assert (extracted["data"] is not None) is answered
        assert (extracted["rule"] is not None) is (extracted["status"] == "skipped")
        if answered:
            assert set(extracted["data"]) == set(_FIELDS)


def test_csv_and_parquet_hold_the_same_blocks_with_a_column_per_property(exported: Exported, tmp_path: Path) -> None:
    text = exported.terminal.tok("export", exported.run, "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    file = tmp_path / "out.parquet"
    told = exported.terminal.tok("export", exported.run, "--format", "parquet", "--out", file, "--json").json()
    assert told == {"run": exported.run, "format": "parquet", "out": str(file), "blocks": 250}
    frame = pd.read_parquet(file)
    assert [row["block_uid"] for row in rows] == list(frame["block_uid"]) == exported.uids
    for columns in (set(rows[0]), set(frame.columns)):
        assert columns >= {"text", "status", "locator", *(f"data.{name}" for name in _FIELDS)}
    by_uid = dict(zip(exported.uids, exported.records, strict=True))
    for uid, facts, sensitivity in zip(frame["block_uid"], frame["data.facts"], frame["data.sensitivity"], strict=True):
        data = by_uid[uid]["extracted"]["data"]
        if data is not None:
            assert (json.loads(facts), sensitivity) == (data["facts"], data["sensitivity"])


def test_only_confirmed_values_are_told_when_asked_for(exported: Exported) -> None:
    lines = exported.terminal.tok("export", exported.run, "--confirmed").out.splitlines()
    assert len(lines) == 250
    assert all(json.loads(line)["extracted"]["data"] is None for line in lines)


def test_parquet_needs_a_file(exported: Exported) -> None:
    assert "--out" in exported.terminal.tok("export", exported.run, "--format", "parquet", code=2).problem


def test_a_file_that_cannot_be_written_is_named_and_an_old_one_stays(exported: Exported, tmp_path: Path) -> None:
    nowhere = tmp_path / "no-folder" / "out.csv"
    problem = exported.terminal.tok("export", exported.run, "--format", "csv", "--out", nowhere, code=2).problem
    assert str(nowhere) in problem
    old = tmp_path / "out.jsonl"
    old.write_text("old\n")
    exported.terminal.tok("export", "r0", "--out", old, code=2)
    assert old.read_text() == "old\n"
    exported.terminal.tok("export", exported.run, "--out", old)
    assert len(old.read_text("utf-8").splitlines()) == 250
    assert list(tmp_path.glob("*.part")) == []
