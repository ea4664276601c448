"""What goes wrong, when: a seeded plan of faults, and the memory that turns it into one decision per request."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from tokenopt_pipeline.sandbox.batch_faults import BatchFaultPlan
from tokenopt_pipeline.sandbox.config_reading import ConfigRefused, known_keys, number_of, object_of
from tokenopt_pipeline.sandbox.json_value import Json, as_list


class Fault(StrEnum):
    """Everything that can go wrong; the first group spoils the answer, the second the call."""

    MALFORMED = "malformed"
    DROP_BLOCK = "drop_block"
    REPEAT_BLOCK = "repeat_block"
    REORDER = "reorder"
    UNKNOWN_BLOCK = "unknown_block"
    WRONG_TYPE = "wrong_type"
    TRUNCATE = "truncate"
    REFUSE = "refuse"
    BLOCK_PROMPT = "block_prompt"
    PROSE = "prose"

    RATE_LIMIT_429 = "rate_limit_429"
    OVERLOADED_529 = "overloaded_529"
    SERVER_ERROR_500 = "server_error_500"
    CONNECTION_RESET = "connection_reset"
    SLOW = "slow"
    SPEND_LIMIT_429 = "spend_limit_429"
    USAGE_LIMIT_400 = "usage_limit_400"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedFault:
    """A fault asked for by name; exactly one of `nth_request` and `when_text_contains` says when."""

    fault: Fault
    nth_request: int | None = None
    """First request it applies to, counted from 1 since the plan was set."""
    when_text_contains: str | None = None
    """A text a prompt (its blocks decoded) must contain."""
    times: int | None = 1
    """How many requests it spoils; None is every one."""

    def __post_init__(self) -> None:
        if (self.nth_request is None) == (self.when_text_contains is None):
            raise ConfigRefused("a scripted fault needs exactly one of nth_request and when_text_contains")
        if self.nth_request is not None and self.nth_request < 1:
            raise ConfigRefused(f"nth_request counts from 1, found {self.nth_request}")
        if self.times is not None and self.times < 1:
            raise ConfigRefused(f"times must be 1 or more, or null for every request, found {self.times}")

    @staticmethod
    def from_json(value: Json) -> ScriptedFault:
        """Raises ConfigRefused."""
        script = object_of(value, "a scripted fault")
        known_keys(script, {"fault", "nth_request", "when_text_contains", "times"}, "a scripted fault")
        nth, needle, times = script.get("nth_request"), script.get("when_text_contains"), script.get("times", 1)
        if nth is not None and (not isinstance(nth, int) or isinstance(nth, bool)):
            raise ConfigRefused(f"nth_request must be an integer, found {nth!r}")
        if needle is not None and not isinstance(needle, str):
            raise ConfigRefused(f"when_text_contains must be a string, found {needle!r}")
        if times is not None and (not isinstance(times, int) or isinstance(times, bool)):
            raise ConfigRefused(f"times must be an integer or null, found {times!r}")
        return ScriptedFault(
            fault=fault_named(script.get("fault")), nth_request=nth, when_text_contains=needle, times=times
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """Rates drawn by hash, and scripts that come before any draw."""

    seed: int = 0
    rates: Mapping[Fault, float] = field(default_factory=lambda: MappingProxyType({}))
    """Fault -> share of requests, 0 to 1; together at most 1, because a request has at most one fault."""
    scripted: tuple[ScriptedFault, ...] = ()
    retry_after_s: float = 1
    """What a 429 asks the caller to wait."""
    slow_s: float = 1
    """What `slow` adds before the first token."""
    batches: BatchFaultPlan = field(default_factory=BatchFaultPlan)
    """What goes wrong with batches, beside what goes wrong with the answers in them."""

    def __post_init__(self) -> None:
        for fault, rate in self.rates.items():
            if not 0 <= rate <= 1:
                raise ConfigRefused(f"the rate of {fault} must lie between 0 and 1, found {rate}")
        if sum(self.rates.values()) > 1 + 1e-9:
            raise ConfigRefused(f"fault rates add up to {sum(self.rates.values()):.3f}; the limit is 1")
        if self.retry_after_s < 0 or self.slow_s < 0:
            raise ConfigRefused("retry_after_s and slow_s must be 0 or more")

    @staticmethod
    def from_json(value: Json) -> FaultPlan:
        """Raises ConfigRefused."""
        plan = object_of(value, "a fault plan")
        known_keys(plan, {"seed", "rates", "scripted", "retry_after_s", "slow_s", "batches"}, "a fault plan")
        rates = object_of(plan.get("rates", {}), "rates")
        return FaultPlan(
            seed=int(number_of(plan, "seed", 0)),
            rates=MappingProxyType({fault_named(name): number_of(rates, name, 0) for name in rates}),
            scripted=tuple(ScriptedFault.from_json(script) for script in as_list(plan.get("scripted", []))),
            retry_after_s=number_of(plan, "retry_after_s", 1),
            slow_s=number_of(plan, "slow_s", 1),
            batches=BatchFaultPlan.from_json(plan.get("batches", {})),
        )


def fault_named(name: Json) -> Fault:
    """The fault called `name`. Raises ConfigRefused."""
    try:
        return Fault(str(name))
    except ValueError:
        raise ConfigRefused(f"no fault is called {name!r}; there are {', '.join(Fault)}") from None


class FaultDraw:
    """One plan at work: counts requests and bodies, so that a retry of the same bytes can end differently."""

    def __init__(self, plan: FaultPlan, *, max_remembered_bodies: int = 100_000) -> None:
        self.plan = plan
        self._max_remembered_bodies = max_remembered_bodies
        self._times_seen: OrderedDict[bytes, int] = OrderedDict()
        self._requests = 0
        self._script_uses = [0] * len(plan.scripted)

    def decide(self, body: bytes, contains: Callable[[str], bool]) -> Fault | None:
        """The fault of this request, if any. `contains` tells whether the prompt contains a text."""
        self._requests += 1
        times_seen = self._count(hashlib.sha256(body).digest())
        for index, script in enumerate(self.plan.scripted):
            if self._script_applies(index, script, contains):
                self._script_uses[index] += 1
                return script.fault
        return self._drawn(body, times_seen)

    def _script_applies(self, index: int, script: ScriptedFault, contains: Callable[[str], bool]) -> bool:
        if script.times is not None and self._script_uses[index] >= script.times:
            return False
        if script.nth_request is not None:
            return self._requests >= script.nth_request
        return script.when_text_contains is not None and contains(script.when_text_contains)

    def _drawn(self, body: bytes, times_seen: int) -> Fault | None:
        if not self.plan.rates:
            return None
        digest = hashlib.sha256(b"%d:%d:" % (self.plan.seed, times_seen) + hashlib.sha256(body).digest()).digest()
        point = int.from_bytes(digest[:8], "big") / 2**64
        for fault in Fault:  # declaration order, so that the order of keys in a configuration changes nothing
            point -= self.plan.rates.get(fault, 0.0)
            if point < 0:
                return fault
        return None

    def _count(self, digest: bytes) -> int:
        times_seen = self._times_seen.get(digest, 0)
        self._times_seen[digest] = times_seen + 1
        self._times_seen.move_to_end(digest)
        if len(self._times_seen) > self._max_remembered_bodies:
            self._times_seen.popitem(last=False)
        return times_seen
