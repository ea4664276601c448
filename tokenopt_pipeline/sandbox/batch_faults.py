"""What goes wrong with batches, when: the same kind of plan as for calls, one occasion at a time."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from tokenopt_pipeline.sandbox.config_reading import ConfigRefused, known_keys, number_of, object_of
from tokenopt_pipeline.sandbox.json_value import Json, as_list


class Occasion(StrEnum):
    """When something can go wrong; a fault's name begins with its occasion."""

    UPLOAD = "upload"
    CREATE = "create"
    BATCH = "batch"
    ITEM = "item"
    STATUS = "status"
    LIST = "list"
    RESULTS = "results"
    WEBHOOK = "webhook"


class BatchFault(StrEnum):
    """Everything that can go wrong with a batch."""

    UPLOAD_500 = "upload_500"
    UPLOAD_RESET_AFTER_ACCEPT = "upload_reset_after_accept"

    CREATE_500 = "create_500"
    CREATE_RESET = "create_reset"
    CREATE_500_AFTER_ACCEPT = "create_500_after_accept"
    CREATE_RESET_AFTER_ACCEPT = "create_reset_after_accept"

    BATCH_FAILED = "batch_failed"
    BATCH_EXPIRED = "batch_expired"

    ITEM_MISSING = "item_missing"
    ITEM_DUPLICATED = "item_duplicated"
    ITEM_UNKNOWN = "item_unknown"
    ITEM_ERRORED = "item_errored"
    ITEM_EXPIRED = "item_expired"

    STATUS_STEPS_BACK = "status_steps_back"

    LIST_EMPTY = "list_empty"
    LIST_REPEATED = "list_repeated"

    RESULTS_CUT = "results_cut"
    RESULTS_GZIPPED = "results_gzipped"
    RESULTS_EMPTY = "results_empty"
    RESULTS_FOREIGN = "results_foreign"
    RESULTS_GARBLED = "results_garbled"
    RESULTS_HUGE = "results_huge"

    WEBHOOK_LOST = "webhook_lost"
    WEBHOOK_DUPLICATED = "webhook_duplicated"
    WEBHOOK_LATE = "webhook_late"
    WEBHOOK_STALE = "webhook_stale"
    WEBHOOK_FORGED = "webhook_forged"

    @property
    def occasion(self) -> Occasion:
        """When it can happen."""
        return Occasion(self.value.partition("_")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedBatchFault:
    """A fault asked for by name; exactly one of `nth` and `when_id_contains` says when."""

    fault: BatchFault
    nth: int | None = None
    """First of the fault's occasions it applies to, counted from 1 since the plan was set."""
    when_id_contains: str | None = None
    """A text the item's custom id, or the display name, metadata or id of the batch must contain."""
    times: int | None = 1
    """How many occasions it spoils; None is every one."""

    def __post_init__(self) -> None:
        if (self.nth is None) == (self.when_id_contains is None):
            raise ConfigRefused("a scripted batch fault needs exactly one of nth and when_id_contains")
        if self.nth is not None and self.nth < 1:
            raise ConfigRefused(f"nth counts from 1, found {self.nth}")
        if self.times is not None and self.times < 1:
            raise ConfigRefused(f"times must be 1 or more, or null for every occasion, found {self.times}")

    @staticmethod
    def from_json(value: Json) -> ScriptedBatchFault:
        """Raises ConfigRefused."""
        script = object_of(value, "a scripted batch fault")
        known_keys(script, {"fault", "nth", "when_id_contains", "times"}, "a scripted batch fault")
        nth, needle, times = script.get("nth"), script.get("when_id_contains"), script.get("times", 1)
        if nth is not None and (not isinstance(nth, int) or isinstance(nth, bool)):
            raise ConfigRefused(f"nth must be an integer, found {nth!r}")
        if needle is not None and not isinstance(needle, str):
            raise ConfigRefused(f"when_id_contains must be a string, found {needle!r}")
        if times is not None and (not isinstance(times, int) or isinstance(times, bool)):
            raise ConfigRefused(f"times must be an integer or null, found {times!r}")
        return ScriptedBatchFault(
            fault=_fault_named(script.get("fault")), nth=nth, when_id_contains=needle, times=times
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFaultPlan:
    """Rates drawn by hash, and scripts that come before any draw."""

    seed: int = 0
    """Also decides the order results come in."""
    rates: Mapping[BatchFault, float] = field(default_factory=lambda: MappingProxyType({}))
    """Fault -> share of its occasions, 0 to 1; those of one occasion add up to at most 1."""
    scripted: tuple[ScriptedBatchFault, ...] = ()
    late_s: float = 600
    """Simulated seconds a late webhook stays behind the end of its batch."""
    huge_bytes: int = 1_000_000_000
    """What a huge result is filled up to, with lines of unknown items."""

    def __post_init__(self) -> None:
        for fault, rate in self.rates.items():
            if not 0 <= rate <= 1:
                raise ConfigRefused(f"the rate of {fault} must lie between 0 and 1, found {rate}")
        for occasion in Occasion:
            total = sum(rate for fault, rate in self.rates.items() if fault.occasion is occasion)
            if total > 1 + 1e-9:
                raise ConfigRefused(f"the rates of {occasion} faults add up to {total:.3f}; the limit is 1")
        if self.late_s < 0 or self.huge_bytes < 0:
            raise ConfigRefused("late_s and huge_bytes must be 0 or more")

    @staticmethod
    def from_json(value: Json) -> BatchFaultPlan:
        """Raises ConfigRefused."""
        plan = object_of(value, "a batch fault plan")
        known_keys(plan, {"seed", "rates", "scripted", "late_s", "huge_bytes"}, "a batch fault plan")
        rates = object_of(plan.get("rates", {}), "rates")
        return BatchFaultPlan(
            seed=int(number_of(plan, "seed", 0)),
            rates=MappingProxyType({_fault_named(name): number_of(rates, name, 0) for name in rates}),
            scripted=tuple(ScriptedBatchFault.from_json(script) for script in as_list(plan.get("scripted", []))),
            late_s=number_of(plan, "late_s", 600),
            huge_bytes=int(number_of(plan, "huge_bytes", 1_000_000_000)),
        )


def _fault_named(name: Json) -> BatchFault:
    try:
        return BatchFault(str(name))
    except ValueError:
        raise ConfigRefused(f"no batch fault is called {name!r}; there are {', '.join(BatchFault)}") from None


class BatchFaultDraw:
    """One plan at work: counts occasions, so that a second try of the same thing can end differently."""

    def __init__(self, plan: BatchFaultPlan) -> None:
        self.plan = plan
        self._occasions: Counter[Occasion] = Counter()
        self._times_seen: Counter[tuple[Occasion, bytes]] = Counter()
        self._script_uses = [0] * len(plan.scripted)

    def decide(self, occasion: Occasion, content: bytes, identity: str) -> BatchFault | None:
        """The fault of this occasion, if any: rates are drawn by `content`, scripts look at `identity`."""
        self._occasions[occasion] += 1
        for index, script in enumerate(self.plan.scripted):
            if script.fault.occasion is occasion and self._applies(index, script, occasion, identity):
                self._script_uses[index] += 1
                return script.fault
        return self._drawn(occasion, content)

    def _applies(self, index: int, script: ScriptedBatchFault, occasion: Occasion, identity: str) -> bool:
        if script.times is not None and self._script_uses[index] >= script.times:
            return False
        if script.nth is not None:
            return self._occasions[occasion] >= script.nth
        return script.when_id_contains is not None and script.when_id_contains in identity

    def _drawn(self, occasion: Occasion, content: bytes) -> BatchFault | None:
        rates = [(fault, self.plan.rates[fault]) for fault in BatchFault if fault in self.plan.rates]
        rates = [(fault, rate) for fault, rate in rates if fault.occasion is occasion]
        if not rates:
            return None
        digest = hashlib.sha256(content).digest()
        times_seen = self._times_seen[occasion, digest]
        self._times_seen[occasion, digest] += 1
        drawn = hashlib.sha256(f"{self.plan.seed}:{occasion}:{times_seen}:".encode() + digest).digest()
        point = int.from_bytes(drawn[:8], "big") / 2**64
        for fault, rate in rates:  # declaration order, so that the order of keys in a configuration changes nothing
            point -= rate
            if point < 0:
                return fault
        return None
