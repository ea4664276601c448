"""A provider-neutral model call and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tokenopt_pipeline.domain.fingerprints import digest, ordered_json
from tokenopt_pipeline.domain.flow import Headroom
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.prefixes import Prefix, prefix_of
from tokenopt_pipeline.domain.tools import Tool, ToolCall, ToolResult, canonical_tools
from tokenopt_pipeline.domain.usage import TokenUsage


class StopReason(StrEnum):
    """Why a model stopped, normalised over providers."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    TOOLS = "tools"  # it waits for the results of the tools it called


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One answer of the model on the way to the last one, and what it was told next."""

    #: The answer as the provider wants it back, unchanged: signed parts of it are refused otherwise. Opaque JSON.
    carry: str
    #: One per call of that answer, in the order of the calls.
    results: tuple[ToolResult, ...] = ()
    #: Words of ours after the results; empty: none.
    note: str = ""


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
    #: Lifetime of the cache mark at the end of `system` (domain/caching.py names them); None: no mark.
    cache_ttl: str | None
    #: Whether the ends of a conversation's turns are marked beside the prefix's, for the next turn to read; only with tools.
    marks_turns: bool = True
    #: Tools the model may call, sorted by wire name.
    tools: tuple[Tool, ...] = ()
    #: What was said after `user`, in order.
    turns: tuple[Turn, ...] = ()
    #: Whether the model may call no tool any more; only with tools.
    answer_now: bool = False
    #: What follows `system` and is this request's alone, such as passages that were found for it; empty: nothing.
    found: str = ""
    #: The provider's name for its copy of `system`, which then is not sent; the same bytes reach the model all the same.
    kept_prefix: str | None = None

    @property
    def prefix(self) -> Prefix:
        """What it shares with the other requests of its schema and model."""
        return prefix_of(
            model=str(self.model.ref),
            system=self.system,
            output_schema=self.output_schema,
            output_method=self.model.output_method,
            thinking=self.model.thinking,
            tools=canonical_tools(self.tools) if self.tools else "",
        )

    @property
    def fingerprint(self) -> str:
        """Digest of everything the model is told; equal requests have equal fingerprints, wherever their prefix is kept."""
        sent: dict[str, object] = {
            "model": str(self.model.ref),
            "system": self.system,
            "user": self.user,
            "output_schema": ordered_json(self.output_schema),
            "max_tokens": self.max_tokens,
            "cache_ttl": self.cache_ttl,
            "method": [self.model.output_method, self.model.thinking],
        }
        # Only where they are present: requests without tools keep the fingerprints they always had.
        if self.tools:
            sent |= {"tools": canonical_tools(self.tools), "answer_now": self.answer_now}
            # Where they stand, what is read from a cache is billed by them.
            sent |= {} if self.marks_turns else {"marks_turns": False}
        if self.found:
            sent["found"] = self.found
        if self.turns:
            sent["turns"] = [
                [turn.carry, [[r.call_id, r.text, r.is_error] for r in turn.results], turn.note] for turn in self.turns
            ]
        return digest(sent)


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
    #: Calls the model waits for, in its order; only with `StopReason.TOOLS`.
    tool_calls: tuple[ToolCall, ...] = ()
    #: This answer for a turn of the next request, see `Turn.carry`; None unless tools were offered.
    carry: str | None = None
    #: What is left of the provider's rate limits; None when it did not say.
    headroom: Headroom | None = None
