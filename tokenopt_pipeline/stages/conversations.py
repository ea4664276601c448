"""Conversations: packs whose model has tools are asked turn by turn, each turn stored, and plainly where that comes to nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from threading import Event

from tokenopt_pipeline.domain.bridge import AskModel, CallTools, FallBack, ToldResult
from tokenopt_pipeline.domain.caching import SHORT
from tokenopt_pipeline.domain.conversations import KeptConversation, SettledTurn, conversation_usd
from tokenopt_pipeline.domain.errors import TokenOptError
from tokenopt_pipeline.domain.knowledge import carried_whole
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.packs import OpenPack
from tokenopt_pipeline.domain.prefixes import Prefix
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse
from tokenopt_pipeline.domain.retrieval import gave_up
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.tools import Toolbox, canonical_tools
from tokenopt_pipeline.ports import (
    Clock,
    ConversationStore,
    Prices,
    Provider,
    Tokenizer,
    ToolHost,
    ToolSchemas,
    TurnStore,
)
from tokenopt_pipeline.stages.bridge import Bridge, BridgeTurn
from tokenopt_pipeline.stages.settle import PreparedCall


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTools:
    """The tool servers of a run, connected to when their tools are first asked for, and where its turns are stored."""

    host: ToolHost
    schemas_of: Callable[[Toolbox], ToolSchemas]
    turns: TurnStore
    tokenizer: Tokenizer
    close: Callable[[], None]


@dataclass(slots=True, kw_only=True)
class Conversations:
    """The conversations of one run."""

    run: Run
    tools: OpenTools
    store: ConversationStore
    provider: Provider
    #: What turns are billed at.
    prices: Prices
    #: Of calls by themselves, by which one that was begun in batches may be ended.
    plain_prices: Prices
    clock: Clock
    #: Whether turns go in batches: then the next one comes hours later, and nothing is written to a cache for it alone.
    in_batches: bool = False
    #: Set when conversations are to stop where they stand.
    pausing: Event = field(default_factory=Event)
    _bridge: Bridge | None = None

    @property
    def bridge(self) -> Bridge:
        """The bridge; tool servers are started for it. Raises ToolServerUnavailable or InvalidInput."""
        if self._bridge is None:
            box = self.tools.host.tools()
            self._bridge = Bridge(
                bounds=self.run.policy.bridge,
                tools=box,
                provider=self.provider,
                host=self.tools.host,
                schemas=self.tools.schemas_of(box),
                tokenizer=self.tools.tokenizer,
                prices=self.prices,
                clock=self.clock,
                timeout_s=self.run.policy.calls.timeout_s,
            )
        return self._bridge

    def talk(self, call: PreparedCall, plain: Callable[[OpenPack], PreparedCall]) -> Talk:
        """The conversation about a pack, from where it stands; `plain` prepares the call that follows if it gives up.

        Raises, with nothing spent, RunCancelled, BudgetExceeded, ToolServerUnavailable or InvalidInput.
        """
        first = self.first(call)
        fallback, kept = self.opened(first, plain)
        return Talk(
            conversations=self,
            call=first,
            fallback=fallback,
            start=self.bridge.replayed(first.request, kept.turns),
            spent_s=kept.spent_s,
            began_s=self.clock.monotonic_s(),
        )

    def first(self, call: PreparedCall) -> PreparedCall:
        """A pack's plain call as the first request of its conversation. Raises ToolServerUnavailable or InvalidInput."""
        request = self._marked(self.bridge.prepared(call.request))
        assumptions = replace(
            call.assumptions,
            # Its turns are of another shape than the requests that token counts are learnt from.
            table_input_tokens=None,
            prefix_tokens=self._prefix_tokens(request),
        )
        return replace(call, request=request, assumptions=assumptions)

    def opened(
        self, call: PreparedCall, plain: Callable[[OpenPack], PreparedCall]
    ) -> tuple[PreparedCall, KeptConversation]:
        """(The plain call that may follow, the conversation as far as it is stored); its dollars are reserved now.

        Raises, with nothing spent, RunCancelled or BudgetExceeded.
        """
        # With everything in it, it is the dearest that can follow.
        fallback = plain(self.plainly(call.pack, "the conversation came to no answer"))
        usd = partial(self.plain_prices.usd, call.request.model.ref)
        ceiling = conversation_usd(self.run.policy.bridge, usd, fallback.assumptions.usd_ceiling)
        return fallback, self.store.open(call.pack, usd_ceiling=ceiling, now=self.clock.now())

    def prefix(self, model: ModelSpec, system: str) -> Prefix:
        """What requests of the run to the model with this system text share when they have tools."""
        request = ModelRequest(
            model=model,
            system=system,
            user="",
            output_schema=self.run.form.output_schema,
            max_tokens=1,
            cache_ttl=None,
        )
        return self.bridge.prepared(request).prefix

    def plainly(self, pack: OpenPack, reason: str) -> OpenPack:
        """The pack as it is asked without tools: with all of its references."""
        knowledge = self.run.knowledge
        context = carried_whole(gave_up(reason), knowledge) if knowledge.references else pack.context
        return replace(pack, tools=False, context=context)

    def give_up(self, pack: OpenPack, step: FallBack, *, refused: tuple[int, TokenOptError] | None = None) -> OpenPack:
        """Stores that the pack is asked plainly from now on, and gives it as it then is."""
        plain = self.plainly(pack, step.reason)
        now = self.clock.now()
        self.tools.turns.give_up(plain, cause=step.cause, reason=step.reason, refused=refused, now=now)
        return plain

    def _marked(self, request: ModelRequest) -> ModelRequest:
        """The request with a cache mark where its own next turn will read it, however few others share its prefix."""
        model = request.model
        if self.in_batches:
            return replace(request, marks_turns=False)
        if request.cache_ttl is not None or model.caches_by_itself or not self.run.policy.caching.enabled:
            return request
        is_long = self.bridge.begin(request).next_input_tokens >= model.cache_minimum_tokens
        return replace(request, cache_ttl=SHORT) if is_long else request

    def _prefix_tokens(self, request: ModelRequest) -> int:
        count, model = self.tools.tokenizer.count, request.model
        counted = count(request.system) + count(canonical_tools(request.tools))
        return model.billed_tokens(counted) + model.request_overhead_tokens


