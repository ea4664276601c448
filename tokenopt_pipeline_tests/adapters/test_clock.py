"""The machine's clock."""

from __future__ import annotations

from datetime import UTC

from tokenopt_pipeline.adapters.clock import SystemClock


def test_it_sleeps_as_long_as_it_is_told() -> None:
    clock = SystemClock()
    before = clock.monotonic_s()
    clock.sleep(0.25, unless=lambda: False)
    assert clock.monotonic_s() - before >= 0.25


def test_it_wakes_when_it_is_no_longer_wanted() -> None:
    clock = SystemClock()
    before = clock.monotonic_s()
    clock.sleep(60, unless=lambda: clock.monotonic_s() - before > 0.1)
    assert clock.monotonic_s() - before < 5


def test_it_tells_aware_utc() -> None:
    assert SystemClock().now().tzinfo is UTC
