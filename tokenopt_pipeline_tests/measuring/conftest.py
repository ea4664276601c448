"""Benchmarks on the session's one stand, of small workloads under small gates: starting and asking is what costs time."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tokenopt_pipeline.adapters.files import shipped_path
from tokenopt_pipeline.domain.gates import parse_gates
from tokenopt_pipeline.measuring import bench, nightly
from tokenopt_pipeline.measuring.bench import Documents
from tokenopt_pipeline.measuring.stand import Stand


@pytest.fixture
def on_the_stand(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks of the test use the session's stand."""

    @contextmanager
    def opened(*, live: bool = False) -> Iterator[Stand]:
        assert not live
        yield stand

    monkeypatch.setattr(bench, "open_stand", opened)


@pytest.fixture
def documents() -> Documents:
    return Documents(shipped=shipped_path("demo") / "collection", data=None)


@pytest.fixture
def shared_documents(shared: Path) -> Documents:
    return Documents(shipped=shipped_path("demo") / "collection", data=shared / "data")


#: Three cells' worth of gates: what the declared file is about, in seconds.
SMALL_GATES = """
[drift]
reason = "nothing may move"
usd = 0.01
calls = 0.0
agreement = -0.0001

[[gate]]
tier = "worker_batching"
scenario = "worker_batching"
workload = "short_29"
blocks = 6
measure = "saved"
at_least = 0.3
reason = "packs share their instructions"

[[gate]]
tier = "worker_batching"
scenario = "worker_batching"
workload = "short_29"
blocks = 6
measure = "agreement"
at_least = 1.0
reason = "no answer may reach another block"

[[gate]]
tier = "pre_filter"
scenario = "pre_filter"
workload = "shipped"
blocks = 12
measure = "skipped_share"
at_most = 0.5
reason = "most blocks are asked"

[[gate]]
tier = "retrieval"
scenario = "retrieval"
workload = "short_29"
blocks = 6
measure = "violations"
at_most = 0
reason = "every block ends once"
"""


@pytest.fixture
def small_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small file is the declared one."""
    gates = parse_gates(tomllib.loads(SMALL_GATES))
    monkeypatch.setattr(nightly, "load_gates", lambda: gates)
    monkeypatch.setattr(nightly, "gates_text", lambda: SMALL_GATES)