@dataclass(slots=True, kw_only=True)
class Talk:
    """One pack's conversation, to be held in a thread of its own. What is in flight can be read from outside."""

    conversations: Conversations
    #: The call that is in flight, or was last.
    call: PreparedCall
    fallback: PreparedCall
    start: AskModel | CallTools | FallBack
    spent_s: float
    began_s: float
    #: Its number; None: nothing is in flight.
    call_no: int | None = None
    _refused: tuple[int, TokenOptError] | None = None

    def complete(self) -> ModelResponse:
        """The answer to the pack, by tools or plainly; every turn before it is stored. Raises what a provider raises."""
        own = self.conversations
        outcome = own.bridge.converse(
            self.call.request,
            self.start,
            spent_s=self.spent_s,
            journal=self,
            must_pause=own.pausing.is_set,
        )
        if outcome.problem is not None:
            raise outcome.problem
        if outcome.response is not None:
            return outcome.response
        assert outcome.cause is not None  # one of the three is there
        step = FallBack(loop=outcome.loop, cause=outcome.cause, reason=outcome.reason)
        plain = own.give_up(self.call.pack, step, refused=self._refused)
        self._begin(replace(self.fallback, pack=plain))
        return own.provider.complete(self.call.request, timeout_s=own.run.policy.calls.timeout_s)

    def asking(self, request: ModelRequest, *, input_tokens: int, usd_ceiling: Decimal | None) -> None:
        """The request is about to be sent."""
        sized = replace(self.call.assumptions, input_tokens=input_tokens, usd_ceiling=usd_ceiling)
        self._begin(replace(self.call, request=request, fingerprint=request.fingerprint, assumptions=sized))

    def turned(self, turn: BridgeTurn) -> None:
        """It was answered, and the conversation has not ended with that."""
        assert self.call_no is not None  # it was asked
        settled = SettledTurn(
            call_no=self.call_no,
            pack=self.call.pack,
            fingerprint=turn.fingerprint,
            prefix=self.call.request.prefix,
            response=turn.response,
            usd=turn.usd,
            usd_ceiling=turn.usd_ceiling,
            latency_ms=turn.latency_ms,
            input_tokens=turn.input_tokens,
            max_tokens=self.call.request.max_tokens,
            prefix_tokens=self.call.assumptions.prefix_tokens,
        )
        self.conversations.tools.turns.settle(settled, now=self.conversations.clock.now())
        self.call_no = None

    def told(self, results: Sequence[ToldResult], *, calls_made: int, tools_ms: int) -> None:
        """The model's calls have their results."""
        turns = self.conversations.tools.turns
        turns.tell(self.call.pack, results, calls_made=calls_made, tools_ms=tools_ms)

    def refused(self, problem: TokenOptError) -> None:
        """The provider refused the request."""
        assert self.call_no is not None  # it was asked
        self._refused, self.call_no = (self.call_no, problem), None

    def _begin(self, call: PreparedCall) -> None:
        own = self.conversations
        self.call = call
        self.call_no = own.tools.turns.begin(
            call.pack, fingerprint=call.fingerprint, usd_ceiling=call.assumptions.usd_ceiling, now=own.clock.now()
        )
        self.began_s = own.clock.monotonic_s()
