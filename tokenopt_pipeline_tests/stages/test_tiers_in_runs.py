"""A run asks cheap models first and dear ones about what is doubted: every block has one output, and it is known why that one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tokenopt_pipeline.adapters.postgres.connection import connect
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.postgres.stories import PostgresStories
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.cli.figures import summary_lines
from tokenopt_pipeline.cli.telling import story_lines
from tokenopt_pipeline.domain.documents import block_uid
from tokenopt_pipeline.domain.errors import BudgetExceeded
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline_tests.stages.rig import OneSupply, Rig
from tokenopt_pipeline_tests.stages.scripted_provider import Asked, Reply, refusing, saying_entries

SMALL, MID, LARGE, SECOND = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-opus-5"
SCHEMA = {
    "ref": "rents",
    "type": "object",
    "properties": {"rent": {"type": "integer"}},
    "required": ["rent"],
}
CHECKED: dict[str, Any] = {"default_tier": "small", "escalation": {"enabled": True}}
TWO_PASS: dict[str, Any] = {"rules": [{"id": "unsure", "two_pass": {"classifier": "small"}}]}
EASY = [f"Flat {i}: the rent is {100 + i} euros." for i in range(4)]
HARD = [f"Hard flat {i}: the rent is {200 + i} euros." for i in range(3)]

Answer = Callable[[str, str], Mapping[str, Any] | None]


def stated(text: str) -> int:
    return int(re.findall(r"\d+", text)[-1])


def by_tier(model: str, text: str) -> Mapping[str, Any]:
    """The small model invents a number for hard blocks; the others read."""
    return {"rent": 999 if model == SMALL and text.startswith("Hard") else stated(text)}


def answering(answer: Answer, *, difficulty: Callable[[str], str] = lambda text: "complex") -> Callable[[Asked], Reply]:
    """A script by model and text; None refuses the whole pack."""

    def script(asked: Asked) -> Reply:
        properties: Any = asked.request.output_schema["properties"]
        is_first_pass = "difficulty" in properties["results"]["items"]["properties"]
        found: list[Mapping[str, Any]] = []
        for n, text in enumerate(asked.texts, start=1):
            values = {"difficulty": difficulty(text)} if is_first_pass else answer(asked.request.model.ref.model, text)
            if values is None:
                return refusing(asked)
            found.append({asked.ordinal_key: n, **values})
        return saying_entries(found)

    return script


@pytest.fixture
def flats(rig: Rig) -> Rig:
    rig.ingest(*EASY, *HARD)
    rig.provider.script = answering(by_tier)
    return rig


def ran(rig: Rig, routing: Mapping[str, Any], **policy: Any) -> Run:
    run = rig.plan(rig.request(schema=SCHEMA, routing=routing, **policy))
    rig.finish(run)
    return run


def asked_of(rig: Rig, model: str) -> list[str]:
    """Every text that the model was asked about, sorted."""
    return sorted(
        text for asked in rig.provider.asked if asked.request.model.ref.model == model for text in asked.texts
    )


def outputs(rig: Rig, run: Run) -> dict[str, Any]:
    return {text: (o["staged"] or {}).get("rent") for text, o in rig.overlays(run).items()}


def summary(rig: Rig, run: Run) -> dict[str, Any]:
    return PostgresSummaries(rig.connection, tables=OneSupply(model=rig.model)).summary(
        PostgresRuns(rig.connection).find(run.run_id)
    )


def told(rig: Rig, run: Run, index: int) -> str:
    document = rig.one("select document_id from document")
    return "\n".join(story_lines(PostgresStories(rig.connection).of_block(run, block_uid(document, index))))


def assert_one_output_each(rig: Rig, run: Run, blocks: int = 7) -> dict[str, Any]:
    found = summary(rig, run)
    assert (found["state"], found["violations"], found["outcomes"]["ai_complete"]) == ("complete", 0, blocks)
    ends = (
        "select count(*) from (select block_no from model_output where run_no = %(run)s and is_last union all"
        " select block_no from chosen_answer where run_no = %(run)s) e"
    )
    assert rig.one(ends, run=run.run_no) == blocks
    assert rig.one("select count(*) from pack_block where run_no = %(run)s and is_live", run=run.run_no) == 0
    assert float(rig.one("select sum(usd) from ledger where run_no = %(run)s", run=run.run_no)) == found["usd"]
    return found


def test_only_doubted_blocks_are_asked_again_at_the_next_tier_whose_answer_wins(flats: Rig) -> None:
    run = ran(flats, CHECKED)
    assert asked_of(flats, SMALL) == sorted(EASY + HARD)
    assert asked_of(flats, MID) == HARD
    assert outputs(flats, run) == {text: stated(text) for text in EASY + HARD}
    found = assert_one_output_each(flats, run)
    assert found["routing"]["escalated"] == {"mid": 3}
    assert "escalated   3 blocks  (mid 3)" in summary_lines(found)
    story = told(flats, run, 5)
    assert "doubt       number_not_in_text: The block states no 999, the value of rent." in story
    assert "verdict     Doubt number_not_in_text sends the block to tier mid" in story
    assert "escalated from pack" in story
    assert "verdict     The answer of tier mid replaces the doubted one of tier small." in story


def test_without_escalation_the_cheap_answers_stand(flats: Rig) -> None:
    run = ran(flats, {"default_tier": "small"})
    assert asked_of(flats, MID) == []
    assert outputs(flats, run)[HARD[0]] == 999
    assert assert_one_output_each(flats, run)["routing"] == {}


def test_an_answer_that_breaks_its_schema_is_not_asked_of_the_same_model_again(flats: Rig) -> None:
    flats.provider.script = answering(
        lambda model, text: {"rent": "many"} if model == SMALL and text in HARD else by_tier(MID, text)
    )
    run = ran(flats, CHECKED)
    assert asked_of(flats, SMALL) == sorted(EASY + HARD)
    assert asked_of(flats, MID) == HARD
    assert_one_output_each(flats, run)


def test_escalation_goes_as_many_tiers_up_as_the_policy_says(flats: Rig) -> None:
    flats.provider.script = answering(
        lambda model, text: {"rent": stated(text) if model == LARGE or text in EASY else 999}
    )
    run = ran(flats, {**CHECKED, "escalation": {"enabled": True, "max_steps": 2}})
    assert asked_of(flats, LARGE) == HARD
    assert outputs(flats, run)[HARD[0]] == stated(HARD[0])
    assert assert_one_output_each(flats, run)["routing"]["escalated"] == {"large": 3, "mid": 3}


@pytest.mark.parametrize("step", [1, 2])
def test_where_the_dearer_tier_gives_nothing_usable_the_newest_doubted_answer_stands(flats: Rig, step: int) -> None:
    dearest = {1: MID, 2: LARGE}[step]
    flats.provider.script = answering(
        lambda model, text: None if model == dearest else {"rent": 1000 + len(model) if text in HARD else stated(text)}
    )
    run = ran(flats, {**CHECKED, "escalation": {"enabled": True, "max_steps": step}})
    before = {1: SMALL, 2: MID}[step]
    assert outputs(flats, run)[HARD[0]] == 1000 + len(before)
    found = assert_one_output_each(flats, run)
    assert found["routing"]["earlier_answers_stand"] == 3
    tier = {1: "small", 2: "mid"}[step]
    assert f"outcome     ai_complete: The answer of tier {tier} stands: anthropic/{dearest} gave none" in told(
        flats, run, 5
    )


def test_two_cheap_answers_that_agree_are_believed_and_others_go_up(flats: Rig) -> None:
    # Nothing in the block speaks against what the small model says of the second hard flat.
    flats.provider.script = answering(
        lambda model, text: {"rent": 1 if model == SMALL and text == HARD[1] else stated(text)}
    )
    escalation = {"enabled": True, "second_opinion": f"anthropic/{SECOND}"}
    run = ran(flats, {**CHECKED, "escalation": escalation})
    assert asked_of(flats, SECOND) == sorted(EASY + HARD)
    assert asked_of(flats, MID) == [HARD[1]]
    assert outputs(flats, run) == {text: stated(text) for text in EASY + HARD}
    found = assert_one_output_each(flats, run)
    assert (found["routing"]["second_opinions"], found["routing"]["earlier_answers_stand"]) == (7, 6)
    assert found["routing"]["usd"]["second_opinions"] > 0
    assert "answers the same as tier small, whose answer stands." in told(flats, run, 0)
    assert "a second opinion on pack" in told(flats, run, 0)
    assert "disagreement: One model answers rent with '1', another with" in told(flats, run, 5)


def test_what_other_checks_doubt_needs_no_second_opinion(flats: Rig) -> None:
    escalation = {"enabled": True, "second_opinion": f"anthropic/{SECOND}"}
    run = ran(flats, {**CHECKED, "escalation": escalation})
    assert asked_of(flats, SECOND) == EASY
    assert asked_of(flats, MID) == HARD
    assert_one_output_each(flats, run)


def test_a_second_model_that_declines_is_no_agreement(flats: Rig) -> None:
    flats.provider.script = answering(lambda model, text: None if model == SECOND else {"rent": stated(text)})
    escalation = {"enabled": True, "second_opinion": f"anthropic/{SECOND}"}
    run = ran(flats, {**CHECKED, "escalation": escalation})
    assert asked_of(flats, MID) == sorted(EASY + HARD)
    assert_one_output_each(flats, run)


def test_a_first_pass_says_who_answers_and_its_calls_are_in_the_ledger(flats: Rig) -> None:
    flats.provider.script = answering(by_tier, difficulty=lambda text: "simple" if text in EASY else "complex")
    run = ran(flats, TWO_PASS)
    assert asked_of(flats, MID) == HARD
    # Once to be sorted, and the simple ones once to be answered.
    assert asked_of(flats, SMALL) == sorted(EASY + HARD + EASY)
    found = assert_one_output_each(flats, run)
    assert found["routing"]["first_passes"] == 7
    assert found["routing"]["classified"] == {"mid": 3, "small": 4}
    passes = "select sum(l.usd) from ledger l join call using (call_no) join pack p using (pack_no) where asks = 'classification'"
    assert found["routing"]["usd"]["first_passes"] == pytest.approx(float(flats.one(passes)))
    assert 0 < found["routing"]["usd"]["first_passes"] < found["usd"]
    story = told(flats, run, 0)
    assert "This is the first pass, asked of" in story
    assert "verdict     Tier small calls the block simple." in story
    assert "classified by pack" in story
    assert flats.one("select classification_tokens from run") > 0


def test_a_first_pass_that_fails_counts_as_complex(flats: Rig) -> None:
    def script(asked: Asked) -> Reply:
        properties: Any = asked.request.output_schema["properties"]
        if "difficulty" in properties["results"]["items"]["properties"]:
            return refusing(asked)
        return answering(by_tier)(asked)

    flats.provider.script = script
    run = ran(flats, TWO_PASS)
    assert asked_of(flats, MID) == sorted(EASY + HARD)
    assert "gave no usable classification, so it counts as complex" in told(flats, run, 0)
    assert_one_output_each(flats, run)


def test_a_classified_block_may_be_doubted_and_go_further(flats: Rig) -> None:
    flats.provider.script = answering(by_tier, difficulty=lambda _: "simple")
    run = ran(flats, {**TWO_PASS, "escalation": {"enabled": True}})
    assert asked_of(flats, MID) == HARD
    assert outputs(flats, run) == {text: stated(text) for text in EASY + HARD}
    assert_one_output_each(flats, run)


def cost_of(rig: Rig, model: str) -> Any:
    query = "select coalesce(sum(usd), 0) from ledger where model = %(model)s"
    return rig.one(query, model=f"anthropic/{model}")


def test_what_the_budget_has_no_room_for_leaves_the_doubted_answer_standing(flats: Rig) -> None:
    tight: dict[str, Any] = {
        "packing": {"pack_size": 1, "single_block_output_tokens": 200},
        "calls": {"concurrency": 1},
    }
    trial = ran(flats, CHECKED, **tight)
    ceilings = flats.one("select max(usd_ceiling) from call c join pack using (pack_no) where tier = 'mid'")
    budget = cost_of(flats, SMALL) + ceilings + cost_of(flats, MID) / 6
    flats.provider.asked.clear()
    run = ran(flats, CHECKED, **tight, reuse={"enabled": False}, run={"budget_usd": str(round(budget, 6))})
    assert 0 < len(asked_of(flats, MID)) < 3
    found = assert_one_output_each(flats, run)
    assert found["usd"] <= float(round(budget, 6))
    stands = found["routing"]["earlier_answers_stand"]
    assert stands == 3 - len(asked_of(flats, MID))
    assert "does not fit the budget" in told(flats, run, 6)
    assert trial.run_id != run.run_id


def test_a_budget_too_small_for_the_first_answers_stops_the_run_as_ever(flats: Rig) -> None:
    run = flats.plan(flats.request(schema=SCHEMA, routing=CHECKED, run={"budget_usd": "0.000001"}))
    with pytest.raises(BudgetExceeded):
        flats.finish(run)
    assert flats.provider.asked == []


class _Died(BaseException):
    """A process that is no more."""


ROUTING: dict[str, Any] = {
    "rules": [{"id": "unsure", "two_pass": {"classifier": "small"}}],
    "escalation": {"enabled": True, "second_opinion": f"anthropic/{SECOND}"},
}


@pytest.mark.parametrize("method", ["begin", "settle"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_that_dies_at_any_write_ends_as_if_nothing_had_happened(
    flats: Rig, database_url: str, method: str, after: bool
) -> None:
    flats.provider.script = answering(
        lambda model, text: {"rent": 1 if model == SMALL and text == HARD[1] else by_tier(model, text)["rent"]},
        difficulty=lambda text: "complex" if text == EASY[0] else "simple",
    )
    policy: dict[str, Any] = {"packing": {"pack_size": 2}, "calls": {"concurrency": 2}, "reuse": {"enabled": False}}
    request = flats.request(schema=SCHEMA, routing=ROUTING, **policy)
    undisturbed = flats.plan(request)
    flats.finish(undisturbed)
    wanted = outputs(flats, undisturbed)
    ends = len(flats.rows("select 1 from call"))
    asked_undisturbed = len(flats.provider.asked)
    flats.provider.asked.clear()

    run, deaths = flats.plan(request), 0
    assert run.run_id != undisturbed.run_id
    for point in range(1, ends + 1):
        with connect(database_url) as connection:
            line = flats.line(connection)
            done, count = getattr(line.calls, method), 0

            def dies(*given: Any, _done: Any = done, _at: int = 1 + point % 2, **rest: Any) -> Any:
                nonlocal count
                count += 1
                if count == _at and not after:
                    raise _Died
                result = _done(*given, **rest)
                if count == _at:
                    raise _Died
                return result

            setattr(line.calls, method, dies)
            try:
                flats.finish(run, line=line)
            except _Died:
                deaths += 1
                continue
            break
    flats.finish(run)
    assert deaths > 3
    assert outputs(flats, run) == wanted
    assert_one_output_each(flats, run)
    assert flats.one(
        "select count(*) from response r join call c using (call_no) where run_no = %(r)s", r=run.run_no
    ) == (asked_undisturbed)
    # Every death costs at most the answers that were on their way.
    assert len(flats.provider.asked) <= asked_undisturbed + 2 * deaths


def test_a_death_before_the_budget_s_choice_is_stored_changes_nothing(flats: Rig) -> None:
    tight: dict[str, Any] = {
        "packing": {"pack_size": 1, "single_block_output_tokens": 200},
        "calls": {"concurrency": 1},
    }
    ran(flats, {"default_tier": "small"}, **tight)
    budget = round(cost_of(flats, SMALL) + flats.one("select max(usd_ceiling) from call"), 6)
    run = flats.plan(
        flats.request(
            schema=SCHEMA, routing=CHECKED, **tight, reuse={"enabled": False}, run={"budget_usd": str(budget)}
        )
    )
    line = flats.line()

    def dies(*_: Any, **__: Any) -> None:
        raise _Died

    line.calls.leave = dies  # type: ignore[method-assign]
    with pytest.raises(_Died):
        flats.finish(run, line=line)
    line.reconcile(run, Shard(run_no=run.run_no, shard_no=0))
    assert flats.statuses(run) == {"ai_complete": 4, "submitted": 3}
    flats.finish(run)
    assert assert_one_output_each(flats, run)["routing"]["earlier_answers_stand"] == 3
