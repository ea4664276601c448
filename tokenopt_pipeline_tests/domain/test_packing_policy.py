"""The packing section knows a quality cap for each tier, and both forms of answers."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.packing_policy import PackingPolicy
from tokenopt_pipeline.domain.tiers import TIERS
from tokenopt_pipeline_tests.factories import a_policy


def test_every_tier_has_a_quality_cap_and_the_small_one_the_lowest() -> None:
    caps = {tier: PackingPolicy().quality_cap(tier) for tier in TIERS}
    assert caps == {"small": 8, "mid": 32, "large": 32}


@pytest.mark.parametrize("form", ["compact", "plain"])
def test_both_forms_of_answers_are_one_switch(form: str) -> None:
    assert a_policy(packing={"output_form": form}).packing.output_form == form


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param({"output_form": "short"}, "packing.output_form = 'short', allowed compact", id="a form"),
        pytest.param({"output_form": True}, "packing.output_form = True, allowed compact", id="no form"),
        pytest.param({"pack_size": 0}, "packing.pack_size = 0, allowed 1 to 100", id="packs of 0"),
        pytest.param({"pack_size": 10_000}, "packing.pack_size = 10000, allowed 1 to 100", id="packs of 10,000"),
        pytest.param(
            {"overflow_probability": 0}, "packing.overflow_probability = 0, allowed 0.0001 to 0.5", id="never"
        ),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_what_is_allowed(members: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyInvalid, match=message):
        a_policy(packing=members)
