"""Packing: which blocks share a request, so that input and output both fit and no pack is dearer than its blocks alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenopt_pipeline.domain.answer_lengths import ANY_TYPE, ENVELOPE_TOKENS, AnswerLength, LengthSum
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.packing_policy import PackingPolicy
from tokenopt_pipeline.domain.schemas import ExtractionSchema

# Starting estimate of one answer's length in tokens, from the worker this product replaces: a base, a share for every
# top-level property, and more for kinds of property that run long.
_BASE_TOKENS, _PROPERTY_TOKENS = 120, 40
_ARRAY_TOKENS, _OBJECT_TOKENS, _FREE_TEXT_TOKENS, _PROSE_TOKENS = 60, 80, 25, 140
_PROSE_WORDS = ("content", "summary", "analysis", "reason", "rewrite", "revised")
_MIN_OUTPUT_TOKENS = 512
# A cut answer is paid for and lost, room that is not used costs nothing. So answers get a quarter more than they rarely
# exceed, and up to four times that quarter where a request less saves little beside an answer: with less, a few of a thousand
# workloads of `benchmarks/cost_model.py` are dearer in packs.
_ROOM, _MOST_ROOM = 0.25, 4.0
_MIN_INPUT_TOKENS = 512
#: Our tokenizer's count of the JSON line around one block's text.
LINE_OVERHEAD_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PackableBlock:
    """What packing needs to know of a kept block."""

    block_no: int
    #: Position in the run, in document order.
    ordinal: int
    #: Counted by our tokenizer.
    tokens: int
    #: One of the 17 block types, which answers may differ by.
    type: str = ANY_TYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class PackLimits:
    """The bounds a pack is sized with; stored beside every call, so that assumption and fact can be compared."""

    max_blocks: int
    #: Guarded tokens of blocks that fit beside prefix, reserve and overhead.
    input_budget_tokens: int
    #: Tokens of all answers together.
    output_budget_tokens: int
    #: Expected answer of one block, without what depends on its own length.
    answer_tokens: int
    #: Expected answer tokens per token of the block itself: 1.0 when the schema repeats the block, else 0.0.
    answer_per_block_token: float
    #: Why a pack may not have more blocks.
    cap_reason: str = "the policy's packing.pack_size"
    #: Why a pack may not have more input.
    input_reason: str = "of the model's window"
    #: What one request less saves, in tokens of output at the model's prices.
    saved_tokens: float = math.inf
    #: Block type -> what answers have shown, which goes before the two estimates above.
    learned: Mapping[str, AnswerLength] = field(default_factory=dict)

    def answer_estimate(self, block_tokens: int) -> int:
        """Expected answer of a block of this many (guarded) tokens while no answer was seen; an upper estimate."""
        return min(self.answer_tokens + round(block_tokens * self.answer_per_block_token), self.output_budget_tokens)

    def answer(self, block: PackableBlock, model: ModelSpec) -> tuple[float, float]:
        """(expected tokens of the block's answer, tokens above that which it rarely exceeds)."""
        length = self.learned.get(block.type) or self.learned.get(ANY_TYPE)
        if length is None:
            return float(self.answer_estimate(model.guarded_tokens(block.tokens))), 0.0
        expected = min(length.expected(block.tokens), float(self.output_budget_tokens))
        return expected, min(expected * length.margin, self.output_budget_tokens - expected)

    @property
    def room(self) -> float:
        """How many times what they rarely exceed the answers of a pack may become before they are cut."""
        if not self.learned:
            return 1.0
        longest = max(length.base for length in self.learned.values())
        return 1 + _ROOM * min(max(longest / max(self.saved_tokens, 1.0), 1.0), _MOST_ROOM)

    def document(self) -> dict[str, Any]:
        """As JSON values, without what the run keeps for all packs."""
        told = {name: getattr(self, name) for name in self.__slots__ if name != "learned"}
        return {**told, "saved_tokens": None if math.isinf(self.saved_tokens) else round(self.saved_tokens, 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPack:
    """Blocks that share one request, in document order, and what is assumed of it."""

    blocks: tuple[PackableBlock, ...]
    #: Guarded tokens of the blocks' lines.
    input_tokens: int
    #: Expected answer tokens of all blocks.
    output_tokens: int
    #: The request's max_tokens.
    max_tokens: int
    #: Tokens that the answers rarely exceed; what is expected as long as no answer was seen.
    bound_tokens: int = 0
    #: One sentence: why these blocks and no more.
    reason: str = ""


def answer_tokens(schema: ExtractionSchema, policy: PackingPolicy) -> int:
    """Expected tokens of one block's answer, from the schema's top-level properties alone."""
    total = _BASE_TOKENS + _PROPERTY_TOKENS * len(schema.properties)
    for name, fragment in schema.properties.items():
        kind = fragment.get("type") if isinstance(fragment, Mapping) else None
        kinds = set(kind) if isinstance(kind, list) else {kind}
        if "array" in kinds:
            total += _ARRAY_TOKENS
        elif "object" in kinds:
            total += _OBJECT_TOKENS
        elif "string" in kinds and isinstance(fragment, Mapping) and "enum" not in fragment:
            total += _FREE_TEXT_TOKENS
        if any(word in name.lower() for word in _PROSE_WORDS):
            total += _PROSE_TOKENS
    return min(max(total, policy.per_block_output_tokens), policy.max_output_tokens)


def too_large(block: PackableBlock, model: ModelSpec, *, prefix_tokens: int) -> str | None:
    """Why no request about the block can fit into the model's context, in one sentence; None while one may."""
    line = model.billed_tokens(block.tokens + LINE_OVERHEAD_TOKENS)
    needed = line + model.billed_tokens(prefix_tokens) + model.request_overhead_tokens
    if needed < model.context_tokens:
        return None
    return (
        f"the block and what stands before it take about {needed:,} tokens, and {model.ref} takes {model.context_tokens:,}; "
        "it was not asked"
    )


def pack_limits(
    schema: ExtractionSchema,
    policy: PackingPolicy,
    model: ModelSpec,
    *,
    prefix_tokens: int,
    tier: str | None = None,
    max_blocks: int | None = None,
    cliff_tokens: int | None = None,
    learned: Mapping[str, AnswerLength] | None = None,
    saved_tokens: float = math.inf,
    seen_tokens: int = 0,
) -> PackLimits:
    """The bounds for packs of this schema on this model. `prefix_tokens` is counted by our tokenizer.

    `tier` has a quality cap. For packs that are asked again, `max_blocks` lowers the block cap and `seen_tokens` says how long
    one answer was seen to be. No pack passes `cliff_tokens` of input (`price_cliff`) unless the prefix does so by itself.
    """
    cap, reason = (policy.pack_size, "the policy's packing.pack_size") if policy.enabled else (1, "packing is off")
    caps = [(policy.quality_cap(tier), f"the quality cap of tier {tier}")] if tier is not None else []
    if schema.is_text_heavy and not learned:
        # Estimates are least reliable there; lengths that were learnt need no such cap.
        caps.append((policy.text_heavy_max_pack_size, "the cap of schemas that ask for prose"))
    caps += [(max(max_blocks, 1), "the split of a pack that was not answered whole")] if max_blocks is not None else []
    for other, why in caps:
        if other < cap:
            cap, reason = other, why
    output_budget = min(policy.max_output_tokens, model.max_output_tokens)
    window = min(policy.context_window_tokens, model.context_tokens)
    # A small model's window has no room for reserves that were meant for large ones. Below the output that a request may ask
    # for, a reserve would let input and output together pass the window.
    reserve = max(min(policy.output_reserve_tokens, window // 4), output_budget + model.thinking_reserve_tokens)
    overhead = min(policy.overhead_tokens, window // 16)
    prefix = model.guarded_tokens(prefix_tokens)
    input_budget, input_reason = max(window - reserve - overhead - prefix, _MIN_INPUT_TOKENS), "of the model's window"
    if cliff_tokens is not None:
        below = cliff_tokens - prefix - model.request_overhead_tokens
        if 0 < below < input_budget:
            input_budget, input_reason = below, f"below the price step at {cliff_tokens:,} tokens"
    return PackLimits(
        max_blocks=cap,
        input_budget_tokens=input_budget,
        output_budget_tokens=output_budget,
        answer_tokens=min(max(answer_tokens(schema, policy), seen_tokens), output_budget),
        answer_per_block_token=1.0 if schema.repeats_block else 0.0,
        cap_reason=reason,
        input_reason=input_reason,
        saved_tokens=saved_tokens,
        # What one answer of the very pack has shown goes before what others have.
        learned={} if seen_tokens else (learned or {}),
    )


def plan_packs(
    blocks: Iterable[PackableBlock], limits: PackLimits, policy: PackingPolicy, model: ModelSpec
) -> list[PlannedPack]:
    """Packs under all limits, every block in exactly one, in document order inside each. Same blocks, same packs.

    Next-fit in the given order: a pack is closed when the next block would break one of its limits. When that is a limit of
    tokens, blocks of similar expected answers are put together instead, if that makes fewer packs. A block too large for any
    pack stands alone.
    """
    given = list(blocks)
    sizes = _sizes(given, limits, model)
    packs, is_bound_by_tokens = _next_fit(given, sizes, limits, policy, "in document order")
    if not is_bound_by_tokens or len(packs) < 2:
        return packs
    by_length = sorted(given, key=lambda b: (-sizes[b.type, b.tokens].expected, b.tokens, b.ordinal))
    why = f"of similar expected answers, which makes fewer packs than the {len(packs)} of document order"
    others, _ = _next_fit(by_length, sizes, limits, policy, why)
    return sorted(others, key=lambda p: p.blocks[0].ordinal) if len(others) < len(packs) else packs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """What a block takes of a pack's limits."""

    #: Guarded tokens of its line.
    line: int
    #: Tokens of its answer.
    expected: float
    #: Tokens above that which the answer rarely exceeds.
    margin: float


def _sizes(blocks: Iterable[PackableBlock], limits: PackLimits, model: ModelSpec) -> Mapping[tuple[str, int], _Size]:
    """Block type and tokens -> size; many blocks share it."""
    sizes: dict[tuple[str, int], _Size] = {}
    for block in blocks:
        key = (block.type, block.tokens)
        if key not in sizes:
            expected, margin = limits.answer(block, model)
            line = model.guarded_tokens(block.tokens + LINE_OVERHEAD_TOKENS)
            sizes[key] = _Size(line=line, expected=expected, margin=margin)
    return sizes


@dataclass(slots=True)
class _OpenPack:
    """A pack that more blocks may still join."""

    blocks: list[PackableBlock] = field(default_factory=list)
    input_tokens: int = 0
    answers: LengthSum = field(default_factory=LengthSum)

    def add(self, block: PackableBlock, size: _Size) -> None:
        self.blocks.append(block)
        self.input_tokens += size.line
        self.answers.add(size.expected, size.margin)

    def limit(self, limits: PackLimits, room: float, size: _Size) -> str | None:
        """Why another block may not join; None when it may. `room`: the limits' own."""
        if len(self.blocks) == limits.max_blocks:
            return f"more is not allowed by {limits.cap_reason}"
        if self.input_tokens + size.line > limits.input_budget_tokens:
            return f"the next would pass the {limits.input_budget_tokens:,} tokens of input {limits.input_reason}"
        if self.answers.bound_with(size.expected, size.margin) * room > limits.output_budget_tokens:
            return f"the next answer could pass the {limits.output_budget_tokens:,} tokens of output"
        return None


def _next_fit(
    blocks: Sequence[PackableBlock],
    sizes: Mapping[tuple[str, int], _Size],
    limits: PackLimits,
    policy: PackingPolicy,
    order: str,
) -> tuple[list[PlannedPack], bool]:
    """The packs, and whether some limit of tokens closed one."""
    packs: list[PlannedPack] = []
    pack = _OpenPack()
    room = limits.room
    is_bound_by_tokens = False
    for block in blocks:
        size = sizes[block.type, block.tokens]
        limit = pack.limit(limits, room, size) if pack.blocks else None
        if limit is not None:
            is_bound_by_tokens = is_bound_by_tokens or len(pack.blocks) < limits.max_blocks
            packs.append(_planned(pack, limits, policy, f"{order}; {limit}"))
            pack = _OpenPack()
        pack.add(block, size)
    if pack.blocks:
        packs.append(_planned(pack, limits, policy, f"{order}; no block was left"))
    return packs, is_bound_by_tokens


def _planned(pack: _OpenPack, limits: PackLimits, policy: PackingPolicy, why: str) -> PlannedPack:
    n = len(pack.blocks)
    floor = policy.single_block_output_tokens if n == 1 else _MIN_OUTPUT_TOKENS
    expected, bound = round(pack.answers.expected), math.ceil(pack.answers.bound)
    source = "estimated from the schema"
    if limits.learned:
        expected, bound = expected + ENVELOPE_TOKENS, bound + ENVELOPE_TOKENS
        source = (
            f"rarely above {bound:,}, learnt from {max(each.answers for each in limits.learned.values()):,} answers"
        )
    return PlannedPack(
        blocks=tuple(sorted(pack.blocks, key=lambda block: block.ordinal)),
        input_tokens=pack.input_tokens,
        output_tokens=expected,
        max_tokens=min(limits.output_budget_tokens, max(math.ceil(bound * limits.room), floor)),
        bound_tokens=bound,
        reason=f"{n} block{'s' if n > 1 else ''} {why}. Answers of about {expected:,} tokens are expected, {source}.",
    )
