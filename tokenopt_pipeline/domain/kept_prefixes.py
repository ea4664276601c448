"""Kept prefixes: when it pays to rent a provider's storage for a prefix, and for how long at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from tokenopt_pipeline.domain.routing import ModelRef

#: Rented at a time. Short, because storage is billed for the time that was asked for even when it is given back early.
LEASE_S = 600.0
#: Prolonged when less is left.
_RENEW_BELOW_S = 150.0
_HOUR_S = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPrefix:
    """A prefix that a provider keeps under a name."""

    #: Our number of it.
    prefix_no: int
    #: Of the prefix (domain/prefixes.py).
    fingerprint: str
    model: ModelRef
    #: The provider's name for it.
    name: str
    tokens: int
    expires_at: datetime

    def must_be_prolonged(self, now: datetime) -> bool:
        """Whether so little of the lease is left that a request may come too late."""
        return (self.expires_at - now).total_seconds() < _RENEW_BELOW_S


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepingPlan:
    """Whether a prefix is kept, and what its first lease may cost."""

    pays: bool
    #: One sentence.
    reason: str
    #: Writing it, and storage for one lease.
    lease_usd: Decimal = Decimal(0)


def plan_keeping(
    *,
    requests: int,
    plain_usd: Decimal | None,
    read_usd: Decimal | None,
    storage_usd_per_hour: Decimal | None,
    duration_s: float,
    implicit_hit_share: float,
) -> KeepingPlan:
    """Whether so many requests over so long are cheaper with the prefix kept than with whatever is found by itself.

    The dollars are for the whole prefix: once as plain input, once read from the cache, stored for an hour. None: unknown,
    and nobody rents at an unknown price.
    """
    if plain_usd is None or read_usd is None or storage_usd_per_hour is None:
        return KeepingPlan(pays=False, reason="The price of keeping the prefix is not known.")
    leases = max(1, -int(-duration_s // LEASE_S))
    storage = storage_usd_per_hour * Decimal(leases * LEASE_S / _HOUR_S)
    kept = plain_usd + storage + requests * read_usd
    share = Decimal(str(implicit_hit_share))
    found = requests * (share * read_usd + (1 - share) * plain_usd)
    figures = f"{requests} requests cost ${kept:.4f} with the prefix kept and about ${found:.4f} without"
    return KeepingPlan(pays=kept < found, reason=f"{figures}.", lease_usd=lease_usd(plain_usd, storage_usd_per_hour))


def lease_usd(written_usd: Decimal, storage_usd_per_hour: Decimal) -> Decimal:
    """What one lease costs; prolonging writes nothing."""
    return written_usd + storage_usd_per_hour * Decimal(LEASE_S / _HOUR_S)
