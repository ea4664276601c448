"""Recorded outcomes are read from any of the documented forms, or refused in one line that names what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tokenopt_pipeline.adapters.outcomes import Recorded, Selection, read_outcomes
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.outcomes import half_of
from tokenopt_pipeline_tests.stages.scripted_provider import WordTokenizer

_MODELS = {"small": "s", "mid": "m"}


def _records(n: int = 4, **changes: Any) -> list[dict[str, Any]]:
    return [
        {
            "query_id": f"q{i}",
            "task": "t",
            "text": "The tenant pays the rent.",
            "model": model,
            "tier": tier,
            "score": float(model == "m"),
            "usd": 0.001 if model == "s" else 0.01,
            **changes,
        }
        for i in range(n)
        for tier, model in _MODELS.items()
    ]


def _write(path: Path, records: list[dict[str, Any]]) -> Path:
    frame = pd.DataFrame(records)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def _read(path: Path, **selection: Any) -> Recorded:
    return read_outcomes(path, Selection(**selection), tokenizer=WordTokenizer())


@pytest.fixture(params=[".parquet", ".jsonl", ".csv"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_file_of_any_form_gives_the_same_rows(tmp_path: Path, form: str) -> None:
    recorded = _read(_write(tmp_path / f"o{form}", _records()))
    assert [row.query_id for row in recorded.rows] == ["q0", "q1", "q2", "q3"]
    assert recorded.models == _MODELS
    row = recorded.rows[0]
    assert {tier: (o.score, o.usd, o.doubts) for tier, o in row.tiers.items()} == {
        "small": (0.0, 0.001, None),
        "mid": (1.0, 0.01, None),
    }
    assert (row.task, row.facts.n_tokens, row.facts.language) == (
        "t",
        WordTokenizer().count("The tenant pays the rent."),
        "en",
    )
    assert recorded.source.startswith(f"o{form}, sha256 ")


def test_a_folder_of_two_tables_is_joined_on_its_queries(tmp_path: Path, form: str) -> None:
    records = [{**r, "set": "x"} for r in _records()]
    _write(
        tmp_path / f"outcomes{form}",
        [{k: r[k] for k in ("set", "query_id", "model", "tier", "score", "usd")} for r in records],
    )
    _write(tmp_path / f"queries{form}", [{k: r[k] for k in ("set", "query_id", "task", "text")} for r in records])
    recorded = _read(tmp_path, subset="x")
    assert [row.task for row in recorded.rows] == ["t"] * 4
    assert "set x" in recorded.source


def test_halves_are_taken_by_hash(tmp_path: Path) -> None:
    path = _write(tmp_path / "o.jsonl", _records(20))
    halves = {half: [row.query_id for row in _read(path, half=half).rows] for half in ("fit", "test")}
    assert sorted(halves["fit"] + halves["test"]) == sorted(f"q{i}" for i in range(20))
    assert all(half_of(q) == half for half, ids in halves.items() for q in ids)


def test_optional_columns_become_facts_doubts_and_verdicts(tmp_path: Path) -> None:
    schema = {"properties": {"a": {"type": "array", "items": {"type": "number"}}}}
    extra = {"block_type": "table", "n_tokens": 77, "language": "de", "schema": json.dumps(schema), "verdict": "simple"}
    records = [{**r, "doubts": ["schema", "off_topic"] if r["model"] == "s" else None} for r in _records(1, **extra)]
    (row,) = _read(_write(tmp_path / "o.jsonl", records)).rows
    facts = row.facts
    assert (facts.block_type, facts.n_tokens, facts.language, row.verdict) == (BlockType.TABLE, 77, "de", "simple")
    assert facts.schema.field_kinds == {"array", "number"}
    assert facts.schema.complexity > 1
    assert (row.tiers["small"].doubts, row.tiers["mid"].doubts) == (frozenset({"schema", "off_topic"}), None)


@pytest.mark.parametrize(
    ("written", "read"), [("schema, off_topic", {"schema", "off_topic"}), ("none", set()), (None, None)]
)
def test_doubts_may_be_a_text_with_commas_and_none_says_that_somebody_looked(
    tmp_path: Path, written: str | None, read: set[str] | None
) -> None:
    (row,) = _read(_write(tmp_path / "o.csv", _records(1, doubts=written))).rows
    assert row.tiers["small"].doubts == read


@pytest.mark.parametrize("schema", ["not json", "[]", json.dumps({"name": "f"}), None])
def test_a_schema_that_is_none_leaves_only_the_task(tmp_path: Path, schema: str | None) -> None:
    (row,) = _read(_write(tmp_path / "o.jsonl", _records(1, schema=schema))).rows
    assert (row.facts.schema.task, row.facts.schema.complexity) == ("t", 0)


def test_a_query_without_text_has_no_length(tmp_path: Path) -> None:
    (row,) = _read(_write(tmp_path / "o.jsonl", _records(1, text=None))).rows
    assert (row.facts.n_tokens, row.facts.language) == (0, "und")


def test_queries_without_every_score_and_price_are_left_out_and_counted(tmp_path: Path) -> None:
    records = _records()
    records[0]["score"] = None
    records[3]["usd"] = None
    del records[4]
    recorded = _read(_write(tmp_path / "o.jsonl", records))
    assert ([row.query_id for row in recorded.rows], recorded.incomplete) == (["q3"], 3)


def test_models_are_chosen_by_name_whatever_the_recording_calls_their_tier(tmp_path: Path) -> None:
    path = _write(tmp_path / "o.jsonl", _records())
    recorded = _read(path, models={"large": "m", "mid": "s"})
    assert list(recorded.models.items()) == [("mid", "s"), ("large", "m")]


def _without(*names: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k not in names} for r in _records()]


@pytest.mark.parametrize(
    ("records", "selection", "words"),
    [
        (_without("score"), {}, ["'score' is missing", "query_id, task, model, score, usd"]),
        ([{**r, "set": s} for s in "ab" for r in _records()], {}, ["--subset", "a, b"]),
        ([{**r, "set": "a"} for r in _records()], {"subset": "b"}, ["no set 'b'", "it has a"]),
        (_records(), {"subset": "b"}, ["no set 'b'", "no column set"]),
        (_records(), {"models": {"small": "x"}}, ["no model 'x'", "m, s"]),
        (_records(), {"models": {"small": "m", "mid": "m"}}, ["two tiers"]),
        (_without("tier"), {}, ["--small, --mid, --large", "m, s"]),
        (_records(tier="mid"), {}, ["which model", "m (mid), s (mid)"]),
        (_records(tier="huge"), {"models": None}, ["which model", "s (huge)"]),
        (_records(score=None), {}, ["no query has a score and a price", "s, m"]),
        (_records(score=1.5), {}, ["query 'q0'", "score 1.5", "0 to 1"]),
        (_records(usd=-1), {}, ["usd -1.0"]),
        (_records(block_type="poem"), {}, ["block_type 'poem'", "paragraph"]),
    ],
)
def test_outcomes_that_cannot_be_used_are_refused_in_one_line(
    tmp_path: Path, records: list[dict[str, Any]], selection: dict[str, Any], words: list[str]
) -> None:
    path = _write(tmp_path / "o.jsonl", records)
    with pytest.raises(InvalidInput) as refusal:
        _read(path, **selection)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert all(word in str(refusal.value) for word in words), str(refusal.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("o.xlsx", b"", ["'.xlsx' is not read", ".parquet, .jsonl, .csv"]),
        ("o", b"", ["'none' is not read"]),
        ("o.parquet", b"nothing", ["cannot be read"]),
        ("o.jsonl", b"{", ["cannot be read"]),
        ("o.csv", b"", ["cannot be read"]),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, words: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput) as refusal:
        _read(tmp_path / name)
    assert "\n" not in str(refusal.value)
    assert all(word in str(refusal.value) for word in words), str(refusal.value)


def test_a_missing_file_or_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.csv cannot be read: No such file"):
        _read(tmp_path / "nowhere.csv")
    with pytest.raises(InvalidInput, match="one file queries"):
        _read(tmp_path)
    _write(tmp_path / "queries.csv", [{"id": 1}])
    _write(tmp_path / "outcomes.csv", _records())
    with pytest.raises(InvalidInput, match="both tables need the column query_id"):
        _read(tmp_path)


def test_the_recordings_at_hand_are_read(shared: Path) -> None:
    selection = {"small": "claude-3-haiku-20240307", "mid": "claude-3-5-sonnet-20240620"}
    recorded = _read(shared / "data" / "routing", subset="bfcl", half="fit", models=selection)
    assert len(recorded.rows) == 327
    assert recorded.incomplete == 0
