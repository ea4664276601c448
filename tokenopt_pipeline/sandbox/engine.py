"""The state every provider of one sandbox shares: clock, counters, caches, faults."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from tokenopt_pipeline.sandbox.batch_running import BatchRunner
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.counters import Counters
from tokenopt_pipeline.sandbox.faults import FaultDraw, FaultPlan
from tokenopt_pipeline.sandbox.google_caches import CachedContents
from tokenopt_pipeline.sandbox.prefix_cache import PrefixCache
from tokenopt_pipeline.sandbox.rate_limit import RequestLimit
from tokenopt_pipeline.sandbox.replay import Recordings
from tokenopt_pipeline.sandbox.virtual_clock import VirtualClock


class Engine:
    """One sandbox at work. Used from one event loop only, so nothing here is locked."""

    def __init__(self, config: SandboxConfig, clock: Callable[[], float]) -> None:
        self.config = config
        self.clock = VirtualClock(clock)
        """Simulated seconds since the epoch."""
        self.batches = BatchRunner(config.batches, self.clock, config.faults.batches)
        # Identifiers must not repeat after a restart: callers may store them under a unique constraint.
        self._salt = hashlib.sha256(f"{id(self)}:{clock()!r}".encode()).digest()
        self._identifiers = 0
        self.recordings = Recordings(config.replay)
        self.set_faults(config.faults)
        self.reset()

    def reset(self) -> None:
        """Forget everything seen, and go back to the configured plans."""
        self.counters = Counters()
        self.cache = PrefixCache(max_entries=self.config.max_cache_entries)
        self.clock.rewind()
        self.batches.reset(self.config.faults.batches)
        self.cached_contents = CachedContents(max_entries=self.config.max_cache_entries)
        self.limit = RequestLimit(self.config.requests_per_minute)
        self.tools = self.config.tools
        self.set_faults(self.config.faults)

    def set_faults(self, plan: FaultPlan) -> None:
        """Start `plan` from its first request."""
        self.faults = FaultDraw(plan, max_remembered_bodies=self.config.max_remembered_bodies)
        self.batches.set_faults(plan.batches)

    def identifier(self, prefix: str) -> str:
        """A new identifier, 22 characters after `prefix`."""
        self._identifiers += 1
        digest = hashlib.sha256(self._salt + self._identifiers.to_bytes(8, "big")).hexdigest()
        return f"{prefix}{digest[:22]}"
