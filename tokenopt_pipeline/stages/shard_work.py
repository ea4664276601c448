"""What a collector keeps of the shard it works on: what waits, what is in flight, and how often was tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from tokenopt_pipeline.domain.moves import Asks
from tokenopt_pipeline.domain.packs import OpenPack
from tokenopt_pipeline.domain.requests import ModelResponse
from tokenopt_pipeline.domain.runs import Shard
from tokenopt_pipeline.stages.conversations import Talk
from tokenopt_pipeline.stages.follow import Follower
from tokenopt_pipeline.stages.settle import PreparedCall


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """A call on its way, or a conversation between two calls."""

    call: PreparedCall
    #: None: nothing is in flight.
    call_no: int | None
    started_s: float
    #: Its prefix was taken for warm when it began.
    followed: bool
    #: None: it is one plain call.
    talk: Talk | None = None

    @property
    def known_call_no(self) -> int:
        """The number of the call that was answered or refused."""
        assert self.call_no is not None  # whatever was answered was asked
        return self.call_no

    def now(self) -> InFlight:
        """As it stands once nothing more happens in its thread."""
        if self.talk is None:
            return self
        return replace(self, call=self.talk.call, call_no=self.talk.call_no, started_s=self.talk.began_s)


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
