"""What became of every call's prefix can be told from the ledger, and what answers say decides who waits."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.adapters.postgres.cache_stories import PostgresCacheStories
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline_tests.factories import a_model, a_schema_document
from tokenopt_pipeline_tests.stages.rig import OneSupply, Rig, clauses

EACH_ALONE: dict[str, Any] = {"packing": {"pack_size": 1}, "calls": {"concurrency": 1}, "reuse": {"enabled": False}}


@pytest.fixture
def marked(rig: Rig) -> Rig:
    rig.model = a_model(cache_minimum_tokens=1)
    return rig


def outcomes(rig: Rig, run: Run) -> list[str]:
    stories = PostgresCacheStories(rig.connection, tables=OneSupply(model=rig.model))
    return [finding.outcome.value for finding in stories.of(run)]


def test_a_run_that_shares_its_prefix_writes_once_and_reads_ever_after(marked: Rig) -> None:
    marked.ingest(*clauses(4))
    run = marked.plan(**EACH_ALONE)
    marked.finish(run)
    assert outcomes(marked, run) == ["first", "hit", "hit", "hit"]


def test_a_later_run_says_that_time_or_another_schema_broke_the_cache(marked: Rig) -> None:
    marked.ingest(*clauses(2))
    marked.finish(marked.plan(**EACH_ALONE))
    marked.clock.advance(400)
    marked.provider.forget()
    late = marked.plan(**{**EACH_ALONE, "packing": {"pack_size": 1, "overhead_tokens": 1_900}})
    marked.finish(late)
    assert outcomes(marked, late) == ["ttl_passed", "hit"]

    other = a_schema_document(properties={"price": {"type": "integer"}}, required=["price"])
    changed = marked.plan(marked.request(schema=other, **EACH_ALONE))
    marked.finish(changed)
    assert outcomes(marked, changed) == ["prefix_changed", "hit"]


def test_a_provider_that_never_keeps_anything_is_told_and_not_waited_for(marked: Rig) -> None:
    marked.ingest(*clauses(6))
    marked.provider.keeps = False
    run = marked.plan(**EACH_ALONE)
    line = marked.line()
    marked.finish(run, line=line)
    assert outcomes(marked, run) == ["first"] + ["forgotten"] * 5
    (warmth,) = line.warmth.values()
    assert warmth.given_up == "3 requests in a row read nothing: what was written was not found again"
    assert line.cache_story()["given_up"] == {"anthropic/claude-sonnet-5-5": warmth.given_up}


def test_one_shard_has_a_story_of_its_own(marked: Rig) -> None:
    marked.ingest(*clauses(4))
    run = marked.plan(run={"shard_blocks": 2}, **EACH_ALONE)
    marked.finish(run)
    stories = PostgresCacheStories(marked.connection, tables=OneSupply(model=marked.model))
    assert [f.outcome.value for f in stories.of(run, shard_no=1)] == ["hit", "hit"]
