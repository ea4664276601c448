"""Who changed which policy file, when, and what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tokenopt_pipeline.cli.telling import policy_lines


def a_change(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    return {
        "path": "/p.yaml",
        "changed_by": "ann",
        "changed_at": datetime(2026, 11, 3, 9, 5, 7, tzinfo=UTC),
        "old_policy": old,
        "new_policy": new,
    }


def test_a_change_tells_each_key_that_changed_with_its_old_and_new_value() -> None:
    old = {"packing": {"pack_size": 2, "enabled": True}, "reuse": None}
    new = {"packing": {"pack_size": 20, "enabled": True}, "routing": {"model": "a/b"}}
    assert list(policy_lines([a_change(old, new)])) == [
        "2026-11-03 09:05:07  ann  /p.yaml",
        "    packing.pack_size: 2 → 20",
        "    reuse: null → —",
        '    routing.model: — → "a/b"',
    ]


def test_a_file_that_is_new_says_so_and_what_it_holds() -> None:
    assert list(policy_lines([a_change(None, {"reuse": {"enabled": False}})])) == [
        "2026-11-03 09:05:07  ann  /p.yaml first seen",
        "    reuse.enabled: — → false",
    ]
