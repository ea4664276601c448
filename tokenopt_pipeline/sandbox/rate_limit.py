"""A requests-per-minute limit as providers keep it: a bucket that refills continuously."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Shown in headers when nothing is limited; the figures of recorded exchanges.
UNLIMITED_REQUESTS_PER_MINUTE = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class RateState:
    """Where a caller stands after a request."""

    limit: int
    """Requests per minute."""
    remaining: int
    reset_s: float
    """Seconds until the bucket is full again."""
    retry_after_s: float | None
    """Seconds until a refused request would be admitted; None when it was admitted."""


class RequestLimit:
    """One bucket; time is an argument."""

    def __init__(self, requests_per_minute: int | None) -> None:
        self._enforced = requests_per_minute is not None
        self._limit = requests_per_minute or UNLIMITED_REQUESTS_PER_MINUTE
        self._per_s = self._limit / 60
        self._available = float(self._limit)
        self._updated_s: float | None = None

    def admit(self, now_s: float) -> RateState:
        """Take one request out of the bucket, or say how long to wait."""
        self._refill(now_s)
        retry_after_s: float | None = None
        if self._available >= 1 - 1e-9:
            self._available -= 1
        elif self._enforced:
            retry_after_s = (1 - self._available) / self._per_s
        return self._state(retry_after_s)

    def look(self, now_s: float) -> RateState:
        """Where a caller stands, without taking anything."""
        self._refill(now_s)
        return self._state(None)

    def _refill(self, now_s: float) -> None:
        if self._updated_s is not None:
            elapsed_s = max(0.0, now_s - self._updated_s)
            self._available = min(float(self._limit), self._available + elapsed_s * self._per_s)
        self._updated_s = now_s

    def _state(self, retry_after_s: float | None) -> RateState:
        return RateState(
            limit=self._limit,
            remaining=max(0, math.floor(self._available)),
            reset_s=(self._limit - self._available) / self._per_s,
            retry_after_s=retry_after_s,
        )
