"""A fitted policy file resolves to the fitted policy and tells a person what each rule rests on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.fitted_policy import measured_rates, policy_text
from tokenopt_pipeline.domain.fitting import FitSettings, Fitted, fit
from tokenopt_pipeline.domain.outcomes import OutcomeRow
from tokenopt_pipeline.domain.policy import resolve
from tokenopt_pipeline.domain.routing import RoutingPolicy
from tokenopt_pipeline_tests.domain.recorded import a_row, mixed, rows

_MODELS = {"small": "claude-3-haiku", "mid": "claude-3-5-sonnet: new"}
_SOURCE = 'a file, set "x": fit half'


def _easy() -> list[OutcomeRow]:
    return rows("kind: easy", mixed([(60, (1, 1)), (1, (0, 1))]))


def _hard() -> list[OutcomeRow]:
    return rows("hard", mixed([(30, (0, 1)), (30, (1, 1))]))


def _checked() -> list[OutcomeRow]:
    pairs = zip(rows("on", [(0, 1)] * 20, doubts=["schema"]), range(20), strict=True)
    return [*(replace(r, query_id=f"d{i}") for r, i in pairs), *rows("on", [(1, 1)] * 80, doubts=["something_found"])]


def _long() -> list[OutcomeRow]:
    return [
        a_row(f"l{i:03}", task="long", n_tokens=i, scores={"small": float(i % 10 > 0)}, usd={"mid": 0.001 * (i + 1)})
        for i in range(200)
    ]


def _fitted(recorded: list[OutcomeRow], **settings: Any) -> Fitted:
    return fit(recorded, FitSettings(reference="mid", **settings))


def _resolved(text: str) -> RoutingPolicy:
    return resolve([("file", yaml.safe_load(text))]).policy.routing


@pytest.mark.parametrize(
    ("recorded", "settings"),
    [
        pytest.param([*_easy(), *_hard()], {}, id="a task table"),
        pytest.param(_hard(), {}, id="no rule at all"),
        pytest.param([*_checked(), *_easy()], {}, id="a check"),
        pytest.param(_long(), {}, id="a threshold"),
        pytest.param(
            [*rows("typed", [(1, 1)] * 40, block_type=BlockType.TABLE), *_hard()],
            {"by_block_type": True},
            id="block types",
        ),
        pytest.param(
            [
                *rows("t", [(1, 1)] * 60, complexity=3),
                *(replace(r, query_id=f"x{r.query_id}") for r in rows("t", [(0, 1)] * 40, complexity=9)),
            ],
            {},
            id="complexity",
        ),
        pytest.param([*_easy(), *_hard()], {"max_spend": 0.6}, id="a share of the cost"),
    ],
)
def test_the_file_resolves_to_the_fitted_policy_and_its_table(
    recorded: list[OutcomeRow], settings: dict[str, Any]
) -> None:
    fitted = _fitted(recorded, **settings)
    routing = _resolved(policy_text(fitted, source=_SOURCE, models=_MODELS))
    measured = measured_rates(fitted, source=_SOURCE, models=_MODELS)
    escalation = routing.escalation if fitted.policy.escalation.enabled else fitted.policy.escalation
    assert (routing.rules, routing.default_tier) == (fitted.policy.rules, "mid")
    assert (escalation, routing.measured) == (fitted.policy.escalation, measured)


def test_models_of_ours_stand_in_the_tiers_and_others_are_only_told() -> None:
    ours = {"small": "anthropic/claude-haiku-5-5", "mid": "anthropic/claude-sonnet-5-5"}
    fitted = _fitted(_easy())
    assert _resolved(policy_text(fitted, source=_SOURCE, models=ours)).preferred("small").model == "claude-haiku-5-5"
    theirs = policy_text(fitted, source=_SOURCE, models=_MODELS)
    assert _resolved(theirs).models == RoutingPolicy().models
    assert "small = claude-3-haiku" in theirs


def test_every_task_is_told_with_rows_saving_change_and_reason() -> None:
    text = policy_text(_fitted([*_easy(), *_hard(), *_long()]), source=_SOURCE, models=_MODELS)
    comments = [line.strip() for line in text.splitlines() if line.strip().startswith("#")]
    easy, hard, long = (next(c for c in comments if name in c) for name in ("kind: easy:", "hard:", "long:"))
    assert "small; n = 61; 90% saved, quality -1.64 pp (" in easy
    assert "mid; n = 60; " in hard
    assert "saved" not in hard
    assert "; at least " in long
    assert any("Expected, on rows a fit has not seen" in c for c in comments)
    assert any("which flatters" in c for c in comments)


def test_the_same_rows_give_the_same_text() -> None:
    recorded = [*_easy(), *_checked()]
    once = policy_text(_fitted(recorded), source=_SOURCE, models=_MODELS)
    assert policy_text(_fitted(list(reversed(recorded))), source=_SOURCE, models=_MODELS) == once


@pytest.mark.parametrize("task", ["no", "1", "a:b", "x #y", "Größe", "yes", "null", "a/b.c-d_e"])
def test_a_task_of_any_name_is_written_so_that_yaml_reads_it_back(task: str) -> None:
    fitted = _fitted(rows(task, [(1, 1)] * 40))
    assert _resolved(policy_text(fitted, source=_SOURCE, models=_MODELS)).rules[0].tasks == (task,)
