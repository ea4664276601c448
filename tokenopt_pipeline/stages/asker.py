"""Asker: how a pack is asked, plainly or in a conversation with tools. The one seam between a pack and its provider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tokenopt_pipeline.domain.asking import asked_of
from tokenopt_pipeline.domain.moves import Asks
from tokenopt_pipeline.domain.packs import OpenPack
from tokenopt_pipeline.domain.prompts import system_prompt
from tokenopt_pipeline.domain.requests import ModelResponse
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.ports import CallStore, Clock, Models, PackStore, Prices, Provider
from tokenopt_pipeline.stages.contexts import ContextTexts
from tokenopt_pipeline.stages.conversations import Conversations, Talk
from tokenopt_pipeline.stages.settle import PreparedCall, prepare_call, run_prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A call whose intent is stored, or a conversation whose dollars are reserved."""

    #: None: a conversation begins its calls itself.
    call_no: int | None
    talk: Talk | None
    #: Asks, in a thread of its own. Raises what a provider raises.
    complete: Callable[[], ModelResponse]


@dataclass(slots=True, kw_only=True)
class Asker:
    """Prepares the requests of one run and begins them."""

    run: Run
    provider: Provider
    packs: PackStore
    calls: CallStore
    models: Models
    prices: Prices
    clock: Clock
    texts: ContextTexts
    #: Conversations with tools; None: no pack of the run has tools.
    conversations: Conversations | None = None
    #: Model and what is asked, with whole references and tools or without -> fingerprint of the run's prefix.
    prefixes: dict[tuple[str, Asks, bool, bool], str] = field(default_factory=dict)

    def prepared(self, pack: OpenPack) -> PreparedCall:
        """The plain request of a pack."""
        return prepare_call(
            self.run,
            pack,
            self.packs.members(pack.pack_no),
            model=self.models.spec(pack.route.model),
            prices=self.prices,
            texts=self.texts,
        )

    def begin(self, call: PreparedCall) -> Begun:
        """Stores the intent. Raises BudgetExceeded or RunCancelled, with nothing written."""
        if call.pack.converses and self.conversations is not None:
            talk = self.conversations.talk(call, self.prepared)
            return Begun(call_no=None, talk=talk, complete=talk.complete)
        call_no = self.calls.begin(
            call.pack, fingerprint=call.fingerprint, usd_ceiling=call.assumptions.usd_ceiling, now=self.clock.now()
        )
        ask = partial(self.provider.complete, call.request, timeout_s=self.run.policy.calls.timeout_s)
        return Begun(call_no=call_no, talk=None, complete=ask)

    def prefix(self, pack: OpenPack) -> str:
        """Fingerprint of what the pack's request shares with others."""
        asks, context = pack.origin.asks, pack.carried
        name = (str(pack.route.model), asks, context.prefix_tokens > 0, pack.converses)
        if name not in self.prefixes:
            model = self.models.spec(pack.route.model)
            system = self.texts.system(system_prompt(asked_of(self.run, asks).form.asked), context)
            prefix = run_prefix(self.run, model, system, asks)
            if pack.converses and self.conversations is not None:
                prefix = self.conversations.prefix(model, system)
            self.prefixes[name] = prefix.fingerprint
        return self.prefixes[name]

    def go_on(self) -> None:
        """Lets conversations take further turns."""
        if self.conversations is not None:
            self.conversations.pausing.clear()

    def pause(self) -> None:
        """Stops conversations where they stand once their answers in flight are there."""
        if self.conversations is not None:
            self.conversations.pausing.set()
