from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.contexts import PackChunks, unite
from tokenopt_pipeline.domain.ranking import Evidence, Ranked

BLOCKS = st.lists(st.lists(st.integers(1, 20), unique=True, max_size=8), max_size=6)


def hits(numbers: list[int], evidence: Evidence = Evidence.TEXT) -> list[Ranked]:
    return [Ranked(chunk_no=no, evidence=evidence, score=0.0) for no in numbers]


@given(blocks=BLOCKS, budget=st.integers(0, 200))
def test_a_pack_carries_each_chunk_once_in_order_and_within_its_budget(blocks: list[list[int]], budget: int) -> None:
    sizes = {no: no for no in range(1, 21)}

    united = unite([hits(block) for block in blocks], sizes, budget_tokens=budget)

    assert list(united.chunk_nos) == sorted(set(united.chunk_nos))
    assert united.tokens == sum(united.chunk_nos) <= budget
    assert set(united.chunk_nos) <= {no for block in blocks for no in block}


@given(blocks=BLOCKS, budget=st.integers(0, 200))
def test_every_blocks_best_hit_is_carried_or_told_missing(blocks: list[list[int]], budget: int) -> None:
    united = unite([hits(block) for block in blocks], {no: no for no in range(1, 21)}, budget_tokens=budget)

    assert {block[0] for block in blocks if block} <= {*united.chunk_nos, *united.missed}
    assert not set(united.chunk_nos) & set(united.missed)


@given(blocks=BLOCKS)
def test_with_room_for_all_the_order_of_the_blocks_does_not_matter(blocks: list[list[int]]) -> None:
    sizes = dict.fromkeys(range(1, 21), 1)

    forth, back = (unite([hits(b) for b in order], sizes, budget_tokens=999) for order in (blocks, blocks[::-1]))

    assert forth == back


def test_every_blocks_best_comes_before_any_blocks_second() -> None:
    united = unite([hits([1, 2]), hits([3, 4])], dict.fromkeys(range(5), 1), budget_tokens=3)

    assert united == PackChunks(chunk_nos=(1, 2, 3), tokens=3, missed=())


def test_a_rule_without_room_is_told_whatever_its_place_and_a_smaller_chunk_still_follows() -> None:
    block = [*hits([1]), *hits([2], Evidence.RULE), *hits([3]), *hits([4])]

    united = unite([block], {1: 1, 2: 9, 3: 9, 4: 1}, budget_tokens=2)

    assert united == PackChunks(chunk_nos=(1, 4), tokens=2, missed=(2,))


def test_no_blocks_need_nothing() -> None:
    assert unite([], {}, budget_tokens=100) == PackChunks(chunk_nos=(), tokens=0, missed=())


def test_what_no_block_can_do_without_has_its_room_before_what_merely_fits_well() -> None:
    blocks = [hits([1, 2]), [*hits([3]), *hits([4], Evidence.RULE), *hits([5], Evidence.STANDING)]]

    united = unite(blocks, dict.fromkeys(range(1, 6), 1), budget_tokens=4)

    assert united == PackChunks(chunk_nos=(1, 3, 4, 5), tokens=4, missed=())
    assert unite(blocks, dict.fromkeys(range(1, 6), 1), budget_tokens=3).missed == (5,)
