"""Doubts have ids that policies name; the hard ones escalate unless a policy says otherwise."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.domain.doubts import ANY_CHECK, HARD, KINDS, is_among


def test_every_hard_doubt_is_a_known_kind() -> None:
    assert set(HARD) < set(KINDS)
    assert ANY_CHECK not in KINDS


@pytest.mark.parametrize(
    ("doubt", "ids", "among"),
    [
        ("schema", ["schema"], True),
        ("schema", [], False),
        ("check:total", ["check"], True),
        ("check:total", ["check:total"], True),
        ("check:total", ["check:other", "schema"], False),
    ],
)
def test_a_list_names_a_doubt_by_its_id_or_every_check_at_once(doubt: str, ids: list[str], among: bool) -> None:
    assert is_among(doubt, ids) is among
