"""Recordings are split by the hash of a query's id, the same everywhere."""

from __future__ import annotations

from hypothesis import given

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.outcomes import HALVES, OutcomeRow, TierOutcome, fold_of, half_of
from tokenopt_pipeline.domain.routing import RouteFacts, SchemaFacts
from tokenopt_pipeline_tests.domain.generated import ANY_TEXT, examples


def test_the_halves_of_known_ids_never_change() -> None:
    ids = ["bfcl:simple_0", "bfcl:simple_1", "bfcl:simple_2", "bfcl:simple_3"]
    assert [half_of(i) for i in ids] == ["test", "fit", "test", "test"]


def test_halves_and_folds_are_about_even_and_independent() -> None:
    ids = [f"q{i}" for i in range(4_000)]
    for half in HALVES:
        members = [i for i in ids if half_of(i) == half]
        assert 1_850 < len(members) < 2_150
        assert all(300 < sum(fold_of(i, 5) == f for i in members) < 500 for f in range(5))


@examples(100)
@given(ANY_TEXT)
def test_any_id_is_in_one_half_and_one_fold(query_id: str) -> None:
    assert half_of(query_id) in HALVES
    assert fold_of(query_id, 5) in range(5)


def test_a_row_knows_its_task() -> None:
    facts = RouteFacts(block_type=BlockType.OTHER, n_tokens=1, schema=SchemaFacts(task="t"))
    assert OutcomeRow(query_id="q", facts=facts, tiers={"mid": TierOutcome(score=1.0, usd=0.0)}).task == "t"


def test_a_salt_is_another_even_split_of_the_same_ids() -> None:
    ids = [f"q{i}" for i in range(4_000)]
    salted = [half_of(i, "1:") for i in ids]
    assert salted == [half_of(f"1:{i}") for i in ids]
    assert 1_850 < sum(one == half_of(i) for one, i in zip(salted, ids, strict=True)) < 2_150
