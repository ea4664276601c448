"""Packing: which blocks share a request, so that input and output both fit, in document order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.packing_policy import PackingPolicy
from tokenopt_pipeline.domain.schemas import ExtractionSchema

# Starting estimate of one answer's length in tokens, from the worker this product replaces: a base, a share for every
# top-level property, and more for kinds of property that run long.
_BASE_TOKENS, _PROPERTY_TOKENS = 120, 40
_ARRAY_TOKENS, _OBJECT_TOKENS, _FREE_TEXT_TOKENS, _PROSE_TOKENS = 60, 80, 25, 140
_PROSE_WORDS = ("content", "summary", "analysis", "reason", "rewrite", "revised")
_MIN_OUTPUT_TOKENS = 512
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

    def answer_estimate(self, block_tokens: int) -> int:
        """Expected answer of a block of this many (guarded) tokens."""
        return min(self.answer_tokens + round(block_tokens * self.answer_per_block_token), self.output_budget_tokens)


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


def pack_limits(
    schema: ExtractionSchema,
    policy: PackingPolicy,
    model: ModelSpec,
    *,
    prefix_tokens: int,
    max_blocks: int | None = None,
) -> PackLimits:
    """The bounds for packs of this schema on this model. `prefix_tokens` is counted by our tokenizer.

    `max_blocks` lowers the block cap, for packs that are asked again.
    """
    cap = policy.pack_size if policy.enabled else 1
    if schema.is_text_heavy:
        cap = min(cap, policy.text_heavy_max_pack_size)
    if max_blocks is not None:
        cap = min(cap, max_blocks)
    output_budget = min(policy.max_output_tokens, model.max_output_tokens)
    window = min(policy.context_window_tokens, model.context_tokens)
    # A small model's window has no room for reserves that were meant for large ones. Below the output that a request may ask
    # for, a reserve would let input and output together pass the window.
    reserve = max(min(policy.output_reserve_tokens, window // 4), output_budget + model.thinking_reserve_tokens)
    overhead = min(policy.overhead_tokens, window // 16)
    fixed = reserve + overhead + model.guarded_tokens(prefix_tokens)
    return PackLimits(
        max_blocks=max(cap, 1),
        input_budget_tokens=max(window - fixed, _MIN_INPUT_TOKENS),
        output_budget_tokens=output_budget,
        answer_tokens=min(answer_tokens(schema, policy), output_budget),
        answer_per_block_token=1.0 if schema.repeats_block else 0.0,
    )


def plan_packs(
    blocks: Iterable[PackableBlock], limits: PackLimits, policy: PackingPolicy, model: ModelSpec
) -> Iterator[PlannedPack]:
    """Greedy next-fit in the given order: a pack is closed when the next block would break one of its limits.

    Every block ends in exactly one pack and the order is kept. A block too large for any pack stands alone, and the
    provider's limits decide. Same blocks, same packs.
    """
    pack: list[PackableBlock] = []
    used_input = used_output = 0
    for block in blocks:
        line = model.guarded_tokens(block.tokens + LINE_OVERHEAD_TOKENS)
        answer = limits.answer_estimate(model.guarded_tokens(block.tokens))
        full = (
            len(pack) == limits.max_blocks
            or used_input + line > limits.input_budget_tokens
            or used_output + answer > limits.output_budget_tokens
        )
        if pack and full:
            yield _planned(pack, used_input, used_output, limits, policy)
            pack, used_input, used_output = [], 0, 0
        pack.append(block)
        used_input += line
        used_output += answer
    if pack:
        yield _planned(pack, used_input, used_output, limits, policy)


def _planned(
    pack: list[PackableBlock], used_input: int, used_output: int, limits: PackLimits, policy: PackingPolicy
) -> PlannedPack:
    floor = policy.single_block_output_tokens if len(pack) == 1 else _MIN_OUTPUT_TOKENS
    return PlannedPack(
        blocks=tuple(pack),
        input_tokens=used_input,
        output_tokens=used_output,
        max_tokens=min(limits.output_budget_tokens, max(used_output, floor)),
    )
