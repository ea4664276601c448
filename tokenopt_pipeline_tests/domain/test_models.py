"""Token counts of one tokenizer, translated to a model's own."""

from __future__ import annotations

import pytest

from tokenopt_pipeline_tests.factories import a_model


@pytest.mark.parametrize(
    ("counted", "ratio", "expected"),
    [
        pytest.param(0, 1.25, 0, id="nothing"),
        pytest.param(100, 1.25, 125, id="100 * 1.25"),
        pytest.param(3, 1.25, 4, id="3 * 1.25 = 3.75"),
        pytest.param(1, 1.25, 1, id="1 * 1.25 rounds down"),
    ],
)
def test_billed_tokens_are_the_mean_rounded(counted: int, ratio: float, expected: int) -> None:
    assert a_model(token_ratio=ratio).billed_tokens(counted) == expected


@pytest.mark.parametrize(
    ("counted", "ratio", "expected"),
    [
        pytest.param(0, 1.5, 0, id="nothing"),
        pytest.param(100, 1.5, 150, id="100 * 1.5"),
        pytest.param(1, 1.25, 2, id="1 * 1.25 rounds up"),
        pytest.param(3, 1.5, 5, id="3 * 1.5 = 4.5 rounds up"),
        pytest.param(7, 1.0, 7, id="whole numbers stay"),
    ],
)
def test_guarded_tokens_are_rounded_up(counted: int, ratio: float, expected: int) -> None:
    assert a_model(token_ratio_guard=ratio).guarded_tokens(counted) == expected
