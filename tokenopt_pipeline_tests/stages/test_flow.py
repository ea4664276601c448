"""Rate limits make a run ask less at a time, and never cost a block one of its attempts."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.domain.errors import ProviderUnavailable, RateLimited
from tokenopt_pipeline.domain.flow import Headroom
from tokenopt_pipeline_tests.stages.rig import Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import Asked, Reply, correct, on_call

EACH_ALONE = {"packing": {"pack_size": 1}, "calls": {"concurrency": 8}}
MODEL = "anthropic/claude-sonnet-5-5"


def test_after_a_refusal_half_as_many_requests_are_in_flight_and_no_attempt_is_spent(rig: Rig) -> None:
    rig.ingest(*clauses(12))
    rig.provider.script = on_call({n: RateLimited("slow down", retry_after_s=3.0) for n in range(1, 9)})
    run, shard, line = rig.packed(**EACH_ALONE)

    line.collect(run, shard)

    assert rig.statuses(run) == {"submitted": 12}
    # Eight were refused together, which is one decrease; the pause is what the provider asked for.
    assert line.flow()[MODEL]["decreases"] == 1
    assert max(rig.clock.waits) == pytest.approx(3.0, abs=0.1)
    assert rig.one("select max(attempts_before) from pack_block") == 0
    assert rig.one("select count(*) from model_output where finding <> 'valid'") == 0


def test_a_pause_is_never_longer_than_the_policys_ceiling(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    rig.provider.script = on_call({1: RateLimited("come back tomorrow", retry_after_s=86_400.0)})
    run, shard, line = rig.packed(retries={"backoff_ceiling_s": 20.0}, **EACH_ALONE)
    line.collect(run, shard)
    assert sum(rig.clock.waits) == pytest.approx(20.0, abs=1)


def test_little_headroom_keeps_requests_from_going_side_by_side(rig: Rig) -> None:
    def scarce(asked: Asked) -> Reply:
        return correct(asked)

    rig.ingest(*clauses(20))
    rig.provider.script = scarce
    rig.provider.headroom = Headroom(requests_left=1, reset_s=60.0)
    run, shard, line = rig.packed(packing={"pack_size": 1}, calls={"concurrency": 4})
    line.collect(run, shard)
    assert line.flow()[MODEL] == {"window": 1, "ceiling": 4, "decreases": 0, "shrinks": 1}
    # The first round went out before anything was known.
    assert [asked.company for asked in rig.provider.asked[8:]] == [1] * 12


def test_what_one_run_learnt_of_a_model_holds_for_the_next_run_of_the_process(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    rig.provider.script = on_call({1: RateLimited("slow down")})
    run, shard, line = rig.packed(**EACH_ALONE)
    line.collect(run, shard)
    rig.ingest(*(f"{text} Again." for text in clauses(3)), collection="others")
    other = rig.plan(collection="others", **EACH_ALONE)
    rig.finish(other, line=line)
    assert line.flow()[MODEL]["decreases"] == 1
    assert line.flow()[MODEL]["window"] < 8


def test_an_outage_is_no_rate_limit(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    rig.provider.script = on_call({1: ProviderUnavailable("500")})
    run, shard, line = rig.packed(**EACH_ALONE)
    line.collect(run, shard)
    assert line.flow()[MODEL] == {"window": 8, "ceiling": 8, "decreases": 0, "shrinks": 0}
