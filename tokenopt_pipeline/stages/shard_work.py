"""What a collector keeps of the shard it works on: what waits, what is in flight, and how often was tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from tokenopt_pipeline.domain.moves import Asks
from tokenopt_pipeline.domain.packs import OpenPack
from tokenopt_pipeline.domain.requests import ModelResponse
from tokenopt_pipeline.domain.runs import Shard
from tokenopt_pipeline.stages.follow import Follower
from tokenopt_pipeline.stages.settle import PreparedCall


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """A call on its way."""

    call: PreparedCall
    call_no: int
    started_s: float
    #: Its prefix was taken for warm when it began.
    followed: bool


@dataclass(slots=True, kw_only=True)
class ShardWork:
    """One shard under work in this process."""

    shard: Shard
    queue: list[OpenPack]
    follower: Follower
    #: What is asked -> what says what is wrong with one block's values.
    violations: Mapping[Asks, Callable[[Mapping[str, object]], str | None]]
    in_flight: dict[Future[ModelResponse], InFlight] = field(default_factory=dict)
    #: Pack -> tries without an answer, in this process.
    tries: Counter[int] = field(default_factory=Counter)
    #: Model -> tries since its last answer, all in vain.
    silence: Counter[str] = field(default_factory=Counter)
    #: Pack -> not to be asked again before (monotonic seconds).
    not_before: dict[int, float] = field(default_factory=dict)

    def flying(self, model: str) -> int:
        """Requests to the model that are in flight."""
        return sum(str(flight.call.pack.route.model) == model for flight in self.in_flight.values())
