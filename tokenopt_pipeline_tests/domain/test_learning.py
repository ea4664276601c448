"""A correction is learnt when it removes most of the error, and it is frozen with the run."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.answer_lengths import AnswerLength
from tokenopt_pipeline.domain.learning import (
    NOTHING_LEARNED,
    CountedCall,
    Learned,
    PrefixedCall,
    SeenPrefix,
    TokenCorrection,
    learn_prefix,
    learn_tokens,
    parse_learned,
)
from tokenopt_pipeline.domain.routing import parse_model_ref
from tokenopt_pipeline_tests.domain.generated import examples
from tokenopt_pipeline_tests.factories import a_model


def calls(*pairs: tuple[int, int]) -> list[CountedCall]:
    return [CountedCall(expected=expected, billed=billed) for expected, billed in pairs]


def learnt(*pairs: tuple[int, int]) -> tuple[float, float]:
    correction = learn_tokens(calls(*pairs))
    assert correction is not None
    return correction.scale, correction.shift


def test_a_tokenizer_that_counts_more_is_a_factor() -> None:
    assert learnt((1_000, 1_200), (2_000, 2_400), (300, 360)) == (1.2, 0.0)


def test_a_hidden_prompt_is_an_overhead() -> None:
    assert learnt((100, 450), (200, 550), (300, 650)) == (1.0, 350.0)


def test_both_are_told_apart_by_enough_calls_of_different_lengths() -> None:
    scale, shift = learnt(*((n, round(1.3 * n + 200)) for n in range(100, 1_100, 100)))
    assert scale == pytest.approx(1.3, abs=0.01)
    assert shift == pytest.approx(200, abs=5)


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param([], id="none"),
        pytest.param([(100, 200), (100, 200)], id="two"),
        pytest.param([(0, 200), (100, 0), (100, 200), (100, 200)], id="two that count"),
        pytest.param([(100, 100), (200, 201), (300, 299)], id="right already"),
        # The best factor, 1.0, and the best overhead, 0, leave as much error as there was.
        pytest.param([(100, 150), (100, 50), (100, 100)], id="noise"),
    ],
)
def test_nothing_is_learnt_from_too_little_or_from_noise(pairs: list[tuple[int, int]]) -> None:
    assert learn_tokens(calls(*pairs)) is None


def test_calls_that_are_all_alike_teach_one_number() -> None:
    assert learnt(*[(1_000, 1_100)] * 12) == (1.1, 0.0)


def test_a_slope_that_makes_no_sense_is_no_line() -> None:
    falling = learn_tokens(calls(*((n, 2_000 - n) for n in range(100, 1_100, 100))))
    assert falling is None or 0.25 <= falling.scale <= 4


def test_the_tail_of_many_calls_guards_what_has_to_fit() -> None:
    usual, long = [(1_000, 1_100)] * 90, [(1_000, 1_400)] * 10
    correction = learn_tokens(calls(*usual, *long))
    assert correction is not None
    assert (correction.scale, correction.calls) == (1.1, 100)
    assert correction.tail == pytest.approx(1_400 / 1_100, abs=1e-3)
    assert correction.applied_to(a_model()).token_ratio_guard == pytest.approx(1.4, abs=1e-3)


def test_a_tail_is_worth_keeping_even_where_the_mean_is_right() -> None:
    correction = learn_tokens(calls(*[(1_000, 1_000)] * 30))
    assert correction == TokenCorrection(scale=1.0, shift=0.0, tail=1.0, calls=30)


def test_a_correction_changes_ratio_guard_and_overhead_together() -> None:
    model = a_model(token_ratio=1.2, token_ratio_guard=1.5, request_overhead_tokens=100)
    few = TokenCorrection(scale=0.5, shift=-30.0, tail=None, calls=5).applied_to(model)
    assert (few.token_ratio, few.token_ratio_guard, few.request_overhead_tokens) == (0.6, 0.75, 20)
    lower = TokenCorrection(scale=1.0, shift=-900.0, tail=0.9, calls=50).applied_to(model)
    assert (lower.token_ratio, lower.token_ratio_guard, lower.request_overhead_tokens) == (1.2, 1.2, 0)


def test_the_snapshot_is_read_back_and_what_is_newer_is_left_alone() -> None:
    length = AnswerLength(base=80.0, per_block_token=0.5, margin=0.25, answers=40)
    learned = Learned(
        tokens={"a/m": TokenCorrection(scale=1.1, shift=2.0, tail=None, calls=9)},
        answers={"a/m": {"table": length}},
        prefixes={"a/m": SeenPrefix(tokens=900, line_ratio=1.25, calls=3)},
    )
    document = json.loads(json.dumps(learned.document()))
    assert parse_learned(document) == learned
    assert parse_learned({**document, "weather": {"mild": True}}) == learned
    assert parse_learned({}) == NOTHING_LEARNED == Learned()
    assert learned.answers_of(parse_model_ref("a/m")) == {"table": length}
    assert learned.answers_of(parse_model_ref("a/other")) == {}


def test_a_prefix_is_learnt_as_it_was_cached_and_its_lines_apart_from_it() -> None:
    seen = [PrefixedCall(shared=900, rest=n * 5, counted=n * 4) for n in (10, 20, 400)]
    assert learn_prefix(seen) == SeenPrefix(tokens=900, line_ratio=1.25, calls=3)
    assert learn_prefix(seen[1:]) is None
    assert learn_prefix([*seen[1:], PrefixedCall(shared=0, rest=9, counted=9)]) is None
    assert learn_prefix([*seen, PrefixedCall(shared=900, rest=9, counted=0)]) == learn_prefix(seen)


def test_what_every_request_says_beside_prefix_and_lines_is_learnt_apart() -> None:
    seen = [PrefixedCall(shared=900, rest=15 + 2 * n, counted=n) for n in range(10, 90, 10)]
    assert learn_prefix(seen) == SeenPrefix(tokens=900, line_ratio=2.0, beside=15.0, calls=8)
    steep = [PrefixedCall(shared=900, rest=n * n // 10, counted=n) for n in range(10, 90, 10)]
    assert learn_prefix(steep) == SeenPrefix(tokens=900, line_ratio=4.5, calls=8)


def _uncached(*pairs: tuple[int, int]) -> list[PrefixedCall]:
    return [PrefixedCall(shared=0, rest=billed, counted=counted) for counted, billed in pairs]


def test_a_prefix_that_no_cache_held_is_told_from_packs_of_different_lengths() -> None:
    pairs = [(n, 400 + 2 * n) for n in (30, 40, 50, 60, 70, 80, 90, 900)]
    assert learn_prefix(_uncached(*pairs)) == SeenPrefix(tokens=400, line_ratio=2.0, calls=8)


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param([(n, 400 + n) for n in (30, 300)], id="too few"),
        pytest.param([(n, 400 + n) for n in range(30, 45)], id="too alike"),
        pytest.param([(30, 400)] * 10, id="all the same"),
        pytest.param([(n, 900 - n) for n in range(30, 300, 20)], id="shorter when there is more"),
        pytest.param([(n, 4 * n - 100) for n in range(30, 300, 20)], id="less than nothing"),
    ],
)
def test_a_prefix_that_calls_do_not_tell_is_not_learnt(pairs: list[tuple[int, int]]) -> None:
    assert learn_prefix(_uncached(*pairs)) is None


@examples(100)
@given(st.lists(st.tuples(st.integers(1, 10_000), st.integers(1, 10_000)), max_size=40))
def test_whatever_was_billed_the_model_stays_one_that_can_be_planned_with(pairs: list[tuple[int, int]]) -> None:
    correction = learn_tokens(calls(*pairs))
    if correction is not None:
        model = correction.applied_to(a_model())
        assert 0 <= model.token_ratio <= model.token_ratio_guard
        assert model.request_overhead_tokens >= 0
        assert correction == learn_tokens(calls(*pairs))


def test_calls_of_much_the_same_length_teach_no_line_that_misses_all_shorter_ones() -> None:
    alike = [CountedCall(expected=26_200, billed=24_900)] * 200 + [CountedCall(expected=26_300, billed=25_030)] * 160
    longer = [CountedCall(expected=33_000, billed=33_740)] * 40
    learnt = learn_tokens([*alike, *longer])
    # The line through them starts nine thousand below nothing, and would make a prefix of 25,000 tokens one of 32,500.
    assert learnt is not None
    assert learnt.scale == pytest.approx(0.95, abs=0.002)
    assert learnt.shift == 0.0


def test_no_more_is_taken_away_than_a_request_is_expected_to_add() -> None:
    short_of = calls(*((n, n - 40) for n in range(200, 1_200, 100)))
    allowed, refused = learn_tokens(short_of, overhead=50), learn_tokens(short_of, overhead=30)
    assert allowed is not None
    assert (allowed.scale, allowed.shift) == (1.0, -40.0)
    assert refused is None or refused.shift == 0.0
