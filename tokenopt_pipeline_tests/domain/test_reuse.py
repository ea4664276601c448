"""Why an answer is not taken is said with what differs, and with the run that differs least."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tokenopt_pipeline.domain.reuse import Asking, why_not_reused

_OURS = Asking(
    run_id="",
    kind="live",
    schema_ref="clauses",
    schema_hash="a" * 64,
    form="compact",
    models="mid: a/b",
    recipe="1",
)


def _other(**changes: Any) -> Asking:
    return replace(_OURS, **{"run_id": "r1", "recipe": "2", **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "simulated"}, "another kind of answers (simulated)"),
        ({"schema_ref": "facts", "schema_hash": "b" * 64}, "another schema (facts)"),
        ({"schema_hash": "b" * 64}, "an earlier version of schema clauses (bbbbbbbbbbbb)"),
        ({"form": "plain"}, "the plain form of answers"),
        ({"models": "mid: a/c"}, "other models"),
        ({}, "another way of asking (routing rules, servers, output method or pack format)"),
        ({"form": "plain", "kind": "simulated"}, "another kind of answers (simulated), the plain form of answers"),
    ],
)
def test_what_differs_is_the_reason(changes: dict[str, Any], words: str) -> None:
    assert why_not_reused(_OURS, [_other(**changes)], is_enabled=True) == f"run r1 answered it under {words}."


def test_the_run_that_differs_least_is_named() -> None:
    far, near = _other(kind="simulated", form="plain"), _other(run_id="r2", form="plain")
    assert why_not_reused(_OURS, [far, near], is_enabled=True).startswith("run r2 answered it under the plain form")


def test_reuse_that_is_off_and_answers_that_are_not_there_are_reasons_too() -> None:
    assert "reuse.enabled is false" in why_not_reused(_OURS, [_other()], is_enabled=False)
    assert why_not_reused(_OURS, [], is_enabled=True) == "no run has answered an identical block."
    late = _other(recipe="1")
    assert "after this run had decided" in why_not_reused(_OURS, [late], is_enabled=True)
