"""The pipeline on recorded answers decides as the backtest does, over HTTP against the sandbox in replay mode."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.recordings import Pair
from benchmarks.routing_cascade import with_doubts
from benchmarks.routing_replay import prices_of, resolved, routed, write_recordings
from tokenopt_pipeline.assembly import Backend, line_on
from tokenopt_pipeline.domain.backtesting import replay
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.escalation import EscalationPolicy
from tokenopt_pipeline.domain.outcomes import OutcomeRow, TierOutcome
from tokenopt_pipeline.domain.routing import RouteFacts, RoutingPolicy
from tokenopt_pipeline.measuring.bfcl import Query, read_queries
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import running_sandbox
from tokenopt_pipeline_tests.stages.rig import Rig

PAIR = Pair(subset="bfcl", small="cheap", mid="dear")
RIGHT, WRONG = "[area(radius=5)]", "[area(radius=7)]"
#: What the two models wrote of a circle with radius 5, and whose answer is the output.
CASES = {
    "an answer that stands": (RIGHT, RIGHT, "small"),
    "a number that nobody stated": (WRONG, RIGHT, "mid"),
    "a call in prose": ("Sure: area(radius=5)", RIGHT, "mid"),
    "an argument that nobody declared": ("[area(size=5)]", RIGHT, "mid"),
    "nothing usable from the dear model": (WRONG, "Sure: area(radius=5)", "small"),
    "nothing usable at all": ("Sure: area(radius=5)", "Well: area(radius=5)", None),
}
FUNCTION: dict[str, Any] = {
    "name": "area",
    "description": "Calculate the area of a circle.",
    "parameters": {"type": "dict", "properties": {"radius": {"type": "float"}}, "required": ["radius"]},
}


def recorded(folder: Path) -> list[Query]:
    path = folder / "raw.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        for name, (cheap, dear, _) in CASES.items():
            outputs = {"cheap": {"raw": cheap, "correct": int(cheap == RIGHT)}, "dear": {"raw": dear, "correct": 1}}
            text = f"What is the area of a circle with radius 5? ({name})"
            record = {"query_id": name, "task": "bfcl/simple", "text": text, "functions": FUNCTION, "outputs": outputs}
            lines.write(json.dumps(record) + "\n")
    return list(read_queries(path))


def test_every_recorded_case_is_routed_as_the_backtest_says(rig: Rig, tmp_path: Path) -> None:
    queries = recorded(tmp_path)
    write_recordings(tmp_path / "replay.jsonl.gz", queries)
    policy = RoutingPolicy(default_tier="small", escalation=EscalationPolicy(enabled=True))
    tiers = {"small": TierOutcome(score=0.0, usd=0.001), "mid": TierOutcome(score=1.0, usd=0.01)}
    facts = RouteFacts(block_type=BlockType.PARAGRAPH, n_tokens=12)
    rows = [OutcomeRow(query_id=q.query_id, facts=facts, tiers=tiers) for q in queries]
    doubted = with_doubts(rows, {q.query_id: q for q in queries}, PAIR)
    config = SandboxConfig.from_json({"replay": str(tmp_path / "replay.jsonl.gz")})
    with running_sandbox(config) as sandbox:
        line = line_on(rig.connection, Backend(providers={}, kinds={}, key_variables={}))
        obeyed = resolved(policy, PAIR, sandbox.custom_url)
        for i, (query, row) in enumerate(zip(queries, doubted, strict=True)):
            found = routed(rig.connection, line, query, obeyed, i)
            assert (found.tier, found.violations) == (CASES[query.query_id][2], 0), query.query_id
            offline = replay(policy, row)
            # A dear answer that is unusable is the only case in which the pipeline ends elsewhere.
            assert found.tier == offline.tier or query.query_id.startswith("nothing usable")
            assert found.usd(prices_of(row, PAIR, 0.0)) == pytest.approx(offline.usd), query.query_id
            assert ("dear" in found.calls) == offline.escalated
