from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.ranking import SILENCE, Confidence, Evidence, Lists, Ranked, confidence, fuse, fused, rank
from tokenopt_pipeline.domain.triggers import Trigger, TriggerKind

ORDERS = st.lists(st.integers(1, 30), unique=True, max_size=20)


def trigger(severity: int = 1) -> Trigger:
    return Trigger(kind=TriggerKind.EXISTENCE, phrases=("x",), severity=severity)


def lists(words: list[int], meaning: list[int] = [], named: list[int] = []) -> Lists:  # noqa: B006 - never changed
    return Lists(words=tuple((no, 0.5) for no in words), meaning=tuple((no, 0.5) for no in meaning), named=tuple(named))


def numbers(ranked: list[Ranked]) -> list[int]:
    return [each.chunk_no for each in ranked]


@given(one=ORDERS, other=ORDERS)
def test_fusion_holds_everything_once_and_does_not_mind_the_order_of_the_lists(
    one: list[int], other: list[int]
) -> None:
    assert set(fuse(one, other)) == {*one, *other}
    assert list(fuse(one, other)) == list(fuse(other, one))


@given(order=ORDERS)
def test_fusing_a_list_with_itself_changes_nothing(order: list[int]) -> None:
    assert list(fuse(order)) == list(fuse(order, order)) == order


@given(one=ORDERS, other=ORDERS)
def test_what_stands_higher_in_both_lists_stands_higher_in_the_fusion(one: list[int], other: list[int]) -> None:
    order = list(fuse(one, other))
    both = [no for no in one if no in other]
    for a in both:
        for b in both:
            if one.index(a) < one.index(b) and other.index(a) < other.index(b):
                assert order.index(a) < order.index(b)


def test_the_score_is_the_sum_of_reciprocal_ranks() -> None:
    assert fuse([4, 5], [5])[5] == pytest.approx(1 / 62 + 1 / 61)


def test_rules_come_first_then_names_then_words_and_meaning() -> None:
    ranked = rank(lists([1, 2, 3], [1, 2], named=[3, 4]), {4: trigger()}, most=10)

    assert [(each.chunk_no, each.evidence) for each in ranked] == [
        (4, Evidence.RULE),
        (3, Evidence.NAME),
        (1, Evidence.TEXT),
        (2, Evidence.TEXT),
    ]


def test_among_rules_the_severest_comes_first_then_the_closest_text() -> None:
    fired = {1: trigger(0), 2: trigger(2), 3: trigger(2), 4: trigger(2)}

    assert numbers(rank(lists([1, 3]), fired, most=10)) == [3, 2, 4, 1]


@given(words=ORDERS, meaning=ORDERS, named=ORDERS, most=st.integers(1, 10))
def test_a_ranking_repeats_nothing_and_is_no_longer_than_asked(
    words: list[int], meaning: list[int], named: list[int], most: int
) -> None:
    found = numbers(rank(lists(words, meaning, named), {}, most=most))

    assert len(found) == len(set(found)) == min(most, len({*words, *meaning, *named}))


def test_a_name_settles_nothing() -> None:
    assert confidence(lists([1]), rank(lists([1], named=[2]), {}, most=3)) == Confidence(score=0.5, margin=0.5)


def test_a_rule_that_fires_settles_nothing_of_the_prose_beside_it() -> None:
    found = Lists(words=((1, 0.9), (2, 0.2)), meaning=((1, 0.9), (4, 0.8), (2, 0.4), (3, 0.3)))
    ranked = rank(found, {1: trigger()}, most=3)
    assert numbers(ranked) == [1, 2, 4]
    # Chunk 4 is of a rule that was asked and is silent, however like the query it is.
    assert confidence(found, ranked, untold={2: 50, 3: 50}) == Confidence(score=0.4, margin=0.4 - 0.3)
    assert confidence(found, ranked, untold={5: 50}) == Confidence(score=0, margin=0)


def test_where_every_rule_was_asked_their_silence_is_surer_than_likeness_and_less_than_a_rule() -> None:
    near = lists([1])
    assert confidence(near, rank(near, {}, most=3), all_asked=True) == SILENCE == Confidence(score=1, margin=0)
    assert confidence(near, rank(near, {9: trigger()}, most=3), all_asked=True) == Confidence(score=1, margin=1)


def test_a_search_that_found_nothing_is_not_sure_at_all() -> None:
    assert confidence(lists([]), []) == Confidence(score=0, margin=0)


def test_sureness_is_the_best_similarity_and_its_distance_to_the_first_left_out() -> None:
    found = Lists(words=((1, 0.3),), meaning=((1, 0.8), (2, 0.7), (3, 0.5)))

    assert confidence(found, rank(found, {}, most=2)) == Confidence(score=0.8, margin=0.8 - 0.5)
    assert confidence(found, rank(found, {}, most=9)) == Confidence(score=0.8, margin=0.8)


def test_without_an_embedder_the_share_of_the_words_is_what_is_known() -> None:
    found = Lists(words=((1, 0.4), (2, 0.1)), meaning=())

    assert confidence(found, rank(found, {}, most=1)) == Confidence(score=0.4, margin=0.4 - 0.1)


@given(
    st.lists(st.floats(-1, 1), max_size=5).map(lambda each: sorted(each, reverse=True)),
    st.lists(st.floats(0, 1), max_size=5).map(lambda each: sorted(each, reverse=True)),
    st.integers(1, 5),
)
def test_sureness_lies_between_nothing_and_all(cosines: list[float], shares: list[float], most: int) -> None:
    found = Lists(words=tuple(enumerate(shares)), meaning=tuple(enumerate(cosines)))
    sure = confidence(found, rank(found, {}, most=most))

    assert 0 <= sure.score <= 1
    assert 0 <= sure.margin <= 1


def test_chunks_of_one_section_do_not_compete_and_the_best_placed_stands_for_it() -> None:
    # Chunks 1 and 2 are one section: together first in words, second in meaning.
    found = replace(lists([1, 3, 2], [4, 2, 3]), sections={1: 10, 2: 10, 3: 30, 4: 40})

    assert fused(found) == {
        1: pytest.approx(1 / 61 + 1 / 62),
        3: pytest.approx(1 / 62 + 1 / 63),
        4: pytest.approx(1 / 61),
    }


def test_words_and_meaning_are_fused() -> None:
    assert list(fused(lists([1, 2], [2, 1, 3]))) == [1, 2, 3]


def test_what_every_block_gets_follows_the_rules_that_fired_and_neither_is_cut_off() -> None:
    ranked = rank(lists([1, 2], named=[3, 5]), {4: trigger(), 6: trigger()}, most=1, standing=[4, 5])

    assert [(each.chunk_no, each.evidence) for each in ranked] == [
        (4, Evidence.RULE),
        (6, Evidence.RULE),
        (5, Evidence.STANDING),
    ]
