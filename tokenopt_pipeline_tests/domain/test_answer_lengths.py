"""Lengths are learnt as what answers rarely exceed, so that packs overflow no more often than was declared."""

from __future__ import annotations

import json
import random  # noqa: TID251 - seeded: the same answers every time

import pytest

from tokenopt_pipeline.domain.answer_lengths import (
    ANY_TYPE,
    AnswerLength,
    AnswerSample,
    LengthSum,
    learn_lengths,
    lengths_document,
    parse_lengths,
    shares,
)


def samples(*pairs: tuple[int, int], block_type: str = "paragraph") -> list[AnswerSample]:
    return [AnswerSample(block_type=block_type, block_tokens=b, answer_tokens=a) for b, a in pairs]


def learnt(*pairs: tuple[int, int], p: float = 0.05) -> AnswerLength:
    return learn_lengths(samples(*pairs), overflow_probability=p)[ANY_TYPE]


def test_nothing_is_learnt_from_fewer_than_eight_answers() -> None:
    assert learn_lengths(samples(*[(50, 90)] * 7), overflow_probability=0.01) == {}


def test_few_answers_tell_a_mean_and_a_wider_margin() -> None:
    few, many = learnt(*[(50, 60), (50, 120)] * 5), learnt(*[(50, 60), (50, 120)] * 50)
    assert few.expected(50) == many.expected(50) == 90
    assert few.margin > 1.2 * many.margin


def test_a_type_with_enough_answers_has_its_own_length_and_all_together_have_one() -> None:
    tables, others = samples(*[(50, 400)] * 8, block_type="table"), samples(*[(50, 100)] * 7)
    lengths = learn_lengths([*tables, *others], overflow_probability=0.01)
    assert list(lengths) == [ANY_TYPE, "table"]
    assert lengths["table"].expected(50) == 400
    assert lengths[ANY_TYPE].expected(50) == pytest.approx((8 * 400 + 7 * 100) / 15, abs=0.01)


def test_answers_that_are_all_alike_have_no_margin() -> None:
    assert learnt(*[(n, 80) for n in range(40)]) == AnswerLength(base=80, per_block_token=0.0, margin=0.0, answers=40)


def test_answers_that_repeat_the_block_grow_with_it() -> None:
    length = learnt(*[(n, 30 + 2 * n) for n in range(10, 400, 10)])
    assert (length.base, length.per_block_token) == (30.0, 2.0)
    assert length.expected(1_000) == 2_030


def test_answers_that_get_shorter_with_the_block_are_taken_for_equally_long() -> None:
    assert learnt(*[(n, 500 - n) for n in range(10, 400, 10)]).per_block_token == 0.0


def test_the_margin_is_the_declared_quantile_and_no_mean() -> None:
    # One answer in ten is three times as long as the others.
    pairs = [(50, 300 if i % 10 == 0 else 100) for i in range(200)]
    assert learnt(*pairs, p=0.05).expected(50) == 120
    assert learnt(*pairs, p=0.05).margin >= 1.5
    assert learnt(*pairs, p=0.3).margin < learnt(*pairs, p=0.05).margin


def test_no_answer_is_expected_to_be_nothing() -> None:
    assert AnswerLength(base=-50, per_block_token=0.5, margin=0.0, answers=20).expected(10) == 1.0


@pytest.mark.parametrize("probability", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("size", [1, 4, 16])
@pytest.mark.parametrize("shape", ["skewed", "two kinds", "as long as the block"])
def test_packs_overflow_no_more_often_than_was_declared(shape: str, size: int, probability: float) -> None:
    chance = random.Random(f"{shape} {size} {probability}")

    def answer(block: int) -> int:
        match shape:
            case "skewed":
                return round(chance.lognormvariate(4.5, 0.6))
            case "two kinds":
                return 400 if chance.random() < 0.1 else 60
            case _:
                return round(block * chance.uniform(0.6, 1.6))

    def block() -> int:
        return chance.randrange(20, 600)

    seen = samples(*[(b, answer(b)) for b in (block() for _ in range(1_000))])
    length = learn_lengths(seen, overflow_probability=probability)[ANY_TYPE]
    overflown, packs = 0, 1_500
    for _ in range(packs):
        blocks, total = [block() for _ in range(size)], LengthSum()
        for tokens in blocks:
            total.add(length.expected(tokens), length.expected(tokens) * length.margin)
        overflown += sum(map(answer, blocks)) > total.bound
    # The declared share, and what chance may add to it in so many packs.
    assert overflown / packs <= probability + 3 * (probability / packs) ** 0.5


def test_a_sum_with_one_more_is_the_sum_after_it() -> None:
    total = LengthSum()
    total.add(100, 50)
    bound = total.bound_with(200, 30)
    total.add(200, 30)
    assert total.bound == bound
    assert 300 < bound < 380


@pytest.mark.parametrize(
    ("said", "chars", "is_whole", "expected"),
    [
        pytest.param([60, 30, 10], 140, True, (54, 27, 9), id="all of a whole answer but what stands around"),
        pytest.param([60, 30], 20, True, (58, 29), id="escapes make a whole text shorter than it is said"),
        pytest.param([60, 0, 0], 120, False, (50, None, None), id="a cut answer keeps what it lost"),
        pytest.param([60, 60, 0], 90, False, (50, 50, None), id="escapes make a text shorter than it is said"),
        pytest.param([0, 0], 40, True, (None, None), id="an answer without entries"),
    ],
)
def test_an_answers_tokens_are_shared_out_by_what_was_said(
    said: list[int], chars: int, is_whole: bool, expected: tuple[int | None, ...]
) -> None:
    assert shares(100, said, chars=chars, is_whole=is_whole) == expected


def test_lengths_come_back_from_what_is_stored() -> None:
    lengths = {"a/b": learn_lengths(samples(*[(n, 9 * n) for n in range(30)]), overflow_probability=0.01)}
    assert parse_lengths(json.loads(json.dumps(lengths_document(lengths)))) == lengths
