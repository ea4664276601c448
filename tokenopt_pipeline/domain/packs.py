"""Packs as they are planned, stored and asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.knowledge import NO_CONTEXT, CarriedContext
from tokenopt_pipeline.domain.languages import UNDETERMINED
from tokenopt_pipeline.domain.moves import Asks, Origin
from tokenopt_pipeline.domain.packing import PackableBlock, PackLimits, PlannedPack
from tokenopt_pipeline.domain.prefilter import BlockFacts
from tokenopt_pipeline.domain.routing import Route
from tokenopt_pipeline.domain.runs import Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannableBlock:
    """A block as planning sees it: no text."""

    facts: BlockFacts
    #: Counted by our tokenizer.
    tokens: int
    #: Equal for blocks that would be asked the same.
    content: str
    #: An identical block has an answer already.
    is_known: bool
    #: One of `languages.LANGUAGES`.
    language: str = UNDETERMINED


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBlock:
    """A kept block that is in no pack yet."""

    packable: PackableBlock
    type: BlockType
    #: One of `languages.LANGUAGES`.
    language: str = UNDETERMINED


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPack:
    """A pack to be stored."""

    planned: PlannedPack
    route: Route
    cache_ttl: str | None
    cache_reason: str
    limits: PackLimits
    #: Attempts each block had spoilt before, in the pack's order.
    attempts: tuple[int, ...]
    origin: Origin
    output_scale: int = 1
    parent_pack_no: int | None = None
    #: How many splits stand between this pack and its first ancestor.
    generation: int = 0
    context: CarriedContext = NO_CONTEXT
    #: Whether the model has tools while it answers.
    tools: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPack:
    """A stored pack that has not been answered."""

    pack_no: int
    shard: Shard
    route: Route
    cache_ttl: str | None
    cache_reason: str
    input_tokens: int
    output_tokens: int
    max_tokens: int
    output_scale: int
    generation: int
    origin: Origin
    #: Tries of its request so far, answered or not.
    tries: int
    context: CarriedContext = NO_CONTEXT
    #: Whether the model has tools while it answers.
    tools: bool = False

    @property
    def carried(self) -> CarriedContext:
        """What its request carries of the references."""
        return carried_by(self.origin, self.context)

    @property
    def converses(self) -> bool:
        """Whether its model has tools: a first pass only sorts blocks."""
        return self.tools and self.origin.asks is not Asks.CLASSIFICATION


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingAnswer:
    """A block's newest valid answer in the run, which was doubted and stands unless a better one comes."""

    call_no: int
    tier: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackMember:
    """A block of a pack, in the pack's order."""

    block_no: int
    ordinal: int
    type: BlockType
    text: str
    tokens: int
    attempts_before: int
    #: None: no answer of the block was doubted.
    standing: StandingAnswer | None = None


def carried_by(origin: Origin, context: CarriedContext) -> CarriedContext:
    """What a request carries of what its pack's blocks need: a first pass only sorts them, and needs no reference."""
    return NO_CONTEXT if origin.asks is Asks.CLASSIFICATION else context
