"""Nightly results are kept, a regression fails its own gate and says which number moved, and a broken build cannot pass."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tokenopt_pipeline.adapters.postgres.benchmarks import PostgresBenchmarks
from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline.domain.gates import parse_gates
from tokenopt_pipeline.domain.measurements import CellKey, Row
from tokenopt_pipeline.measuring import bench
from tokenopt_pipeline.measuring.judging import open_gates, tiers_of
from tokenopt_pipeline.measuring.nightly import measure_and_keep, nightly_keys, read_verification, verdict_on
from tokenopt_pipeline.measuring.reporting import load_gates
from tokenopt_pipeline.measuring.scenarios import SCENARIOS
from tokenopt_pipeline.measuring.stand import Stand
from tokenopt_pipeline.measuring.verification import LOCKS
from tokenopt_pipeline.measuring.workloads import WORKLOADS
from tokenopt_pipeline_tests.measuring.broken_builds import (
    ANSWERS_GO_ASTRAY,
    PACKS_OF_ONE,
    SKIPS_TOO_MUCH,
    broken_build,
)
from tokenopt_pipeline_tests.measuring.conftest import SMALL_GATES

_SCENARIOS = ("worker_batching", "pre_filter", "retrieval")


@pytest.fixture
def break_the_build(stand: Stand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Has cells run the product as some code changes it."""

    def broken(code: str) -> None:
        monkeypatch.setattr(bench, "open_stand", lambda **_: broken_build(stand, tmp_path, code))

    return broken


def test_the_declared_file_gates_every_tier_on_cells_that_exist_and_gives_reasons() -> None:
    gates = load_gates()
    assert set(tiers_of(gates)) == {name for name in SCENARIOS if not name.startswith("everything_without_")}
    for gate in gates.gates:
        assert gate.key.scenario in SCENARIOS
        assert gate.key.workload in WORKLOADS
        assert gate.key.blocks == bench.DEFAULT_BLOCKS[gate.key.workload]
        assert len(gate.reason.split()) > 5


@pytest.mark.usefixtures("on_the_stand", "small_gates")
def test_a_night_is_stored_once_and_the_next_one_is_compared_with_it(connection: Connection) -> None:
    first = measure_and_keep(connection, _SCENARIOS, benchmark_id="night-1")
    passed = {verdict.tier: verdict.passed for verdict in first.verdicts}
    assert passed["worker_batching"]
    assert passed["pre_filter"]
    store = PostgresBenchmarks(connection)
    stored = store.newest()
    assert [result.row for result in stored] == list(first.report.rows)
    assert {result.of.benchmark_id for result in stored} == {"night-1"}
    again = stored[0].of
    assert store.keep(again, first.report.rows, (), passed={r.key: True for r in first.report.rows}) == 0
    assert first.history == {}
    # The same numbers, dearer by a tenth.
    dearer = [_dearer(result.row) for result in stored]
    next_night = replace(again, benchmark_id="night-2")
    store.keep(next_night, dearer, [], passed={row.key: False for row in dearer})
    verdict = verdict_on(connection, "worker_batching")
    assert not verdict.passed
    (sentence,) = verdict.failures
    assert sentence.startswith("usd of worker_batching on short_29 (6 blocks, cold) moved from 0.0")
    # What failed is no measure for the night after.
    assert store.passed_before(replace(again, benchmark_id="night-3"))[dearer[0].key].usd == (stored[0].row.usd)
    (usd,) = [row.usd for row in dearer if row.key == CellKey(workload="short_29", scenario="baseline", blocks=6)]
    assert store.nights("short_29", 6, most=1)["baseline"] == [usd]
    assert len(store.nights("short_29", 6, most=9)["baseline"]) == 2


@pytest.mark.usefixtures("small_gates")
@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (ANSWERS_GO_ASTRAY, ("worker_batching", "agreement of worker_batching on short_29 (6 blocks) moved to")),
        (PACKS_OF_ONE, ("worker_batching", "saved of worker_batching on short_29 (6 blocks) moved to 0;")),
        (SKIPS_TOO_MUCH, ("pre_filter", "skipped_share of pre_filter on shipped (12 blocks) moved to")),
    ],
    ids=["answers go astray", "packs of one", "skips too much"],
)
def test_a_broken_build_fails_the_right_gate_and_no_other(
    code: str, failure: tuple[str, str], connection: Connection, break_the_build: Callable[[str], None]
) -> None:
    tier, number = failure
    break_the_build(code)
    kept = measure_and_keep(connection, ("worker_batching", "pre_filter"), benchmark_id="broken")
    failures: Sequence[str] = [s for v in kept.verdicts if v.tier != "retrieval" for s in v.failures]
    assert len(failures) == 1
    assert failures[0].startswith(number)
    assert not verdict_on(connection, tier).passed
    # The lock that stands on the tier says so, and no other has anything to say of it.
    locks = {lock.name: lock.evidence for lock in read_verification(connection).locks}
    assert [name for name, evidence in locks.items() if failures[0] in evidence] == [lock_of(tier)]


def lock_of(tier: str) -> str:
    return next(name for name, tiers in LOCKS.items() if tier in tiers)


@pytest.mark.usefixtures("small_gates")
def test_before_the_first_night_nothing_passes(connection: Connection) -> None:
    verdict = verdict_on(connection, "worker_batching")
    assert not verdict.passed
    assert all(sentence.endswith("is not measured.") for sentence in verdict.failures)
    assert verdict_on(connection, "no such tier").failures == ("no gate of no such tier was judged.",)


def test_a_partition_measures_its_own_cells_and_their_baselines() -> None:
    gates = parse_gates(tomllib.loads(SMALL_GATES))
    keys = nightly_keys(gates, ["pre_filter"])
    assert [(key.scenario, key.workload) for key in keys] == [("baseline", "shipped"), ("pre_filter", "shipped")]
    assert open_gates(gates, []) == ()


def _dearer(row: Row) -> Row:
    return replace(row, usd=None if row.usd is None else row.usd * 1.1)
