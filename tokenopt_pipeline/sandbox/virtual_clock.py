"""A clock that runs on its own and can be put forward, so that a batch of a day ends within a test."""

from __future__ import annotations

from collections.abc import Callable


class VirtualClock:
    """Seconds since the epoch: what `base` says, and what was advanced."""

    def __init__(self, base: Callable[[], float]) -> None:
        self.base = base
        """The clock on the wall; signatures are judged by it."""
        self._ahead_s = 0.0

    def __call__(self) -> float:
        """The simulated moment."""
        return self.base() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` (0 or more) pass at once."""
        self._ahead_s += seconds

    def rewind(self) -> None:
        """Take back everything that was advanced."""
        self._ahead_s = 0.0
