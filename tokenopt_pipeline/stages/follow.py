"""Follow: what an answer leads to under the run's routing, as packs that ask somebody else or an earlier answer that stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tokenopt_pipeline.domain.asking import asked_of
from tokenopt_pipeline.domain.calls import AnsweredCall
from tokenopt_pipeline.domain.consequences import Consequence, consequences_of, unaffordable
from tokenopt_pipeline.domain.errors import (
    BudgetExceeded,
    ModelUnknown,
    RateLimited,
    SpendLimitReached,
    TokenOptError,
    TransientError,
)
from tokenopt_pipeline.domain.fallbacks import Obstacle
from tokenopt_pipeline.domain.moves import Asks, Move, fallback, to_fallback
from tokenopt_pipeline.domain.packing import PackableBlock, plan_packs
from tokenopt_pipeline.domain.packs import NewPack, OpenPack, PackMember, carried_by
from tokenopt_pipeline.domain.retries import Again, NextStep, failed_instead, refusal_to_ask_again
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.ports import AnswerValidators, CallStore, Clock, Models, PackStore, Prices
from tokenopt_pipeline.stages.prepare import limits_on, unpriced
from tokenopt_pipeline.stages.settle import again_packs
from tokenopt_pipeline.stages.sharing import Sharing, plan_run_cache

# A prefix is marked for caching when it is used again. How often blocks move is not known before they have; one write in vain
# costs a quarter of a prefix, and none where there should be one nine tenths of every further prefix.
_FEWEST_REQUESTS = 2


@dataclass(slots=True, kw_only=True)
class Follower:
    """What follows the answers of one run."""

    run: Run
    models: Models
    prices: Prices
    packs: PackStore
    calls: CallStore
    clock: Clock
    #: Model -> why it is not asked any more, as far as this process has found out.
    down: dict[str, Obstacle] = field(default_factory=dict)

    def hindered(self, model: str) -> Obstacle | None:
        """Why the model cannot be asked; None when it can."""
        return self.down.get(model) or unpriced(self.run.policy, self.prices)(model)

    def follow(self, call: AnsweredCall) -> AnsweredCall:
        """The call with what follows for each of its blocks, and the packs that this takes."""
        call = self._within_bound(call)
        asked = asked_of(self.run, call.pack.origin.asks)
        found = consequences_of(
            self.run.policy.routing,
            asked.schema,
            call.pack,
            call.members,
            call.answer.outputs,
            again=frozenset(b for group in call.next_step.again for b in group.block_nos),
            hindered=self.hindered,
        )
        moved = {block_no for block_no, c in found.items() if c.move is not None}
        step = _without(call.next_step, moved)
        model = self.models.spec(call.pack.route.model)
        again = again_packs(self.run, call.pack, call.members, step, model=model, seen_tokens=call.seen_tokens)
        return replace(
            call, next_step=step, again=[*again, *self._moved(call.pack, call.members, found)], consequences=found
        )

    def _within_bound(self, call: AnsweredCall) -> AnsweredCall:
        """The call, asking nothing again when that has cost the run too much already."""
        if not call.next_step.again:
            return call
        refusal = refusal_to_ask_again(self.run.policy.retries, self.calls.asked_again(self.run.run_no))
        if refusal is None:
            return call
        outputs = {m.block_no: output for m, output in zip(call.members, call.answer.outputs, strict=True)}
        stopped = {block_no for group in call.next_step.again for block_no in group.block_nos}
        said = tuple(
            replace(output, detail=f"{output.detail}; {refusal}") if block_no in stopped else output
            for block_no, output in outputs.items()
        )
        step = failed_instead(call.next_step, {block_no: output.finding for block_no, output in outputs.items()})
        return replace(call, next_step=step, answer=replace(call.answer, outputs=said))

    def goes_around(self, pack: OpenPack) -> bool:
        """Whether the pack's model is known not to answer, and the next one is asked instead."""
        down = self.down.get(str(pack.route.model))
        return down is not None and self.go_around(pack, down)

    def go_around(self, pack: OpenPack, obstacle: Obstacle) -> bool:
        """Whether there is a next model for the pack, which is then asked instead."""
        step = fallback(self.run.policy.routing, pack.route, obstacle, self.hindered)
        move = to_fallback(pack.route, pack.origin, step=step, obstacle=obstacle)
        if move is None:
            return False
        members = self.packs.members(pack.pack_no)
        attempts = {m.block_no: m.attempts_before for m in members}
        instead = self._packs(pack, members, move, attempts, output_scale=pack.output_scale)
        self.calls.leave(pack, instead=instead, chosen={}, now=self.clock.now())
        return True

    def without(self, packs: Sequence[OpenPack], problem: BudgetExceeded) -> None:
        """Lets earlier answers stand for packs that the budget has no room for, which are settled then.

        Raises the problem when a block has no earlier answer.
        """
        stuck = 0
        for pack in packs:
            members = self.packs.members(pack.pack_no)
            found = {m.block_no: unaffordable(m, pack, str(problem)) for m in members}
            chosen = {block_no: choice for block_no, choice in found.items() if choice is not None}
            if len(chosen) < len(found):
                stuck += 1
                continue
            self.calls.leave(pack, instead=[], chosen=chosen, now=self.clock.now())
        if stuck:
            raise problem

    def _moved(self, pack: OpenPack, members: Sequence[PackMember], found: Mapping[int, Consequence]) -> list[NewPack]:
        groups: dict[Move, list[PackMember]] = {}
        for member in members:
            move = found[member.block_no].move
            if move is not None:
                groups.setdefault(move, []).append(member)
        # Another model has attempts of its own.
        return [new for move, some in groups.items() for new in self._packs(pack, some, move, {}, output_scale=1)]

    def _packs(
        self,
        parent: OpenPack,
        members: Sequence[PackMember],
        move: Move,
        attempts: Mapping[int, int],
        *,
        output_scale: int,
    ) -> list[NewPack]:
        run, policy = self.run, self.run.policy
        asked, model = asked_of(run, move.origin.asks), self.models.spec(move.route.model)
        limits = limits_on(
            asked.schema,
            policy,
            model,
            self.prices,
            prefix_tokens=asked.widest_prefix_tokens,
            tier=move.route.tier,
            lengths=asked.lengths(run, model),
        )
        blocks = [PackableBlock(block_no=m.block_no, ordinal=m.ordinal, tokens=m.tokens, type=m.type) for m in members]
        requests = max(_FEWEST_REQUESTS, run.n_shards)
        cache = plan_run_cache(
            policy,
            model,
            self.prices,
            Sharing(requests=requests, of_all=requests, mode=run.mode),
            prefix_tokens=asked.prompt_tokens + carried_by(move.origin, parent.context).prefix_tokens,
        )
        return [
            NewPack(
                planned=replace(
                    planned, max_tokens=min(planned.max_tokens * output_scale, limits.output_budget_tokens)
                ),
                route=move.route,
                origin=move.origin,
                cache_ttl=cache.ttl,
                cache_reason=cache.reason,
                limits=limits,
                attempts=tuple(attempts.get(b.block_no, 0) for b in planned.blocks),
                output_scale=output_scale,
                parent_pack_no=parent.pack_no,
                generation=parent.generation,
                # What the blocks need does not depend on who is asked.
                context=parent.context,
                tools=parent.tools,
            )
            for planned in plan_packs(blocks, limits, policy.packing, model)
        ]


