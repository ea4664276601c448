"""Keep: a prefix that a provider keeps for rent is made once per run, prolonged while it is needed and given back at the end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal

from tokenopt_pipeline.domain.errors import TokenOptError
from tokenopt_pipeline.domain.kept_prefixes import LEASE_S, KeepingPlan, KeptPrefix, lease_usd, plan_keeping
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.requests import ModelRequest
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.ports import Clock, PrefixKeeper, PrefixLedger, Prices

_TIMEOUT_S = 60.0
# As in domain/caching.py: only the order of magnitude matters.
_CALL_S = 10.0


@dataclass(slots=True, kw_only=True)
class KeptPrefixes:
    """The kept prefixes of one run. Whatever goes wrong here, requests go out with their prefix in them."""

    run: Run
    keeper_of: Callable[[ModelRef], PrefixKeeper | None]
    ledger: PrefixLedger
    prices: Prices
    clock: Clock
    #: Model -> why its prefix is not kept.
    refused: dict[str, str] = field(default_factory=dict)

    def name_for(self, request: ModelRequest, *, requests: int, prefix_tokens: int) -> str | None:
        """The provider's name of the request's prefix, when it is kept or it pays to keep it from now on.

        `requests` are those that the run is still going to make with it.
        """
        model = request.model
        keeper = None if str(model.ref) in self.refused else self.keeper_of(model.ref)
        if keeper is None:
            return None
        try:
            kept = self._living(request)
            if kept is None:
                kept = self._made(keeper, request, requests, prefix_tokens)
            elif kept.must_be_prolonged(self.clock.now()):
                self._prolong(keeper, kept, model)
        except TokenOptError as problem:
            self.refused[str(model.ref)] = str(problem)
            return None
        return None if kept is None else kept.name

    def gone(self, request: ModelRequest) -> None:
        """The provider no longer has it: it is made anew when that still pays."""
        kept = self._living(request)
        if kept is not None:
            self.ledger.end(kept.prefix_no, message="the provider no longer had it", now=self.clock.now())

    def _living(self, request: ModelRequest) -> KeptPrefix | None:
        fingerprint = request.prefix.fingerprint
        living = self.ledger.living(self.run.run_no, now=self.clock.now())
        return next((kept for kept in living if kept.fingerprint == fingerprint), None)

    def _made(
        self, keeper: PrefixKeeper, request: ModelRequest, requests: int, prefix_tokens: int
    ) -> KeptPrefix | None:
        plan = self._plan(request.model, requests, prefix_tokens)
        if not plan.pays:
            self.refused[str(request.model.ref)] = plan.reason
            return None
        now = self.clock.now()
        lease_ends = now + timedelta(seconds=LEASE_S)
        prefix_no = self.ledger.begin(
            self.run, request.prefix, usd_ceiling=plan.lease_usd, expires_at=lease_ends, now=now
        )
        if prefix_no is None:
            # Another process is about to make it, or the budget has no room.
            return None
        try:
            name, tokens = keeper.keep(request, ttl_s=LEASE_S, timeout_s=_TIMEOUT_S)
        except TokenOptError as problem:
            self.ledger.end(prefix_no, message=str(problem), now=self.clock.now())
            raise
        kept = KeptPrefix(
            prefix_no=prefix_no,
            fingerprint=request.prefix.fingerprint,
            model=request.model.ref,
            name=name,
            tokens=tokens,
            expires_at=lease_ends,
        )
        self.ledger.settle(kept, usd=self._usd(request.model.ref, tokens, written=True))
        return kept

    def _prolong(self, keeper: PrefixKeeper, kept: KeptPrefix, model: ModelSpec) -> None:
        keeper.prolong(kept.name, ttl_s=LEASE_S, timeout_s=_TIMEOUT_S)
        lasting = replace(kept, expires_at=self.clock.now() + timedelta(seconds=LEASE_S))
        self.ledger.settle(lasting, usd=self._usd(model.ref, kept.tokens, written=False))

    def _plan(self, model: ModelSpec, requests: int, prefix_tokens: int) -> KeepingPlan:
        policy = self.run.policy
        if not policy.caching.keep_prefixes:
            return KeepingPlan(pays=False, reason="Keeping prefixes is off by policy.")
        return plan_keeping(
            requests=requests,
            plain_usd=self.prices.usd(model.ref, TokenUsage(input_uncached=prefix_tokens)),
            read_usd=self.prices.usd(model.ref, TokenUsage(cache_read=prefix_tokens)),
            storage_usd_per_hour=self.prices.storage_usd_per_hour(model.ref, prefix_tokens),
            duration_s=requests * _CALL_S / policy.calls.concurrency,
            implicit_hit_share=policy.caching.implicit_hit_share,
        )

    def _usd(self, ref: ModelRef, tokens: int, *, written: bool) -> Decimal | None:
        storage = self.prices.storage_usd_per_hour(ref, tokens)
        plain = self.prices.usd(ref, TokenUsage(input_uncached=tokens if written else 0))
        return None if plain is None or storage is None else lease_usd(plain, storage)


def give_back(
    run: Run, *, keeper_of: Callable[[ModelRef], PrefixKeeper | None], ledger: PrefixLedger, clock: Clock
) -> int:
    """Gives back whatever the ended run still rents; how many. What cannot be given back expires by itself."""
    living = ledger.living(run.run_no, now=clock.now())
    for kept in living:
        keeper = keeper_of(kept.model)
        with suppress(TokenOptError):
            if keeper is not None:
                keeper.forget(kept.name, timeout_s=_TIMEOUT_S)
        ledger.end(kept.prefix_no, message=None, now=clock.now())
    return len(living)
