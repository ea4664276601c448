"""Packs keep every block once, in order, and under all limits."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.answer_lengths import AnswerLength
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.packing import (
    LINE_OVERHEAD_TOKENS,
    PackableBlock,
    PackLimits,
    PlannedPack,
    answer_tokens,
    pack_limits,
    plan_packs,
    too_large,
)
from tokenopt_pipeline.domain.packing_policy import PackingPolicy
from tokenopt_pipeline_tests.domain.generated import examples
from tokenopt_pipeline_tests.factories import a_block, a_model, a_policy, a_schema, blocks_of, some_limits

_PROSE_OPTIMIZER = {
    "action": {"type": "string", "enum": ["keep", "rewrite", "skip_nonprose"]},
    "final": {"type": "object", "properties": {"content": {"type": "string"}, "format": {"type": "string"}}},
    "checks": {"type": "array", "maxItems": 3, "items": {"type": "object"}},
    "diff_summary": {"type": "string", "maxLength": 400},
    "confidence": {"type": "number"},
}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        # 120 + 5 * 40 + array 60 + object 80 + free text 25 + "summary" 140
        pytest.param(_PROSE_OPTIMIZER, 625, id="prose_optimizer"),
        # 120 + 40 = 160, raised to per_block_output_tokens
        pytest.param({"a": {"type": "number"}}, 200, id="floor"),
        # 120 + 3 * 40; numbers, choices and untyped fields add nothing
        pytest.param(
            {"a": {"type": "number"}, "b": {"type": "string", "enum": ["x"]}, "c": {}}, 240, id="short fields"
        ),
        # 120 + 2 * 40 + 25
        pytest.param({"a": {"type": ["string", "null"]}, "b": {}}, 225, id="nullable text"),
        # 120 + 2 * 40 + 60: an array is an array, whatever else it may be
        pytest.param({"a": {"type": ["array", "string"]}, "b": {}}, 260, id="array or text"),
        # 120 + 2 * 40 + 80
        pytest.param({"a": {"type": ["object", "null"]}, "b": {}}, 280, id="object or nothing"),
        # 120 + 40 + 25 + 140, once for a name of two long words
        pytest.param({"Revised_Content": {"type": "string"}}, 325, id="two words of prose"),
        # 120 + 2 * 40: schemas that are true and false
        pytest.param({"a": True, "b": False}, 200, id="anything and nothing"),
        # 120 + 300 * 40 = 12,120, cut to max_output_tokens
        pytest.param({f"f{i}": {} for i in range(300)}, 8_192, id="ceiling"),
    ],
)
def test_the_expected_answer_follows_from_the_top_level_fields(properties: dict[str, Any], expected: int) -> None:
    schema = a_schema(properties=properties, required=[])
    assert answer_tokens(schema, PackingPolicy()) == expected


@pytest.mark.parametrize(
    ("schema", "policy", "model", "prefix", "expected"),
    [
        # 200,000 - 20,000 - 2,000 - 3,000
        pytest.param({}, {}, {}, 3_000, (16, 175_000, 8_192), id="the policy's own figures"),
        # ceil(3,000 * 1.25) = 3,750
        pytest.param({}, {}, {"token_ratio_guard": 1.25}, 3_000, (16, 174_250, 8_192), id="a guarded prefix"),
        # the model's 32,000 and 4,000 are lower: 32,000 - 8,000 - 2,000 - 3,000
        pytest.param(
            {}, {}, {"context_tokens": 32_000, "max_output_tokens": 4_000}, 3_000, (16, 19_000, 4_000), id="small model"
        ),
        # 200,000 - 22,000 - 190,000 < 0
        pytest.param({}, {}, {}, 190_000, (16, 512, 8_192), id="a prefix that fills the window"),
        pytest.param({}, {"enabled": False}, {}, 0, (1, 178_000, 8_192), id="packing off"),
        pytest.param({"final": {}}, {}, {}, 0, (6, 178_000, 8_192), id="prose"),
        pytest.param({"final": {}}, {"pack_size": 4}, {}, 0, (4, 178_000, 8_192), id="prose in packs already smaller"),
    ],
)
def test_limits_follow_from_schema_policy_model_and_prefix(
    schema: dict[str, Any], policy: dict[str, Any], model: dict[str, Any], prefix: int, expected: tuple[int, int, int]
) -> None:
    asked = a_schema(properties=schema or {"kind": {}}, required=[])
    limits = pack_limits(asked, PackingPolicy(**policy), a_model(**model), prefix_tokens=prefix)
    assert (limits.max_blocks, limits.input_budget_tokens, limits.output_budget_tokens) == expected


@pytest.mark.parametrize(("asked", "cap"), [(None, 16), (3, 3), (99, 16), (0, 1)])
def test_a_pack_that_is_asked_again_may_be_smaller_and_never_larger(asked: int | None, cap: int) -> None:
    limits = pack_limits(a_schema(), PackingPolicy(), a_model(), prefix_tokens=0, max_blocks=asked)
    assert limits.max_blocks == cap


def test_an_answer_that_repeats_the_block_is_as_long_as_the_block_and_more() -> None:
    repeating = a_schema(properties={"revised_text": {"type": "string"}}, required=[])
    limits = pack_limits(repeating, PackingPolicy(), a_model(), prefix_tokens=0)
    # 120 + 40 + 25 + 140 ("revised") = 325, and the block's own 400.
    assert limits.answer_estimate(400) == 725
    assert limits.answer_estimate(100_000) == 8_192
    assert pack_limits(a_schema(), PackingPolicy(), a_model(), prefix_tokens=0).answer_estimate(400) == 225


def _packs(blocks: list[PackableBlock], policy: PackingPolicy | None = None, **limits: Any) -> list[PlannedPack]:
    return list(plan_packs(blocks, some_limits(**limits), policy or PackingPolicy(), a_model()))


@pytest.mark.parametrize(
    ("tokens", "limits", "sizes"),
    [
        pytest.param([], {}, [], id="nothing"),
        pytest.param([50], {}, [1], id="one"),
        pytest.param([50] * 25, {}, [10, 10, 5], id="the block cap"),
        # A line is 50 + 16 = 66 tokens: three make 198, four 264.
        pytest.param([50] * 7, {"input_budget_tokens": 200}, [3, 3, 1], id="the input budget"),
        pytest.param([50] * 6, {"input_budget_tokens": 198}, [3, 3], id="the input budget, filled exactly"),
        # Answers of 200: four make 800, five 1,000.
        pytest.param([50] * 9, {"output_budget_tokens": 999}, [4, 4, 1], id="the output budget"),
        pytest.param([50] * 10, {"output_budget_tokens": 1_000}, [5, 5], id="the output budget, filled exactly"),
        pytest.param(
            [10, 10, 999, 10, 10], {"input_budget_tokens": 60}, [2, 1, 2], id="a block too large stands alone"
        ),
        pytest.param([50] * 3, {"answer_tokens": 9_000}, [1, 1, 1], id="answers too large stand alone"),
    ],
)
def test_a_pack_closes_when_the_next_block_would_break_a_limit(
    tokens: list[int], limits: dict[str, Any], sizes: list[int]
) -> None:
    assert [len(pack.blocks) for pack in _packs(blocks_of(*tokens), **limits)] == sizes


@pytest.mark.parametrize(
    ("n_blocks", "answer", "expected"),
    [
        pytest.param(1, 200, 4_096, id="one block gets the policy's room for one"),
        pytest.param(1, 5_000, 5_000, id="one block that needs more"),
        pytest.param(2, 200, 512, id="2 * 200 is raised to 512"),
        pytest.param(5, 200, 1_000, id="5 * 200"),
    ],
)
def test_max_tokens_is_the_expected_answer_but_not_less_than_a_floor(n_blocks: int, answer: int, expected: int) -> None:
    (pack,) = _packs(blocks_of(*[50] * n_blocks), answer_tokens=answer)
    assert (pack.output_tokens, pack.max_tokens) == (n_blocks * answer, expected)


def test_max_tokens_is_never_above_the_output_budget() -> None:
    (pack,) = _packs([a_block()], output_budget_tokens=300)
    assert pack.max_tokens == 300


def test_a_pack_states_the_guarded_tokens_of_its_lines() -> None:
    model = a_model(token_ratio_guard=1.5)
    (pack,) = plan_packs(blocks_of(10, 21), some_limits(), PackingPolicy(), model)
    # ceil((10 + 16) * 1.5) + ceil((21 + 16) * 1.5) = 39 + 56
    assert pack.input_tokens == 95


_BLOCKS = st.lists(st.integers(0, 3_000), max_size=40).map(lambda tokens: blocks_of(*tokens))
_LIMITS = st.builds(
    PackLimits,
    max_blocks=st.integers(1, 12),
    input_budget_tokens=st.integers(512, 8_000),
    output_budget_tokens=st.integers(256, 4_000),
    answer_tokens=st.integers(1, 900),
    answer_per_block_token=st.sampled_from([0.0, 1.0]),
)
_MODELS = st.floats(1.0, 2.0).map(lambda ratio: a_model(token_ratio_guard=ratio))


@examples(120)
@given(_BLOCKS, _LIMITS, _MODELS)
def test_every_block_is_in_exactly_one_pack_and_document_order_is_kept_inside_each(
    blocks: list[PackableBlock], limits: PackLimits, model: ModelSpec
) -> None:
    packs = plan_packs(blocks, limits, PackingPolicy(), model)
    assert sorted((b for pack in packs for b in pack.blocks), key=lambda b: b.ordinal) == blocks
    assert all(pack.blocks for pack in packs)
    assert all(a.ordinal < b.ordinal for pack in packs for a, b in pairwise(pack.blocks))
    firsts = [pack.blocks[0].ordinal for pack in packs]
    assert firsts == sorted(firsts)


@examples(120)
@given(_BLOCKS, _LIMITS, _MODELS)
def test_no_pack_of_several_blocks_breaks_a_limit_and_max_tokens_never_does(
    blocks: list[PackableBlock], limits: PackLimits, model: ModelSpec
) -> None:
    for pack in plan_packs(blocks, limits, PackingPolicy(), model):
        lines = sum(model.guarded_tokens(block.tokens + LINE_OVERHEAD_TOKENS) for block in pack.blocks)
        answers = sum(limits.answer_estimate(model.guarded_tokens(block.tokens)) for block in pack.blocks)
        assert (pack.input_tokens, pack.output_tokens) == (lines, answers)
        assert len(pack.blocks) == 1 or lines <= limits.input_budget_tokens
        assert len(pack.blocks) <= limits.max_blocks
        assert answers <= limits.output_budget_tokens
        assert answers <= pack.max_tokens <= limits.output_budget_tokens


@examples(100)
@given(_BLOCKS, _LIMITS, _MODELS)
def test_no_two_neighbouring_packs_could_have_begun_as_one(
    blocks: list[PackableBlock], limits: PackLimits, model: ModelSpec
) -> None:
    packs = plan_packs(blocks, limits, PackingPolicy(), model)
    for pack, following in pairwise(packs):
        first = following.blocks[0]
        assert (
            # Packs of similar answers are fewer than those that this is about.
            "similar" in pack.reason
            or len(pack.blocks) == limits.max_blocks
            or pack.input_tokens + model.guarded_tokens(first.tokens + LINE_OVERHEAD_TOKENS)
            > limits.input_budget_tokens
            or pack.output_tokens + limits.answer_estimate(model.guarded_tokens(first.tokens))
            > limits.output_budget_tokens
        )


@examples(50)
@given(_BLOCKS, _LIMITS, _MODELS)
def test_the_same_blocks_give_the_same_packs(blocks: list[PackableBlock], limits: PackLimits, model: ModelSpec) -> None:
    first = list(plan_packs(blocks, limits, PackingPolicy(), model))
    assert list(plan_packs(iter(blocks), limits, PackingPolicy(), model)) == first


def _learnt(expected: float, margin: float = 0.0, per: float = 0.0) -> AnswerLength:
    return AnswerLength(base=expected, per_block_token=per, margin=margin, answers=500)


def test_blocks_of_similar_answers_go_together_when_that_makes_fewer_packs() -> None:
    # Long and short answers in turns, with a quarter more room: 560 + 250 pass 800 each time, three times 250 do not.
    lengths = {"table": _learnt(560), "paragraph": _learnt(250)}
    blocks = [a_block(block_no=i, ordinal=i, type="table" if i % 2 else "paragraph") for i in range(6)]
    packs = _packs(blocks, output_budget_tokens=1_000, learned=lengths)
    assert [[b.ordinal for b in pack.blocks] for pack in packs] == [[0, 2, 4], [1], [3], [5]]
    assert packs[0].reason == (
        "3 blocks of similar expected answers, which makes fewer packs than the 6 of document order; no block was left. "
        "Answers of about 754 tokens are expected, rarely above 754, learnt from 500 answers."
    )


def test_document_order_stays_when_nothing_else_makes_fewer_packs() -> None:
    packs = _packs(blocks_of(*[50] * 9), output_budget_tokens=999)
    assert [b.ordinal for pack in packs for b in pack.blocks] == list(range(9))
    assert packs[0].reason == (
        "4 blocks in document order; the next answer could pass the 999 tokens of output. "
        "Answers of about 800 tokens are expected, estimated from the schema."
    )


def test_a_pack_is_sized_with_what_answers_rarely_exceed_and_gets_room_beyond() -> None:
    (pack,) = _packs(blocks_of(50, 50, 50, 50), learned={"*": _learnt(100, margin=0.5)})
    # 400 + sqrt(0.1 * 200^2 + 0.9 * 4 * 50^2) = 400 + sqrt(13,000)
    assert (pack.output_tokens, pack.bound_tokens, pack.max_tokens) == (404, 519, 649)
    assert len(_packs(blocks_of(50, 50, 50, 50), output_budget_tokens=642, learned={"*": _learnt(100, 0.5)})) == 2
    assert len(_packs(blocks_of(50, 50, 50, 50), output_budget_tokens=644, learned={"*": _learnt(100, 0.5)})) == 1


@pytest.mark.parametrize(
    ("saved", "room"),
    [
        pytest.param(math.inf, 1.25, id="a request less saves much"),
        pytest.param(100.0, 1.25, id="as much as an answer"),
        pytest.param(50.0, 1.5, id="half an answer"),
        pytest.param(0.0, 2.0, id="nothing"),
    ],
)
def test_answers_get_the_more_room_the_less_a_request_less_saves(saved: float, room: float) -> None:
    limits = some_limits(learned={"*": _learnt(100)}, saved_tokens=saved)
    assert limits.room == room
    (pack,) = plan_packs(blocks_of(*[50] * 8), limits, PackingPolicy(), a_model())
    # 8 answers, and what stands around them
    assert pack.max_tokens == 804 * room
    assert some_limits(saved_tokens=saved).room == 1.0
    assert limits.document()["saved_tokens"] == (None if math.isinf(saved) else saved)


def test_what_is_learnt_of_a_type_goes_before_what_is_learnt_of_all_and_that_before_the_schema() -> None:
    limits = some_limits(learned={"table": _learnt(700), "*": _learnt(100, per=0.5)})
    answers = [limits.answer(a_block(tokens=40, type=t), a_model()) for t in ("table", "paragraph")]
    assert answers == [(700.0, 0.0), (120.0, 0.0)]
    assert some_limits(learned={"table": _learnt(700)}).answer(a_block(), a_model()) == (200.0, 0.0)
    # No answer is longer than a request may be.
    assert some_limits(learned={"*": _learnt(90_000, margin=1.0)}).answer(a_block(), a_model()) == (8_192.0, 0.0)


@pytest.mark.parametrize(
    ("tier", "policy", "schema", "cap", "reason"),
    [
        pytest.param("small", {}, {}, 8, "the quality cap of tier small", id="a small model"),
        pytest.param("mid", {}, {}, 16, "the policy's packing.pack_size", id="a larger one"),
        pytest.param("mid", {"pack_size": 40}, {}, 32, "the quality cap of tier mid", id="a larger pack"),
        pytest.param("small", {}, {"final": {}}, 6, "the cap of schemas that ask for prose", id="prose"),
        pytest.param("small", {"enabled": False}, {}, 1, "packing is off", id="off"),
    ],
)
def test_the_lowest_cap_holds_and_is_the_reason(
    tier: str, policy: dict[str, Any], schema: dict[str, Any], cap: int, reason: str
) -> None:
    asked = a_schema(properties=schema or {"kind": {}}, required=[])
    limits = pack_limits(asked, PackingPolicy(**policy), a_model(), prefix_tokens=0, tier=tier)
    assert (limits.max_blocks, limits.cap_reason) == (cap, reason)
    assert "learned" not in limits.document()
    packs = plan_packs(blocks_of(*[50] * 50), limits, PackingPolicy(**policy), a_model())
    assert reason in packs[0].reason
    assert len(packs[0].blocks) == cap


def test_the_cap_of_prose_ends_when_lengths_are_learnt() -> None:
    prose = a_schema(properties={"final": {}}, required=[])
    limits = pack_limits(prose, PackingPolicy(), a_model(), prefix_tokens=0, learned={"*": _learnt(100)})
    assert limits.max_blocks == 16


def test_no_pack_passes_a_price_step_that_its_blocks_alone_stay_below() -> None:
    limits = pack_limits(a_schema(), PackingPolicy(), a_model(), prefix_tokens=700, cliff_tokens=2_000)
    # 2,000 - 700 - 300 of the provider's own
    assert (limits.input_budget_tokens, limits.input_reason) == (1_000, "below the price step at 2,000 tokens")
    packs = plan_packs(blocks_of(400, 400, 400), limits, PackingPolicy(), a_model())
    assert [len(pack.blocks) for pack in packs] == [2, 1]
    assert "would pass the 1,000 tokens of input below the price step at 2,000 tokens" in packs[0].reason


@pytest.mark.parametrize("cliff", [900, 10**6])
def test_a_price_step_that_the_prefix_passes_alone_or_nothing_reaches_binds_no_pack(cliff: int) -> None:
    limits = pack_limits(a_schema(), PackingPolicy(), a_model(), prefix_tokens=700, cliff_tokens=cliff)
    assert limits.input_reason == "of the model's window"


def test_packs_that_are_asked_again_are_sized_with_what_the_cut_answer_has_shown() -> None:
    learned = {"*": _learnt(100)}
    limits = pack_limits(a_schema(), PackingPolicy(), a_model(), prefix_tokens=0, learned=learned, seen_tokens=900)
    assert limits.answer(a_block(), a_model()) == (900.0, 0.0)
    limits = pack_limits(a_schema(), PackingPolicy(), a_model(), prefix_tokens=0, learned=learned)
    assert limits.answer(a_block(), a_model()) == (100.0, 0.0)


def test_input_and_output_together_stay_within_the_window_when_the_output_bound_passes_the_reserve() -> None:
    policy = a_policy(
        packing={"max_output_tokens": 60_000, "output_reserve_tokens": 20_000, "overhead_tokens": 0}
    ).packing
    limits = pack_limits(a_schema(), policy, a_model(context_tokens=200_000, max_output_tokens=64_000), prefix_tokens=0)
    assert limits.input_budget_tokens + limits.output_budget_tokens <= 200_000


def test_a_small_models_window_is_not_eaten_by_reserves_that_were_meant_for_large_ones() -> None:
    small = a_model(context_tokens=8_192, max_output_tokens=2_048)
    limits = pack_limits(a_schema(), PackingPolicy(), small, prefix_tokens=300)
    # 8192 - 2048 (the answer) - 512 (a sixteenth) - 300
    assert (limits.input_budget_tokens, limits.output_budget_tokens) == (5_332, 2_048)


def test_only_a_block_that_can_never_fit_is_refused_and_the_reason_has_the_figures() -> None:
    model = a_model(context_tokens=10_000, request_overhead_tokens=84)
    # 900 before it, 84 of the provider's own and 16 around it
    assert too_large(a_block(tokens=8_999), model, prefix_tokens=900) is None
    assert too_large(a_block(tokens=9_000), model, prefix_tokens=900) == (
        "the block and what stands before it take about 10,000 tokens, and anthropic/claude-sonnet-5-5 takes 10,000; "
        "it was not asked"
    )