def violations_of(
    run: Run, validators: AnswerValidators
) -> Mapping[Asks, Callable[[Mapping[str, object]], str | None]]:
    """What is asked -> what says what is wrong with one block's values."""
    return {
        asks: validators.violation_of(asked_of(run, asks).schema)
        for asks in Asks
        if asks is not Asks.CLASSIFICATION or run.classification_tokens
    }


def obstacle_of(problem: TokenOptError) -> Obstacle | None:
    """What a failed try says of its model once trying has ended; None where no other model would help."""
    if isinstance(problem, RateLimited | SpendLimitReached):
        return Obstacle.OVER_LIMITS
    if isinstance(problem, ModelUnknown):
        return Obstacle.UNKNOWN
    return Obstacle.UNAVAILABLE if isinstance(problem, TransientError) else None


def _without(step: NextStep, moved: set[int]) -> NextStep:
    """The step for the blocks that are not asked elsewhere."""
    kept = [
        Again(block_nos=tuple(b for b in group.block_nos if b not in moved), output_scale=group.output_scale)
        for group in step.again
    ]
    return replace(
        step,
        done=tuple(b for b in step.done if b not in moved),
        again=tuple(group for group in kept if group.block_nos),
        failed=tuple((b, finding) for b, finding in step.failed if b not in moved),
    )
