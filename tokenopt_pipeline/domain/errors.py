"""Every error this product raises on purpose; its base class says whether trying again can help.

TokenOptError
├─ TransientError              the same request may succeed later
│  ├─ RateLimited              .retry_after_s .headroom
│  ├─ ProviderUnavailable      .retry_after_s .may_be_billed
│  ├─ BatchNotMade             a batch could not be made, and certainly was not
│  ├─ PrefixGone               the provider no longer keeps the prefix that the request named
│  ├─ ShardBusy                another process works on the same shard
│  ├─ ReferenceBusy            another process indexes the same reference
│  ├─ StoreUnavailable
│  ├─ ToolServerUnavailable
│  └─ ConversationPaused       it goes on from where it stands when its run does
└─ TerminalError               the same request will never succeed
   ├─ InvalidInput             a file, schema, policy or argument is wrong; nothing was spent
   │  ├─ DocumentUnreadable    .name .reason
   │  ├─ SchemaInvalid
   │  ├─ PolicyInvalid
   │  ├─ NotFound
   │  └─ PriceUnknown
   ├─ RequestRejected          .status
   ├─ ContextWindowExceeded    the request does not fit → split the pack
   ├─ FatalForRun              no further request of this run can succeed
   │  ├─ AuthenticationFailed
   │  ├─ SpendLimitReached     the provider's own limit
   │  └─ ModelUnknown
   ├─ RunCancelled             a person ended the run while it was under way
   └─ BudgetExceeded           .limit_usd .needed_usd

An answer that is unusable is no error but a `Finding` (domain/outputs.py).
"""

from __future__ import annotations

from decimal import Decimal

from tokenopt_pipeline.domain.flow import Headroom


class TokenOptError(Exception):
    """Root of every error raised on purpose. `str()` is one line that may be shown to a person."""


class TransientError(TokenOptError):
    """The same request may succeed later."""


class RateLimited(TransientError):
    """The provider asked us to slow down."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, headroom: Headroom | None = None) -> None:
        super().__init__(message)
        #: Seconds the provider asked us to wait; None when it did not say.
        self.retry_after_s = retry_after_s
        #: What is left of its limits; None when it did not say.
        self.headroom = headroom


class ProviderUnavailable(TransientError):
    """The provider could not be reached or failed on its side."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, may_be_billed: bool = False) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        #: The request was sent and no answer came, or none that can be read: the provider may have done the work.
        self.may_be_billed = may_be_billed


class BatchNotMade(TransientError):
    """What a batch needs could not be brought to the provider, so that it was not asked for the batch itself."""


class PrefixGone(TransientError):
    """The provider no longer keeps the prefix that the request named; with its prefix in it, the request may succeed."""


class ShardBusy(TransientError):
    """Another process is working on the same shard."""


class ReferenceBusy(TransientError):
    """Another process is indexing the same reference."""


class StoreUnavailable(TransientError):
    """The database cannot be reached."""


class ToolServerUnavailable(TransientError):
    """A declared tool server does not start, cannot be reached or does not list its tools."""


class ConversationPaused(TransientError):
    """A conversation with tools was left between two turns, because its run ends; it goes on from there."""


class TerminalError(TokenOptError):
    """The same request will never succeed."""


class InvalidInput(TerminalError):
    """Something a person gave us is wrong; nothing was spent and nothing was written."""


class DocumentUnreadable(InvalidInput):
    """A file could not be turned into blocks."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class SchemaInvalid(InvalidInput):
    """An extraction schema is not usable."""


class PolicyInvalid(InvalidInput):
    """A policy names an unknown key or a value out of its bounds."""


class NotFound(InvalidInput):
    """A collection, run, schema or block that was named does not exist."""


class PriceUnknown(InvalidInput):
    """A model has no known list price and the policy does not allow that."""


class RequestRejected(TerminalError):
    """The provider refuses this request and would refuse it again."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        #: HTTP status; None when no answer carried one.
        self.status = status


class ContextWindowExceeded(TerminalError):
    """The request is longer than the model's context: the pack must be split."""


class FatalForRun(TerminalError):
    """No further request of this run can succeed until a person acts."""


class AuthenticationFailed(FatalForRun):
    """The provider refuses the key."""


class SpendLimitReached(FatalForRun):
    """The provider account may not spend more."""


class ModelUnknown(FatalForRun):
    """The provider does not know the model, or the key may not use it."""


class RunCancelled(TerminalError):
    """The run was cancelled; nothing more is asked for it."""


class BudgetExceeded(TerminalError):
    """The next call could take the run over its budget."""

    def __init__(self, message: str, *, limit_usd: Decimal, needed_usd: Decimal) -> None:
        super().__init__(message)
        self.limit_usd = limit_usd
        self.needed_usd = needed_usd
