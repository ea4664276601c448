"""Room: which model of a tier a block fits into. The one place that decides it, for plans and for runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter

from tokenopt_pipeline.domain.fallbacks import Obstacle
from tokenopt_pipeline.domain.moves import Asks, Hindered, Move, usable
from tokenopt_pipeline.domain.packing import PackableBlock, too_large
from tokenopt_pipeline.domain.routing import RoutingPolicy, parse_model_ref
from tokenopt_pipeline.ports import Models

_tokens = attrgetter("tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Finds models with room."""

    routing: RoutingPolicy
    models: Models
    hindered: Hindered
    #: What is asked -> our tokenizer's count of its system prompt and output schema.
    prompts: Mapping[Asks, int]

    def parted(
        self, move: Move, blocks: Iterable[PackableBlock]
    ) -> tuple[dict[Move, list[PackableBlock]], dict[int, str]]:
        """(The move to each model of the tier that is the first with room -> its blocks, number of a block that fits into
        none -> why it is not asked)."""
        blocks = list(blocks)
        # Where the longest has room, all have.
        if not blocks or self._of(move, max(blocks, key=_tokens)) == (move, None):
            return {move: blocks} if blocks else {}, {}
        placed: dict[Move, list[PackableBlock]] = {}
        refused: dict[int, str] = {}
        for block in blocks:
            found, problem = self._of(move, block)
            if problem is None:
                placed.setdefault(found, []).append(block)
            else:
                refused[block.block_no] = problem
        return placed, refused

    def _of(self, move: Move, block: PackableBlock) -> tuple[Move, str | None]:
        asks = move.origin.asks
        problem = self._problem(str(move.route.model), block, asks)
        if problem is None:
            return move, None

        def lacks_room(model: str) -> Obstacle | None:
            return Obstacle.OVER_LIMITS if self._problem(model, block, asks) else self.hindered(model)

        elsewhere = usable(self.routing, move, lacks_room)
        return elsewhere, problem if elsewhere == move else None

    def _problem(self, model: str, block: PackableBlock, asks: Asks) -> str | None:
        return too_large(block, self.models.spec(parse_model_ref(model)), prefix_tokens=self.prompts[asks])
