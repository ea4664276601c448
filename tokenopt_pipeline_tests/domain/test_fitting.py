"""A fit finds the tiers that rows support, keeps to its aim, and says why it does not trust the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.backtesting import backtest, replay
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.fitting import FitSettings, Fitted, FittedTask, fit, fit_policy
from tokenopt_pipeline.domain.intervals import paired_change
from tokenopt_pipeline.domain.outcomes import OutcomeRow, fold_of
from tokenopt_pipeline_tests.domain.generated import examples
from tokenopt_pipeline_tests.domain.recorded import a_row, mixed, rows

_SETTINGS = FitSettings(reference="mid")


def _task(fitted: Fitted, name: str) -> FittedTask:
    return next(task for task in fitted.tasks if task.measured.task == name)


def _easy_and_hard() -> list[OutcomeRow]:
    return [
        *rows("easy", mixed([(97, (1, 1)), (1, (0, 1)), (2, (0, 0))])),
        *rows("hard", mixed([(60, (0, 1)), (40, (1, 1))])),
    ]


def test_the_easy_task_goes_to_the_small_tier_and_the_hard_one_stays() -> None:
    fitted = fit(_easy_and_hard(), _SETTINGS)
    assert [(rule.tasks, rule.tier) for rule in fitted.policy.rules] == [(("easy",), "small")]
    assert (fitted.policy.default_tier, fitted.policy.escalation.enabled) == ("mid", False)
    assert fitted.saving.mean == pytest.approx(0.45)
    assert fitted.change.mean == pytest.approx(-0.005)
    assert _task(fitted, "hard").reason == "small may be 69 points worse"


def test_what_is_expected_of_unseen_rows_comes_from_fits_that_have_not_seen_them() -> None:
    chance = [a_row(f"q{i}", task=f"t{i % 8}", scores={"small": float(fold_of(f"{i}", 9) > 0)}) for i in range(400)]
    settings = replace(_SETTINGS, target=-0.05)
    differences = []
    for fold in range(5):
        policy = fit([row for row in chance if fold_of(row.query_id, 5) != fold], settings).policy
        outside = [row for row in chance if fold_of(row.query_id, 5) == fold]
        differences += [replay(policy, row).score - row.tiers["mid"].score for row in outside]
    fitted = fit(chance, settings)
    assert fitted.change_unseen == paired_change(differences)
    assert fitted.change_unseen != fitted.change
    assert fitted.saving_unseen.mean > 0.1


def test_the_order_of_rows_changes_nothing() -> None:
    recorded = _easy_and_hard()
    assert fit(list(reversed(recorded)), _SETTINGS) == fit(recorded, _SETTINGS)


def test_a_task_with_too_few_rows_stays_at_the_reference_and_it_is_said_why() -> None:
    fitted = fit([*_easy_and_hard(), *rows("rare", [(1, 1)] * 19)], _SETTINGS)
    rare = _task(fitted, "rare")
    assert (rare.way.tier, rare.reason) == ("mid", "n = 19 is below 20, so it stays at mid")
    assert fit(rows("rare", [(1, 1)] * 20), _SETTINGS).policy.rules != ()


def test_a_task_that_may_be_much_worse_stays_at_the_reference() -> None:
    fitted = fit(rows("wild", mixed([(12, (0, 1)), (13, (1, 0))])), replace(_SETTINGS, target=-0.5))
    assert _task(fitted, "wild").way.tier == "mid"
    assert "small may be" in _task(fitted, "wild").reason


def test_a_larger_model_that_is_no_better_is_not_taken() -> None:
    recorded = [a_row(f"q{i}", scores={"small": 0.0, "mid": 1.0, "large": 1.0}) for i in range(40)]
    fitted = fit(recorded, replace(_SETTINGS, reference="large"))
    assert _task(fitted, "t").way.tier == "mid"


def test_a_single_tier_leaves_nothing_to_choose() -> None:
    only_mid = [replace(row, tiers={"mid": row.tiers["mid"]}) for row in _easy_and_hard()]
    fitted = fit(only_mid, _SETTINGS)
    assert fitted.policy.rules == ()
    assert {task.reason for task in fitted.tasks} == {"no other tier was recorded"}


def _checkable() -> list[OutcomeRow]:
    return [
        *(
            replace(r, query_id=f"d{i}")
            for i, r in enumerate(rows("t", [(0, 1)] * 20, doubts=["schema", "something_found"]))
        ),
        *(replace(r, query_id=f"f{i}") for i, r in enumerate(rows("t", [(1, 1)] * 80, doubts=["something_found"]))),
    ]


def test_a_check_is_used_where_it_pays() -> None:
    fitted = fit(_checkable(), _SETTINGS)
    (rule,) = fitted.policy.rules
    assert rule.tier == "small"
    assert rule.escalate_on is not None
    assert "schema" in rule.escalate_on
    assert "something_found" not in rule.escalate_on
    assert fitted.policy.escalation.enabled
    assert fitted.change.mean == pytest.approx(0.0)
    assert fitted.saving.mean == pytest.approx(1 - (0.1 + 0.2))
    check = _task(fitted, "t").measured.check
    assert check is not None
    assert (check.doubted, check.wrong_doubted, check.wrong_undoubted, check.next_wrong_doubted) == (0.2, 1.0, 0.0, 0.0)


def test_a_check_that_catches_everything_leaves_nothing_undoubted() -> None:
    recorded = rows("t", mixed([(30, (0, 1)), (10, (1, 1))]), doubts=["schema"])
    cheap = [replace(r, tiers={**r.tiers, "small": replace(r.tiers["small"], usd=0.0)}) for r in recorded]
    fitted = fit(cheap, replace(_SETTINGS, max_spend=1.0))
    check = _task(fitted, "t").measured.check
    assert check is None or check.wrong_undoubted == 0.0


def test_a_check_that_may_lose_much_is_not_trusted_either() -> None:
    recorded = [*rows("t", mixed([(12, (0, 1)), (13, (1, 0))]), doubts=[]), a_row("x", doubts=["schema"])]
    fitted = fit(recorded, replace(_SETTINGS, target=-0.5))
    assert fitted.policy.rules == ()


def test_checks_can_be_left_out() -> None:
    fitted = fit(_checkable(), replace(_SETTINGS, checks=False))
    assert fitted.policy.rules == ()
    assert not fitted.policy.escalation.enabled


def test_a_threshold_uses_what_the_aim_leaves() -> None:
    recorded = [
        a_row(f"q{i:03}", n_tokens=i, scores={"small": float(i % 10 > 0)}, usd={"mid": 0.001 * (i + 1)})
        for i in range(200)
    ]
    fitted = fit(recorded, _SETTINGS)
    (rule,) = fitted.policy.rules
    assert (rule.id, rule.tier, rule.min_block_tokens) == ("fit-t-long", "small", 180)
    assert fitted.saving.mean > 0.15
    assert fit(recorded, replace(_SETTINGS, thresholds=False)).policy.rules == ()
    shorter = [replace(r, facts=replace(r.facts, n_tokens=200 - r.facts.n_tokens)) for r in recorded]
    (mirrored,) = fit(shorter, _SETTINGS).policy.rules
    assert (mirrored.id, mirrored.max_block_tokens) == ("fit-t-short", 20)


def test_a_threshold_that_misses_the_aim_on_rows_it_has_not_seen_is_not_taken() -> None:
    # The long blocks are worse off than the task is, by too few of them for an interval to show it.
    wrong = [i % 4 == 0 if i >= 180 else i % 12 == 0 for i in range(200)]
    recorded = [
        a_row(f"q{i:03}", n_tokens=i, scores={"small": float(not wrong[i])}, usd={"mid": 0.001 * (i + 1)})
        for i in range(200)
    ]
    assert fit(recorded, _SETTINGS).policy.rules == ()


def _simple_and_complex(n_complex: int) -> list[OutcomeRow]:
    simple = rows("t", mixed([(99, (1, 1)), (1, (0, 1))]), complexity=4)
    hard = [replace(r, query_id=f"x{r.query_id}") for r in rows("t", [(0, 1)] * n_complex, complexity=9)]
    return [*simple, *hard]


def test_a_task_is_split_by_the_complexity_of_its_schemas_where_that_earns_it() -> None:
    fitted = fit(_simple_and_complex(40), _SETTINGS)
    (rule,) = fitted.policy.rules
    assert (rule.id, rule.tier, rule.min_complexity, rule.max_complexity) == ("fit-t-to-4", "small", None, 4)
    assert [(t.measured.min_complexity, t.measured.max_complexity) for t in fitted.tasks] == [(None, 4), (5, None)]
    assert fitted.change.mean == pytest.approx(-1 / 140)
    whole = fit(_simple_and_complex(40), replace(_SETTINGS, complexity=False))
    assert whole.policy.rules == ()
    assert fit_policy(_simple_and_complex(40), _SETTINGS) == fitted.policy


def test_schemas_that_are_rarely_so_complex_stay_at_the_reference() -> None:
    fitted = fit(_simple_and_complex(5), replace(_SETTINGS, max_spend=0.5))
    assert [rule.id for rule in fitted.policy.rules] == ["fit-t-to-4"]
    assert fitted.tasks[1].reason == "n = 5 is below 20, so it stays at mid"


def test_complex_schemas_can_be_the_ones_that_need_no_dear_tier() -> None:
    turned = [
        replace(r, facts=replace(r.facts, schema=replace(r.facts.schema, complexity=13 - r.facts.schema.complexity)))
        for r in _simple_and_complex(120)
    ]
    (rule,) = fit(turned, _SETTINGS).policy.rules
    assert (rule.id, rule.min_complexity, rule.max_complexity) == ("fit-t-from-5", 5, None)


def test_complexity_that_tells_nothing_splits_nothing() -> None:
    alike = [
        replace(r, facts=replace(r.facts, schema=replace(r.facts.schema, complexity=i % 2)))
        for i, r in enumerate(_easy_and_hard())
    ]
    (rule,) = fit(alike, _SETTINGS).policy.rules
    assert (rule.id, rule.max_complexity) == ("fit-easy", None)


def test_instead_of_a_target_a_share_of_the_cost_may_be_given() -> None:
    fitted = fit(_easy_and_hard(), replace(_SETTINGS, max_spend=0.6))
    assert 1 - fitted.saving.mean <= 0.6
    assert _task(fitted, "hard").way.tier == "mid"
    everything = fit(_easy_and_hard(), replace(_SETTINGS, max_spend=1.0))
    assert everything.change.mean >= fitted.change.mean


def test_block_types_are_told_apart_when_asked() -> None:
    recorded = [
        *(replace(r, query_id=f"a{r.query_id}") for r in rows("t", [(1, 1)] * 60, block_type=BlockType.HEADING)),
        *(replace(r, query_id=f"b{r.query_id}") for r in rows("t", [(0, 1)] * 60, block_type=BlockType.TABLE)),
    ]
    fitted = fit(recorded, replace(_SETTINGS, by_block_type=True))
    (rule,) = fitted.policy.rules
    assert (rule.id, rule.tasks, rule.block_types, rule.tier) == ("fit-t-heading", ("t",), ("heading",), "small")


@pytest.mark.parametrize("recorded", [[], [replace(a_row(), tiers={"small": a_row().tiers["small"]})]])
def test_without_rows_of_the_reference_there_is_no_fit(recorded: list[OutcomeRow]) -> None:
    with pytest.raises(ValueError, match="tier mid did not answer"):
        fit(recorded, _SETTINGS)


def test_a_single_row_can_be_fitted() -> None:
    fitted = fit([a_row()], replace(_SETTINGS, min_rows=1))
    assert (fitted.n, fitted.policy.rules) == (1, ())


_TASKS = st.lists(
    st.fixed_dictionaries({"right": st.integers(0, 40), "wrong": st.integers(0, 10), "won": st.integers(0, 5)}),
    min_size=1,
    max_size=3,
)


@examples(25)
@given(_TASKS, st.sampled_from([0.0, -0.01, -0.05]))
def test_without_shrinkage_in_play_the_aim_holds_on_the_rows_it_was_fitted_on(
    tasks: list[dict[str, int]], target: float
) -> None:
    recorded: list[OutcomeRow] = []
    for i, counts in enumerate(tasks):
        pairs: Any = mixed([(counts["right"], (1, 1)), (counts["wrong"], (0, 1)), (counts["won"], (1, 0))])
        recorded += rows(f"t{i}", pairs)
    if not recorded:
        return
    fitted = fit(recorded, replace(_SETTINGS, target=target))
    # Fewer than four tasks are not drawn together, so what is expected is what was seen.
    assert fitted.change.mean >= target - 1e-9
    assert fitted.saving.mean >= -1e-9
    assert backtest(fitted.policy, recorded, reference="mid").of("policy").usd <= 0.01 + 1e-12
