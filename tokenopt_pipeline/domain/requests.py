"""A provider-neutral model call and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tokenopt_pipeline.domain.fingerprints import digest, ordered_json
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.usage import TokenUsage


class StopReason(StrEnum):
    """Why a model stopped, normalised over providers."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One call: everything that decides the bytes a provider is sent."""

    model: ModelSpec
    #: The prefix shared by all requests of a schema.
    system: str
    #: The part that differs.
    user: str
    #: JSON Schema of the answer.
    output_schema: Mapping[str, object]
    max_tokens: int
    #: Lifetime of the cache mark at the end of `system`; None: no mark.
    cache_ttl: str | None

    @property
    def fingerprint(self) -> str:
        """Digest of everything sent; equal requests have equal fingerprints."""
        return digest(
            {
                "model": str(self.model.ref),
                "system": self.system,
                "user": self.user,
                "output_schema": ordered_json(self.output_schema),
                "max_tokens": self.max_tokens,
                "cache_ttl": self.cache_ttl,
                "method": [self.model.output_method, self.model.thinking],
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResponse:
    """What came back, billed. `text` is the answer's JSON as the model wrote it; empty when it refused."""

    text: str
    stop: StopReason
    usage: TokenUsage
    #: The provider's id of the request, for support; None when it sent none.
    request_id: str | None
    #: Whether a stand-in answered.
    simulated: bool
    #: The provider's own words for a refusal; None otherwise.
    refusal: str | None = None
