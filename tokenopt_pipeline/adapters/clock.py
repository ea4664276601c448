"""The machine's clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

# How often a sleeper looks whether it is still wanted.
_LOOK_S = 0.2


class SystemClock:
    """`ports.Clock`."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Seconds that never run backwards, from an arbitrary start."""
        return time.monotonic()

    def sleep(self, seconds: float, *, unless: Callable[[], bool]) -> None:
        """Returns after so many seconds, or soon after `unless` has become true."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not unless():
            time.sleep(min(left, _LOOK_S))
