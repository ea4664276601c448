"""Files and time. Protocols of at most four methods."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from tokenopt_pipeline.domain.documents import ReadDocument


class Readers(Protocol):
    """Files to typed blocks."""

    def __call__(self, name: str, content: bytes) -> ReadDocument:
        """Raises DocumentUnreadable."""
        ...


class Clock(Protocol):
    """Time, read at the edges."""

    def now(self) -> datetime:
        """Aware UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never run backwards, from an arbitrary start."""
        ...

    def sleep(self, seconds: float, *, unless: Callable[[], bool]) -> None:
        """Returns after so many seconds, or soon after `unless` has become true."""
        ...
