"""The first request of a cold, marked prefix goes alone, so that the others read from the cache what it wrote."""

from __future__ import annotations

import threading

import pytest

from tokenopt_pipeline.domain.errors import ProviderUnavailable
from tokenopt_pipeline.domain.runs import Shard
from tokenopt_pipeline_tests.factories import a_model
from tokenopt_pipeline_tests.stages.rig import Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import Asked, Reply, ScriptedProvider

EACH_ALONE = {"packing": {"pack_size": 1}, "calls": {"concurrency": 4}}


class Company:
    """Notes which requests were in flight together; from the number `first_follower` on they come in company."""

    def __init__(self, *, first_follower: int, fail: int = 0) -> None:
        self.overlapped: set[int] = set()
        self._first_follower, self._fail = first_follower, fail
        self._arrived = 0
        self._in_flight: set[int] = set()
        self._changed = threading.Condition()

    def __call__(self, asked: Asked) -> Reply:
        with self._changed:
            self._arrived += 1
            self._in_flight.add(asked.number)
            if len(self._in_flight) > 1:
                self.overlapped |= self._in_flight
            self._changed.notify_all()
            if asked.number >= self._first_follower:
                assert self._changed.wait_for(lambda: self._arrived > self._first_follower, timeout=10)
            else:
                # Whoever does not wait for the leader comes in this time.
                self._changed.wait_for(lambda: asked.number in self.overlapped, timeout=0.2)
            self._in_flight.discard(asked.number)
        return ProviderUnavailable("overloaded") if asked.number == self._fail else None

    @property
    def leaders_were_alone(self) -> bool:
        return self.overlapped.isdisjoint(range(self._first_follower))


@pytest.fixture
def marked(rig: Rig) -> Rig:
    rig.model = a_model(cache_minimum_tokens=1)
    return rig


def test_the_first_request_of_a_cold_prefix_is_alone_until_it_was_answered(marked: Rig) -> None:
    marked.ingest(*clauses(9))
    company = Company(first_follower=2)
    marked.provider.script = company
    run, shard, line = marked.packed(**EACH_ALONE)

    line.collect(run, shard)

    assert company.leaders_were_alone
    assert company.overlapped >= {2, 3}
    writes = marked.rows("select cache_write_5m > 0 as wrote, cache_read > 0 as read from ledger order by call_no")
    assert [(w["wrote"], w["read"]) for w in writes] == [(True, False)] + [(False, True)] * 8


def test_after_a_leader_that_failed_another_one_leads(marked: Rig) -> None:
    marked.ingest(*clauses(9))
    company = Company(first_follower=3, fail=1)
    marked.provider.script = company
    run, shard, line = marked.packed(**EACH_ALONE)

    line.collect(run, shard)

    assert company.leaders_were_alone
    assert marked.provider.asked[1].texts != marked.provider.asked[0].texts
    assert marked.one("select count(*) from ledger where cache_write_5m > 0") == 1


def test_without_a_mark_nobody_waits(rig: Rig) -> None:
    rig.ingest(*clauses(8))
    together = threading.Barrier(4)

    def four_meet(asked: Asked) -> Reply:
        together.wait(timeout=10)
        return None

    rig.provider.script = four_meet
    run, shard, line = rig.packed(**EACH_ALONE)
    line.collect(run, shard)

    assert {a.request.cache_ttl for a in rig.provider.asked} == {None}


@pytest.mark.parametrize(("idle_s", "leads_again"), [(200, False), (250, True)], ids=["still warm", "cold again"])
def test_a_leader_is_needed_again_when_the_prefix_was_not_used_for_long(
    marked: Rig, idle_s: float, leads_again: bool
) -> None:
    marked.ingest(*clauses(8))
    run, line = marked.plan(run={"shard_blocks": 4}, **EACH_ALONE), marked.line()
    shards = [Shard(run_no=run.run_no, shard_no=n) for n in range(2)]
    for shard in shards:
        line.decide(run, shard)
        line.pack(run, shard)
    line.collect(run, shards[0])
    marked.clock.advance(idle_s)
    company = Company(first_follower=2 if leads_again else 1)
    marked.provider = line._collectors[run.run_no].asker.provider = ScriptedProvider(script=company)

    line.collect(run, shards[1])

    assert company.leaders_were_alone
    assert (1 in company.overlapped) == (not leads_again)
