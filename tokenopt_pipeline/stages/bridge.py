"""The tool loop of one pack: ask, call, ask again, until there is an answer or a reason to ask plainly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from tokenopt_pipeline.domain.bridge import (
    Answer,
    AskModel,
    CallTools,
    FallBack,
    Gauges,
    Loop,
    StopCause,
    after_rejection,
    after_response,
    after_tools,
    begin,
    next_request,
    with_tools,
)
from tokenopt_pipeline.domain.bridge_policy import BridgePolicy
from tokenopt_pipeline.domain.errors import ContextWindowExceeded, RequestRejected, TokenOptError
from tokenopt_pipeline.domain.fingerprints import ordered_json
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse
from tokenopt_pipeline.domain.tools import Toolbox, ToolCall, canonical_tools
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.ports import Clock, Prices, Provider, Tokenizer, ToolHost, ToolSchemas


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeTurn:
    """One request of a conversation and its answer, for the ledger."""

    fingerprint: str
    response: ModelResponse
    #: None when the price is unknown.
    usd: Decimal | None
    #: What the request was guarded with.
    input_tokens: int
    usd_ceiling: Decimal | None
    latency_ms: int
    #: What the model called, also what was not made.
    tool_calls: tuple[ToolCall, ...]
    #: How many of the calls a server was asked for.
    calls_made: int
    #: Spent on those, side by side.
    tools_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeOutcome:
    """How a conversation ended. Of `response`, `cause` and `problem`, exactly one is there."""

    #: Everything that was billed, in order, however it ended.
    turns: tuple[BridgeTurn, ...]
    loop: Loop
    #: The answer, in the run's schema as far as the provider can bind it.
    response: ModelResponse | None = None
    #: Why the pack has to be asked plainly, with full context.
    cause: StopCause | None = None
    #: One sentence about the cause; empty without one.
    reason: str = ""
    #: Why the last request got no answer; with `loop` the conversation can go on from there.
    problem: TokenOptError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """What the conversations of a run share. Safe to use from several threads."""

    bounds: BridgePolicy
    tools: Toolbox
    provider: Provider
    host: ToolHost
    schemas: ToolSchemas
    tokenizer: Tokenizer
    prices: Prices
    clock: Clock
    #: For one request, at most.
    timeout_s: float

    def prepared(self, request: ModelRequest) -> ModelRequest:
        """The first request of a conversation: a pack's request, with the tools and how to use them."""
        return replace(request, system=with_tools(request.system), tools=self.tools.tools)

    def begin(self, request: ModelRequest) -> Loop:
        """The loop of a prepared request."""
        texts = (request.system, request.user, canonical_tools(request.tools), ordered_json(request.output_schema))
        counted, model = sum(self.tokenizer.count(text) for text in texts), request.model
        return begin(
            self.tools,
            self.bounds,
            input_tokens=model.guarded_tokens(counted) + model.request_overhead_tokens + model.tools_overhead_tokens,
            max_tokens=request.max_tokens,
        )

    def converse(self, request: ModelRequest, loop: Loop | None = None) -> BridgeOutcome:
        """The conversation about a prepared request, from its beginning or from where `loop` says that it stands."""
        started_s, gauges = self.clock.monotonic_s(), self.gauges(request)
        step: AskModel | CallTools | Answer | FallBack = AskModel(loop=loop or self.begin(request))
        turns: list[BridgeTurn] = []
        while not isinstance(step, Answer | FallBack):
            elapsed_s = self.clock.monotonic_s() - started_s
            if isinstance(step, CallTools):
                step, turns[-1] = self._called(step, turns[-1], elapsed_s=elapsed_s, gauges=gauges)
                continue
            step = next_request(step.loop, elapsed_s=elapsed_s, gauges=gauges)
            if isinstance(step, FallBack):
                continue
            try:
                turn = self._asked(request, step.loop, elapsed_s=elapsed_s, gauges=gauges)
            except (RequestRejected, ContextWindowExceeded) as problem:
                step = after_rejection(step.loop, str(problem))
                continue
            except TokenOptError as problem:
                return BridgeOutcome(turns=tuple(turns), loop=step.loop, problem=problem)
            turns.append(turn)
            step = after_response(step.loop, turn.response, usd=turn.usd, gauges=gauges)
        if isinstance(step, Answer):
            return BridgeOutcome(turns=tuple(turns), loop=step.loop, response=step.response)
        return BridgeOutcome(turns=tuple(turns), loop=step.loop, cause=step.cause, reason=step.reason)

    def _asked(self, request: ModelRequest, loop: Loop, *, elapsed_s: float, gauges: Gauges) -> BridgeTurn:
        sent = replace(request, turns=loop.turns, answer_now=loop.answer_now)
        before_s = self.clock.monotonic_s()
        response = self.provider.complete(
            sent, timeout_s=min(self.timeout_s, max(self.bounds.max_seconds - elapsed_s, 1.0))
        )
        return BridgeTurn(
            fingerprint=sent.fingerprint,
            response=response,
            usd=self.prices.usd(request.model.ref, response.usage),
            input_tokens=loop.next_input_tokens,
            usd_ceiling=gauges.usd_ceiling(loop.next_input_tokens, loop.max_tokens),
            latency_ms=round((self.clock.monotonic_s() - before_s) * 1000),
            tool_calls=response.tool_calls,
            calls_made=0,
            tools_ms=0,
        )

    def _called(
        self, step: CallTools, turn: BridgeTurn, *, elapsed_s: float, gauges: Gauges
    ) -> tuple[AskModel, BridgeTurn]:
        before_s = self.clock.monotonic_s()
        left_s = max(self.bounds.max_seconds - elapsed_s, 0.0)
        outcomes = self.host.call(step.calls, timeout_s=min(self.bounds.call_timeout_s, left_s)) if step.calls else {}
        tools_ms = round((self.clock.monotonic_s() - before_s) * 1000)
        asked = after_tools(step, outcomes, gauges=gauges)
        return asked, replace(turn, calls_made=len(step.calls), tools_ms=tools_ms)

    def gauges(self, request: ModelRequest) -> Gauges:
        """What the request's loop measures with."""
        model, ttl = request.model, request.cache_ttl

        def usd_ceiling(input_tokens: int, output_tokens: int) -> Decimal | None:
            # Writing to a cache is the dearest way to read a prefix.
            return self.prices.usd(
                model.ref,
                TokenUsage(
                    input_uncached=input_tokens if ttl is None else 0,
                    cache_write_5m=input_tokens if ttl == "5m" else 0,
                    cache_write_1h=input_tokens if ttl == "1h" else 0,
                    output=output_tokens,
                ),
            )

        return Gauges(
            arguments_violation=self.schemas.arguments_violation,
            result_violation=self.schemas.result_violation,
            tokens=lambda text: model.guarded_tokens(self.tokenizer.count(text)),
            usd_ceiling=usd_ceiling,
        )
