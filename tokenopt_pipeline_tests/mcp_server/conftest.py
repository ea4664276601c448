"""A run in memory for the tools to read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.run_views import BlockOutcome, RunBlock
from tokenopt_pipeline.domain.runs import Run, RunKind, RunState
from tokenopt_pipeline_tests.factories import a_policy, a_schema

DOCUMENT = "d" * 64


def a_run(n_blocks: int = 3, **schema: Any) -> Run:
    """An open run over one document."""
    return Run(
        run_no=1,
        run_id="run1",
        collection="contracts",
        schema=a_schema(**schema),
        prompt_tokens=100,
        policy=a_policy(),
        policy_hash="p",
        mode="sync",
        kind=RunKind.SIMULATED,
        state=RunState.OPEN,
        n_blocks=n_blocks,
        n_shards=1,
    )


@dataclass(slots=True)
class Reading:
    """`ports.RunReading` of texts."""

    texts: list[str] = field(default_factory=lambda: ["One.", "Two.", "Three."])
    known: dict[str, list[BlockOutcome]] = field(default_factory=dict)
    schema: dict[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> Run:
        return a_run(len(self.texts), **self.schema)

    def blocks(self, *, start: int, count: int) -> list[RunBlock]:
        return [
            RunBlock(uid=f"{DOCUMENT}:{i}", ordinal=i, type=BlockType.PARAGRAPH, text=text, n_bytes=len(text.encode()))
            for i, text in list(enumerate(self.texts))[start : start + count]
        ]

    def outcomes(self, uid: str) -> list[BlockOutcome]:
        return self.known.get(uid, [])


@pytest.fixture
def reading() -> Reading:
    return Reading()
