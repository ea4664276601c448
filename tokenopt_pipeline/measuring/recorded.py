"""Recorded workloads: what real models once answered, replayed through the pipeline; right or wrong and paid for as recorded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tokenopt_pipeline.adapters.outcomes import Selection, read_outcomes
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.fingerprints import digest_text
from tokenopt_pipeline.domain.fitting import FitSettings, fit
from tokenopt_pipeline.domain.outcomes import OutcomeRow
from tokenopt_pipeline.domain.routing import RoutingPolicy
from tokenopt_pipeline.measuring.bfcl import Query, read_queries

#: Name of the provider that replays, in policies.
SERVER = "recorded"
#: The recorded models that stand for the tiers: nothing was recorded above the dear one.
SMALL, MID = "gpt-4o-mini-2024-07-18-FC", "gpt-4o-2024-08-06-FC"
#: What a fitted table may lose on the rows that it is fitted on, against always asking the dear model.
_TARGET = -0.01
# What simulated tokens cost, so that runs can be planned; the dollars that are reported are the recorded ones.
_PRICE = {SMALL: {"input": 0.15, "output": 0.6}, MID: {"input": 2.5, "output": 10}}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAnswer:
    """What one model answered to one block."""

    #: What the stand-in says in its place.
    raw: object
    #: 0 to 1; 1 is right.
    score: float
    #: Dollars of the answer.
    usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBlock:
    """What was recorded of one block."""

    text: str
    #: What was asked of this block and of no other: the schema file's own content.
    schema: Mapping[str, Any]
    #: Model -> its answer.
    answers: Mapping[str, RecordedAnswer]

    @property
    def line(self) -> str:
        """The block as the sandbox reads recordings."""
        outputs = {model: {"raw": answer.raw} for model, answer in self.answers.items()}
        return json.dumps({"query_id": "", "text": self.text, "functions": [], "outputs": outputs})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A workload's recorded answers, in the order of its blocks."""

    blocks: tuple[RecordedBlock, ...]
    #: Tier -> policy sections under which the recorded models stand for it; other tiers were not recorded.
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def policy(self, tiers: Sequence[str], *, base_url: str) -> dict[str, Any]:
        """What a run obeys when these tiers are on. A recorded answer stays the same however often it is asked for."""
        sections: dict[str, Any] = {
            "providers": {SERVER: {"base_url": base_url, "capability": "prompt_only"}},
            "models": {_ref(model): {"price": price} for model, price in _PRICE.items()},
            "retries": {"max_attempts": 1},
            "routing": {"default_tier": "mid", "rules": []},
        }
        for tier in tiers:
            sections = {**sections, **self.policies[tier]}
        models = {"small": [_ref(SMALL)], "mid": [_ref(MID)], "large": [_ref(MID)]}
        return {**sections, "routing": {**sections["routing"], "models": models}}


def model_of(ref: str) -> str:
    """The recorded model that a reference in a policy asks for."""
    return ref.partition("/replay/")[2]


def function_calls(data: Path) -> Recording:
    """Queries of the Berkeley Function Calling Leaderboard's `test` half, each with its own functions as the schema.

    Routing is fitted per task on the other half; escalation asks the cheap model first and checks its answers unfitted. In
    the order of their ids' hashes, so that the first ones are of all tasks. Queries whose text stands twice are left out,
    because a replayed model is asked by text.
    """
    folder = data / "routing"
    queries = {q.query_id: q for q in read_queries(folder / "bfcl_replay.jsonl.gz", models={SMALL, MID})}
    texts = Counter(" ".join(query.text.split()) for query in queries.values())
    rows = [r for r in _rows(folder, "test") if texts[" ".join(queries[r.query_id].text.split())] == 1]
    table = fit(_rows(folder, "fit"), FitSettings(reference="mid", target=_TARGET)).policy
    return Recording(
        blocks=tuple(_block(queries[row.query_id], row) for row in sorted(rows, key=lambda r: digest_text(r.query_id))),
        policies={
            "routing": {"routing": _section(table)},
            "escalation": {
                "routing": {
                    "default_tier": "small",
                    "rules": [],
                    # Nothing above the dear model was recorded, so that its answers are not checked.
                    "escalation": {"enabled": True, "max_steps": 1},
                }
            },
        },
    )


def _rows(folder: Path, half: str) -> Sequence[OutcomeRow]:
    selection = Selection(subset="bfcl", half=half, models={"small": SMALL, "mid": MID})
    return read_outcomes(folder, selection, tokenizer=O200kTokenizer()).rows


def _block(query: Query, row: OutcomeRow) -> RecordedBlock:
    return RecordedBlock(
        text=query.text,
        schema=query.document,
        answers={
            model: RecordedAnswer(raw=_said(query, model), score=row.tiers[tier].score, usd=row.tiers[tier].usd)
            for tier, model in (("small", SMALL), ("mid", MID))
        },
    )


def _said(query: Query, model: str) -> str:
    """The answer in the form that the pack prompt agrees on; what cannot be read stays as it was written."""
    answer = query.answers[model]
    return answer.raw if answer.values is None else json.dumps({"results": [{"n": 1, **answer.values}]})


def _section(policy: RoutingPolicy) -> dict[str, Any]:
    """A fitted policy as the section of a policy file."""
    section = asdict(policy)
    return {name: section[name] for name in ("default_tier", "rules", "escalation")}


def _ref(model: str) -> str:
    return f"{SERVER}/replay/{model}"


def lines_of(recordings: Sequence[Recording]) -> Iterator[str]:
    """What the sandbox reads to answer as these models did."""
    for recording in recordings:
        for block in recording.blocks:
            yield block.line
