"""Recorded outcomes as files: Parquet, JSON lines or CSV, one row per query and model; docs/routing.md has the columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.languages import language_of
from tokenopt_pipeline.domain.outcomes import OutcomeRow, TierOutcome, half_of
from tokenopt_pipeline.domain.routing import RouteFacts, SchemaFacts
from tokenopt_pipeline.domain.schema_shape import shape_of
from tokenopt_pipeline.domain.tiers import TIERS
from tokenopt_pipeline.ports import Tokenizer

_FORMS = (".parquet", ".jsonl", ".csv")
_NEEDED = ("query_id", "task", "model", "score", "usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows of a recording are meant, and which model stands for which tier."""

    #: Value of column `set`; None: all rows, which then must be of one set.
    subset: str | None = None
    #: `fit`, `test` or `all`.
    half: str = "all"
    #: Tier -> recorded model; empty: as the recording's own column `tier` says, where it names one model per tier.
    models: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The rows that were asked for."""

    rows: tuple[OutcomeRow, ...]
    #: Tier -> model, from cheap to dear.
    models: Mapping[str, str]
    #: Queries left out because not every tier has a score and a price.
    incomplete: int
    #: What was read, in a clause.
    source: str


def read_outcomes(path: Path, selection: Selection, *, tokenizer: Tokenizer) -> Recorded:
    """The selected rows of a file, or of a folder with `queries.*` and `outcomes.*`. Raises InvalidInput."""
    frame, digest = _frame(path)
    if missing := [name for name in _NEEDED if name not in frame.columns]:
        raise InvalidInput(f"outcomes {path}: column {missing[0]!r} is missing; needed are {', '.join(_NEEDED)}")
    sets = sorted(map(str, frame["set"].unique())) if "set" in frame.columns else []
    if selection.subset is not None and selection.subset not in sets:
        raise InvalidInput(f"outcomes {path}: no set {selection.subset!r}; it has {', '.join(sets) or 'no column set'}")
    if selection.subset is None and len(sets) > 1:
        raise InvalidInput(f"outcomes {path}: name one of its sets with --subset: {', '.join(sets)}")
    if selection.subset is not None:
        frame = frame[frame["set"].astype(str) == selection.subset]
    models = _models(frame, selection, path)
    records = frame[frame["model"].isin(models.values())].to_dict("records")
    by_query: dict[str, dict[str, dict[str, Any]]] = {}
    for record in records:
        if selection.half in ("all", half_of(str(record["query_id"]))):
            by_query.setdefault(str(record["query_id"]), {})[str(record["model"])] = record
    rows = [_row(query_id, found, models, tokenizer, path) for query_id, found in by_query.items()]
    kept = tuple(sorted((row for row in rows if row is not None), key=lambda row: row.query_id))
    if not kept:
        raise InvalidInput(
            f"outcomes {path}: no query has a score and a price of every model: {', '.join(models.values())}"
        )
    which = "" if selection.half == "all" else f", {selection.half} half"
    named = f"{path.name}{'' if selection.subset is None else f', set {selection.subset}'}{which}"
    return Recorded(
        rows=kept, models=models, incomplete=len(by_query) - len(kept), source=f"{named}, sha256 {digest[:12]}"
    )


def _frame(path: Path) -> tuple[Any, str]:
    import pandas as pd

    if path.is_dir():
        queries, one = _table(_only(path, "queries"))
        outcomes, other = _table(_only(path, "outcomes"))
        keys = [k for k in ("set", "query_id") if k in queries.columns and k in outcomes.columns]
        if "query_id" not in keys:
            raise InvalidInput(f"outcomes {path}: both tables need the column query_id")
        queries = queries.drop_duplicates(keys)
        shared = [c for c in queries.columns if c in outcomes.columns and c not in keys]
        frame = pd.merge(outcomes, queries.drop(columns=shared), on=keys, how="inner")
        return frame, hashlib.sha256(one + other).hexdigest()
    frame, content = _table(path)
    return frame, hashlib.sha256(content).hexdigest()


def _only(folder: Path, stem: str) -> Path:
    found = [folder / f"{stem}{form}" for form in _FORMS if (folder / f"{stem}{form}").is_file()]
    if len(found) != 1:
        raise InvalidInput(
            f"outcomes {folder}: one file {stem} with suffix {', '.join(_FORMS)} is needed, found {len(found)}"
        )
    return found[0]


def _table(path: Path) -> tuple[Any, bytes]:
    """A table and its file's own bytes' hash."""
    import pandas as pd

    readers: dict[str, Callable[[Path], Any]] = {
        ".parquet": pd.read_parquet,
        ".jsonl": lambda p: pd.read_json(p, lines=True, dtype={"query_id": str}),
        ".csv": lambda p: pd.read_csv(p, dtype={"query_id": str}),
    }
    reader = readers.get(path.suffix)
    if reader is None:
        raise InvalidInput(f"outcomes {path}: suffix {path.suffix or 'none'!r} is not read; {', '.join(_FORMS)} are")
    try:
        return reader(path), hashlib.sha256(path.read_bytes()).digest()
    except OSError as problem:
        raise InvalidInput(f"outcomes {path} cannot be read: {problem.strerror or problem}") from problem
    except Exception as problem:
        said = " ".join(str(problem).split())[:200]
        raise InvalidInput(f"outcomes {path} cannot be read: {said}") from problem


def _models(frame: Any, selection: Selection, path: Path) -> dict[str, str]:
    recorded = sorted(map(str, frame["model"].unique()))
    if selection.models:
        if unknown := [m for m in selection.models.values() if m not in recorded]:
            raise InvalidInput(f"outcomes {path}: no model {unknown[0]!r}; it has {', '.join(recorded)}")
        if len(set(selection.models.values())) < len(selection.models):
            raise InvalidInput(f"outcomes {path}: one model cannot stand for two tiers")
        return {tier: selection.models[tier] for tier in TIERS if tier in selection.models}
    pairs = sorted(
        {(str(t), str(m)) for t, m in zip(frame["tier"], frame["model"], strict=True)} if "tier" in frame else []
    )
    tiers = [tier for tier, _ in pairs]
    if not pairs or len(set(tiers)) < len(tiers) or any(tier not in TIERS for tier in tiers):
        told = ", ".join(f"{m} ({t})" for t, m in pairs) or ", ".join(recorded)
        raise InvalidInput(
            f"outcomes {path}: say with --small, --mid, --large which model stands for which tier: {told}"
        )
    by_tier = dict(pairs)
    return {tier: by_tier[tier] for tier in TIERS if tier in by_tier}


def _row(
    query_id: str, found: Mapping[str, Mapping[str, Any]], models: Mapping[str, str], tokenizer: Tokenizer, path: Path
) -> OutcomeRow | None:
    if any(
        model not in found or _is_none(found[model]["score"]) or _is_none(found[model]["usd"])
        for model in models.values()
    ):
        return None
    first = found[next(iter(models.values()))]
    text = first.get("text")
    text = text if isinstance(text, str) else None
    verdicts = [v for record in found.values() if isinstance(v := record.get("verdict"), str)]
    facts = RouteFacts(
        block_type=_block_type(first.get("block_type"), path),
        n_tokens=_n_tokens(first, text, tokenizer),
        language=_language(first.get("language"), text),
        schema=_schema_facts(str(first["task"]), first.get("schema")),
    )
    tiers = {tier: _outcome(found[model], path) for tier, model in models.items()}
    return OutcomeRow(query_id=query_id, facts=facts, tiers=tiers, verdict=verdicts[0] if verdicts else None)


def _outcome(record: Mapping[str, Any], path: Path) -> TierOutcome:
    score, usd = float(record["score"]), float(record["usd"])
    if not 0 <= score <= 1 or usd < 0:
        raise InvalidInput(
            f"outcomes {path}: query {record['query_id']!r} has score {score}, usd {usd}; allowed are 0 to 1 and 0 up"
        )
    return TierOutcome(score=score, usd=usd, doubts=_doubts(record.get("doubts")))


def _doubts(value: Any) -> frozenset[str] | None:
    """Ids out of a list, or of a text with commas between them (`none` for no doubt); None where nobody looked."""
    if isinstance(value, str):
        return frozenset(part.strip() for part in value.split(",")) - {"", "none"}
    return frozenset(map(str, value)) if isinstance(value, Iterable) else None


def _is_none(value: Any) -> bool:
    return value is None or value != value  # noqa: PLR0124 - NaN is the one value that differs from itself


def _block_type(value: Any, path: Path) -> BlockType:
    if not isinstance(value, str):
        return BlockType.OTHER
    if value not in tuple(BlockType):
        raise InvalidInput(f"outcomes {path}: block_type {value!r} is none of {', '.join(BlockType)}")
    return BlockType(value)


def _n_tokens(record: Mapping[str, Any], text: str | None, tokenizer: Tokenizer) -> int:
    counted = record.get("n_tokens")
    if counted is not None and not _is_none(counted):
        return int(counted)
    return 0 if text is None else tokenizer.count(text)


def _language(value: Any, text: str | None) -> str:
    return value if isinstance(value, str) else language_of(text or "")


def _schema_facts(task: str, schema: Any) -> SchemaFacts:
    """Facts of a recorded schema; where none is recorded, or it is no JSON Schema of an object, only the task is known."""
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except ValueError:
            schema = None
    if not isinstance(schema, Mapping) or not isinstance(schema.get("properties"), Mapping):
        return SchemaFacts(task=task)
    shape = shape_of(schema)
    return SchemaFacts(task=task, complexity=shape.complexity, field_kinds=shape.kinds)
