"""One block's part of an answer leads to exactly one thing: it stands, an earlier one does, or somebody is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.consequences import Consequence, consequences_of, unaffordable
from tokenopt_pipeline.domain.escalation import EscalationPolicy
from tokenopt_pipeline.domain.fallbacks import FallbackPolicy, Obstacle
from tokenopt_pipeline.domain.moves import Asks, Cause, Origin
from tokenopt_pipeline.domain.outputs import DecodedOutput, Finding
from tokenopt_pipeline.domain.packs import OpenPack, StandingAnswer
from tokenopt_pipeline.domain.routing import RoutingPolicy, RoutingRule, TwoPass
from tokenopt_pipeline_tests.domain.generated import examples
from tokenopt_pipeline_tests.factories import a_member, a_route, a_schema, an_open_pack

_MODELS = {"small": ("a/small", "b/small"), "mid": ("a/mid",), "large": ("a/large",)}
_CHECKED = EscalationPolicy(enabled=True)
_SCHEMA = a_schema(properties={"rent": {"type": "number"}, "party": {"type": "string"}}, required=["rent"])
_STATED: Mapping[str, object] = {"rent": 500, "party": "tenant"}
_INVENTED: Mapping[str, object] = {"rent": 700, "party": "tenant"}
_STANDING = StandingAnswer(call_no=3, tier="small", values=_STATED)
#: A pack one tier up, as it is after an escalation.
_AT_MID = an_open_pack(route=a_route("mid"), origin=Origin(first_tier="small", cause=Cause.ESCALATION))
_COMPARING = an_open_pack(
    route=a_route(model=a_route("second").model),
    origin=Origin(first_tier="small", asks=Asks.SECOND_OPINION, cause=Cause.SECOND_OPINION),
)


def routing(**changes: Any) -> RoutingPolicy:
    return replace(RoutingPolicy(models=_MODELS, escalation=_CHECKED), **changes)


def valid(values: Mapping[str, object] = _STATED) -> DecodedOutput:
    return DecodedOutput(ordinal=1, finding=Finding.VALID, values=values)


def bad(finding: Finding) -> DecodedOutput:
    return DecodedOutput(ordinal=1, finding=finding, detail="so it is")


def follows(
    output: DecodedOutput,
    policy: RoutingPolicy | None = None,
    *,
    pack: OpenPack | None = None,
    standing: StandingAnswer | None = None,
    again: bool = False,
) -> Consequence:
    member = a_member(standing=standing)
    found = consequences_of(
        policy or routing(),
        _SCHEMA,
        pack or an_open_pack(),
        [member],
        [output],
        again=frozenset({member.block_no} if again else ()),
        hindered=lambda _: None,
    )
    assert list(found) == [member.block_no]
    return found[member.block_no]


def test_where_nobody_checks_a_valid_answer_is_the_last_and_nothing_is_said() -> None:
    assert follows(valid(_INVENTED), routing(escalation=EscalationPolicy())) == Consequence(is_last=True)


def test_an_answer_without_a_doubt_stands_and_was_looked_at() -> None:
    found = follows(valid())
    assert found.is_last
    assert [doubt.id for doubt in found.doubts or ()] == ["something_found"]
    assert found.verdict == "No doubt that escalates: the answer stands."


def test_a_doubted_answer_goes_to_the_next_tier() -> None:
    found = follows(valid(_INVENTED))
    assert found.move is not None
    assert (found.move.route.tier, str(found.move.route.model)) == ("mid", "a/mid")
    assert found.move.origin == Origin(first_tier="small", cause=Cause.ESCALATION)
    assert "number_not_in_text" in {doubt.id for doubt in found.doubts or ()}
    assert (
        found.verdict
        == "Doubt number_not_in_text sends the block to tier mid: The block states no 700, the value of rent."
    )
    assert (found.is_last, found.chosen) == (False, None)


def test_a_rule_s_own_list_of_doubts_decides() -> None:
    rule = RoutingRule(id="lenient", tier="small", escalate_on=())
    found = follows(valid(_INVENTED), routing(rules=(rule,)), pack=an_open_pack(route=a_route(rule_id="lenient")))
    assert found.is_last


def test_the_answer_of_the_last_tier_replaces_the_doubted_one_however_doubtful() -> None:
    found = follows(valid(_INVENTED), pack=_AT_MID, standing=_STANDING)
    assert found.is_last
    assert found.verdict.startswith(
        "The answer of tier mid replaces the doubted one of tier small. Doubt number_not_in_text"
    )
    assert "as far as the policy escalates" in found.verdict


def test_an_answer_after_a_doubted_one_says_so_where_checks_have_ended() -> None:
    found = follows(valid(), routing(escalation=EscalationPolicy()), pack=_AT_MID, standing=_STANDING)
    assert found == Consequence(is_last=True, verdict="The answer of tier mid replaces the doubted one of tier small.")


@pytest.mark.parametrize(("again", "moves"), [(True, True), (False, True)])
def test_an_answer_that_breaks_its_schema_goes_to_the_next_tier_at_once(again: bool, moves: bool) -> None:
    found = follows(bad(Finding.INVALID), again=again)
    assert (found.move is not None) is moves
    assert [doubt.id for doubt in found.doubts or ()] == ["schema"]


def test_an_answer_that_cannot_be_read_is_split_before_it_is_doubted() -> None:
    assert follows(bad(Finding.UNPARSABLE), again=True) == Consequence()
    found = follows(bad(Finding.UNPARSABLE))
    assert [doubt.id for doubt in found.doubts or ()] == ["unparsable"]
    assert found.move is not None


@pytest.mark.parametrize(("listed", "tier"), [(("required_empty",), "mid"), ((), None)], ids=["some", "none"])
@pytest.mark.parametrize("finding", [Finding.INVALID, Finding.UNPARSABLE])
def test_what_can_be_no_output_goes_up_before_it_fails_whatever_doubts_are_listed(
    finding: Finding, listed: tuple[str, ...], tier: str | None
) -> None:
    policy = routing(escalation=replace(_CHECKED, doubts=listed))
    assert follows(bad(finding), policy, again=True) == Consequence()
    found = follows(bad(finding), policy)
    assert (None if found.move is None else found.move.route.tier) == tier
    assert found.is_last is (tier is None)


def test_a_refusal_goes_to_the_next_model_of_the_tier() -> None:
    found = follows(bad(Finding.REFUSED))
    assert found.move is not None
    assert (str(found.move.route.model), found.move.route.tier) == ("b/small", "small")
    assert (found.move.origin.cause, found.move.origin.obstacle) == (Cause.FALLBACK, Obstacle.REFUSED)
    assert found.verdict == "a/small is refusing to answer, so b/small is asked, hop 1 of at most 2."


@pytest.mark.parametrize(
    ("finding", "obstacle"), [(Finding.TOO_LARGE, Obstacle.OVER_LIMITS), (Finding.REJECTED, Obstacle.REFUSED)]
)
def test_a_request_that_a_model_cannot_take_goes_to_the_next(finding: Finding, obstacle: Obstacle) -> None:
    found = follows(bad(finding), routing(escalation=EscalationPolicy()))
    assert found.move is not None
    assert found.move.origin.obstacle is obstacle


def test_without_a_next_model_the_block_fails_and_it_is_said_why() -> None:
    found = follows(bad(Finding.REFUSED), routing(fallback=FallbackPolicy(max_hops=0)))
    assert (found.is_last, found.move) == (True, None)
    assert found.verdict.endswith("and the policy's 0 hops are used.")


def test_a_tier_that_gives_nothing_usable_leaves_the_earlier_answer_standing() -> None:
    found = follows(bad(Finding.REFUSED), pack=_AT_MID, standing=_STANDING)
    assert found.chosen is not None
    assert found.chosen.call_no == 3
    assert found.chosen.reason == "The answer of tier small stands: a/mid gave none that is usable (refused)."
    assert not found.is_last


def test_a_block_without_any_answer_fails() -> None:
    assert follows(bad(Finding.MISSING), pack=_AT_MID) == Consequence(is_last=True)


def test_a_second_opinion_is_asked_about_an_answer_that_nothing_else_doubts() -> None:
    asking = routing(escalation=replace(_CHECKED, second_opinion="b/second"))
    found = follows(valid(), asking)
    assert found.move is not None
    assert (str(found.move.route.model), found.move.origin.asks) == ("b/second", Asks.SECOND_OPINION)
    assert found.verdict == found.move.route.reason
    assert follows(valid(_INVENTED), asking).move == follows(valid(_INVENTED)).move


@pytest.mark.parametrize(
    ("escalation", "pack"),
    [
        pytest.param(replace(_CHECKED, second_opinion="a/small"), an_open_pack(), id="of the same model"),
        pytest.param(replace(_CHECKED, second_opinion="b/x", doubts=("schema",)), an_open_pack(), id="nobody listens"),
        pytest.param(
            replace(_CHECKED, second_opinion="b/x"),
            an_open_pack(route=a_route("large"), origin=Origin(first_tier="large")),
            id="no dearer tier",
        ),
        pytest.param(replace(_CHECKED, second_opinion="b/x"), _AT_MID, id="not at the first tier"),
        pytest.param(_CHECKED, an_open_pack(), id="none declared"),
    ],
)
def test_a_second_opinion_that_would_lead_nowhere_is_not_asked(escalation: EscalationPolicy, pack: OpenPack) -> None:
    assert follows(valid(), routing(escalation=escalation), pack=pack).move is None


def test_two_cheap_answers_that_agree_let_the_first_stand() -> None:
    found = follows(valid({"rent": 500.0, "party": "Tenant"}), pack=_COMPARING, standing=_STANDING)
    assert found.chosen is not None
    assert found.chosen.call_no == 3
    assert "answers the same as tier small" in found.chosen.reason
    assert (found.is_last, found.doubts) == (False, ())


@pytest.mark.parametrize("output", [valid(_INVENTED), bad(Finding.REFUSED)], ids=["different", "unusable"])
def test_two_cheap_answers_that_do_not_agree_send_the_block_on(output: DecodedOutput) -> None:
    found = follows(output, pack=_COMPARING, standing=_STANDING)
    assert found.move is not None
    assert found.move.route.tier == "mid"
    assert [doubt.id for doubt in found.doubts or ()] == ["disagreement"]


@pytest.mark.parametrize("asks", [Asks.SECOND_OPINION, Asks.CLASSIFICATION])
def test_an_unusable_first_pass_or_second_opinion_is_asked_again_like_any_other(asks: Asks) -> None:
    pack = an_open_pack(origin=Origin(first_tier="small", asks=asks))
    assert follows(bad(Finding.MISSING), pack=pack, standing=_STANDING, again=True) == Consequence()


@pytest.mark.parametrize(
    ("output", "tier", "said"),
    [
        (valid({"difficulty": "simple"}), "small", "Tier small calls the block simple."),
        (valid({"difficulty": "complex"}), "mid", "Tier small calls the block complex."),
        (bad(Finding.REFUSED), "mid", "Tier small gave no usable classification, so it counts as complex."),
    ],
)
def test_a_classified_block_goes_to_the_matched_tier(output: DecodedOutput, tier: str, said: str) -> None:
    rule = RoutingRule(id="two", tier="mid", two_pass=TwoPass())
    pack = an_open_pack(route=a_route(rule_id="two"), origin=Origin(first_tier="small", asks=Asks.CLASSIFICATION))
    found = follows(output, routing(rules=(rule,)), pack=pack)
    assert found.move is not None
    assert (found.move.route.tier, found.move.origin) == (tier, Origin(first_tier=tier, cause=Cause.CLASSIFIED))
    assert found.verdict == said
    assert found.move.route.reason.startswith(f"Rule two: {said[:-1]}, so tier {tier} answers; ")


def test_what_cannot_be_paid_leaves_the_earlier_answer_standing() -> None:
    choice = unaffordable(a_member(standing=_STANDING), _AT_MID, "too dear")
    assert choice is not None
    assert choice.call_no == 3
    assert choice.reason == "The answer of tier small stands, because asking a/mid does not fit the budget: too dear."
    assert unaffordable(a_member(), _AT_MID, "too dear") is None


@given(
    finding=st.sampled_from(Finding),
    enabled=st.booleans(),
    again=st.booleans(),
    standing=st.booleans(),
    steps=st.integers(1, 2),
    tier=st.sampled_from(["small", "mid", "large"]),
    hops=st.integers(0, 2),
)
@examples(300)
def test_every_block_has_exactly_one_fate_whatever_came_back(
    *, finding: Finding, enabled: bool, again: bool, standing: bool, steps: int, tier: str, hops: int
) -> None:
    policy = routing(
        escalation=EscalationPolicy(enabled=enabled, max_steps=steps), fallback=FallbackPolicy(max_hops=hops)
    )
    output = valid(_INVENTED) if finding is Finding.VALID else bad(finding)
    is_again = again and finding is not Finding.VALID
    pack = an_open_pack(route=a_route(tier), origin=Origin(first_tier="small"))
    found = follows(output, policy, pack=pack, standing=_STANDING if standing else None, again=is_again)
    fates = [found.is_last, found.chosen is not None, found.move is not None, found == Consequence()]
    assert sum(fates) == 1
    assert not (found == Consequence() and not is_again)
    # Nothing is escalated further than the policy goes, and whatever is not the last says why.
    if found.move is not None and found.move.origin.cause is Cause.ESCALATION:
        assert enabled
        assert found.move.route.tier in ("small", "mid", "large")[1 : steps + 1]
    assert found.is_last or found.verdict or is_again
