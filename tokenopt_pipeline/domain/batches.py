"""Batches: what providers take, what a batch and its requests are called, where one stands, when to look at it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.fingerprints import digest

_KEY_CHARS = 16
#: Anthropic's rule for ids of requests, the narrowest of all, is `^[a-zA-Z0-9_-]{1,64}$`; everybody gets such ids.
CUSTOM_ID_PATTERN = r"[a-zA-Z0-9_-]{1,64}"
_TAG = "tokenopt-"
# A batch is looked at when it is a tenth older than at the last look, so that a day costs some fifty looks.
_LOOK_SHARE = 0.1
_SOONEST_LOOK_S, _LATEST_LOOK_S = 5.0, 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """What one batch of a provider may hold, and what can be known of it from a listing."""

    max_requests: int
    #: Of all requests as they are sent.
    max_bytes: int
    #: Whether a batch carries a tag of ours that listings show.
    has_tags: bool
    #: Hours after which a batch is given up by the provider.
    expires_h: int


#: Message Batches guide, Batch API guide and Gemini Batch API guide, all read 2026-11. Google takes files of 2 GB; how many
#: requests they may hold is not published, so Anthropic's number stands there.
LIMITS: Mapping[str, BatchLimits] = {
    "anthropic": BatchLimits(max_requests=100_000, max_bytes=256_000_000, has_tags=False, expires_h=24),
    "openai": BatchLimits(max_requests=50_000, max_bytes=200_000_000, has_tags=True, expires_h=24),
    "google": BatchLimits(max_requests=100_000, max_bytes=2_000_000_000, has_tags=True, expires_h=48),
}


class BatchState(StrEnum):
    """Where a batch of ours stands; it only moves forward, and may leave out what lies between."""

    INTENDED = "intended"  # it may or may not exist at the provider
    SUBMITTED = "submitted"  # the provider has it, under an id that we know
    ENDED = "ended"  # nothing of it is under way any more; what came of it is not settled yet
    CLOSED = "closed"  # every request of it is settled or released


class BatchOutcome(StrEnum):
    """How a batch ended."""

    COMPLETED = "completed"  # some requests may have failed or expired all the same
    EXPIRED = "expired"  # what was finished in time may have results
    CANCELLED = "cancelled"  # likewise
    FAILED = "failed"  # no request was carried out
    UNBORN = "unborn"  # the provider never had it


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderBatch:
    """A batch as a provider tells of it, ours or somebody else's."""

    batch_id: str
    created_at: datetime
    #: None: the provider does not say.
    n_requests: int | None
    #: The tag it was created with; None: it has none.
    tag: str | None
    #: None: it is under way.
    outcome: BatchOutcome | None
    #: Requests that have ended; None: the provider does not say while it is under way.
    n_done: int | None = None
    #: When it ended; None: it has not, or the provider does not say.
    ended_at: datetime | None = None
    #: Why it failed, in the provider's words.
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch of ours as it is stored."""

    batch_no: int
    run_no: int
    shard_no: int
    #: `provider/model`.
    model: str
    #: See `batch_key`.
    key: str
    #: How many batches its blocks have been in, this one included.
    round: int
    state: BatchState
    n_requests: int
    intended_at: datetime
    #: When the provider was asked for it; None: it was not yet.
    asked_at: datetime | None = None
    batch_id: str | None = None
    submitted_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: BatchOutcome | None = None
    #: When a listing first did not show it; None: no listing was without it.
    unseen_since: datetime | None = None
    #: Downloads of its results so far.
    downloads: int = 0
    #: Whether somebody wants it cancelled.
    is_unwanted: bool = False
    #: Ids at the provider that were looked into and are somebody else's.
    not_ours: tuple[str, ...] = ()

    @property
    def provider(self) -> str:
        """Whose batch it is."""
        return self.model.partition("/")[0]

    @property
    def tag(self) -> str:
        """What it is called at providers that let batches be called something."""
        return tag_of(self.key)


def batch_key(run_id: str, shard_no: int, model: str, call_nos: Iterable[int]) -> str:
    """Sixteen hexadecimal digits that no other batch has: a call is in one batch at most. The intent's digest."""
    return digest([run_id, shard_no, model, sorted(call_nos)])[:_KEY_CHARS]


def tag_of(key: str) -> str:
    """What a batch with this key is called at its provider."""
    return f"{_TAG}{key}"


def custom_id(key: str, call_no: int) -> str:
    """The id of a request in its batch; it says which batch that is."""
    return f"{key}-{call_no}"


def key_in(request_id: str) -> str:
    """The batch that a request's id names; empty when it is none of our ids."""
    key, _, number = request_id.rpartition("-")
    return key if len(key) == _KEY_CHARS and number.isdecimal() else ""


def supports_batches(provider: str) -> bool:
    """Whether the provider takes batches; a server of one's own does not."""
    return provider in LIMITS


def split_by_limits(sizes: Sequence[int], limits: BatchLimits) -> list[range]:
    """Positions of the requests of each batch, in order, as few as that allows. `sizes` are bytes as they are sent.

    Raises InvalidInput for a request that no batch can hold.
    """
    batches: list[range] = []
    first = used = 0
    for i, size in enumerate(sizes):
        if size > limits.max_bytes:
            raise InvalidInput(f"a request of {size} bytes fits into no batch; the limit is {limits.max_bytes}")
        if i - first == limits.max_requests or used + size > limits.max_bytes:
            batches.append(range(first, i))
            first, used = i, 0
        used += size
    if sizes:
        batches.append(range(first, len(sizes)))
    return batches


def look_again_s(age_s: float) -> float:
    """Seconds until a batch of this age is looked at again: soon when it is young, every five minutes when it is old."""
    return min(max(age_s * _LOOK_SHARE, _SOONEST_LOOK_S), _LATEST_LOOK_S)
