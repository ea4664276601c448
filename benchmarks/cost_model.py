"""The cost model: what a workload is billed, packed or one block per call, when answers turn out as long as they do.

No provider is asked. Packs are planned by the product's own planner; every call is billed at list price; an answer that does
not fit into max_tokens is cut there, its complete part counts, and the rest is asked again in the packs that the product would
make of it. What caching saves is counted for both sides.
"""

from __future__ import annotations

import random  # noqa: TID251 - seeded: the same workloads every time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.domain.answer_lengths import AnswerLength, AnswerSample, learn_lengths
from tokenopt_pipeline.domain.caching import AUTOMATIC, LONG, SHORT, request_in_output_tokens
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.packing import LINE_OVERHEAD_TOKENS, PackableBlock, PlannedPack, pack_limits, plan_packs
from tokenopt_pipeline.domain.policy import Policy, resolve
from tokenopt_pipeline.domain.price_cliffs import price_cliff
from tokenopt_pipeline.domain.routing import ModelRef, parse_model_ref
from tokenopt_pipeline.domain.schemas import ExtractionSchema, parse_schema
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.stages.sharing import Sharing, plan_run_cache

MODELS = {
    "small": ("anthropic/claude-haiku-5-5", "openai/gpt-6-luna", "google/gemini-3.1-flash-lite"),
    "mid": ("anthropic/claude-sonnet-4-5", "anthropic/claude-sonnet-5-5", "openai/gpt-5.4-mini"),
    "large": ("anthropic/claude-opus-5-5", "openai/gpt-6.1-sol", "google/gemini-3.1-pro-preview"),
}
# `{"results":[]}` around the entries, and `{"n":12,` of each.
_ENVELOPE_TOKENS, _ORDINAL_TOKENS = 4, 3
_CLASSES = ("input_uncached", "cache_write_5m", "cache_write_1h", "cache_read", "output")


class _Prices(ListPrices):
    """List prices, asked of the library once per class below a model's price step."""

    def __init__(self) -> None:
        super().__init__()
        self._steps: dict[ModelRef, int | None] = {}
        self._rates: dict[ModelRef, dict[str, Decimal]] = {}

    def step(self, model: ModelSpec) -> int | None:
        if model.ref not in self._steps:
            self._steps[model.ref] = price_cliff(partial(super().usd, model.ref), most=model.context_tokens)
        return self._steps[model.ref]

    def usd(self, model: ModelRef, usage: TokenUsage) -> Decimal | None:
        step = self._steps.get(model)
        if model not in self._steps or (step is not None and usage.input_total > step):
            return super().usd(model, usage)
        if model not in self._rates:
            sampled = {name: super(_Prices, self).usd(model, TokenUsage(**{name: 1_000})) for name in _CLASSES}
            self._rates[model] = {name: (amount or Decimal(0)) / 1_000 for name, amount in sampled.items()}
        return sum((rate * getattr(usage, name) for name, rate in self._rates[model].items()), Decimal(0))


PRICES = _Prices()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Blocks, what asking about them takes, and how long their answers turn out."""

    tier: str
    model: ModelSpec
    policy: Policy
    schema: ExtractionSchema
    prefix_tokens: int
    blocks: tuple[PackableBlock, ...]
    #: Block number -> tokens of its answer.
    answers: Mapping[int, int]
    #: What earlier answers of the same kind have taught.
    learned: Mapping[str, AnswerLength]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a workload was billed."""

    usd: Decimal
    calls: int
    output_tokens: int
    #: Blocks whose answer was cut even alone.
    failed: int


def random_workload(seed: int) -> Workload:
    """A workload, the same for the same seed: any tier, any prefix, short and long blocks, skewed answers, learnt lengths."""
    chance = random.Random(seed)
    tier = chance.choice(sorted(MODELS))
    model = ModelTable().spec(parse_model_ref(chance.choice(MODELS[tier])))
    policy = resolve(
        [
            (
                "workload",
                {
                    "packing": {
                        "pack_size": chance.randint(1, 40),
                        "max_output_tokens": chance.choice([2_048, 8_192, 32_000]),
                        "overflow_probability": chance.choice([0.001, 0.01, 0.05]),
                    },
                    "caching": {"enabled": chance.random() < 0.7},
                },
            )
        ]
    ).policy
    typical, skew, longest = chance.uniform(15, 500), chance.uniform(0.1, 0.7), chance.choice([300, 3_000])

    def answer(block_type: str) -> int:
        return max(round(typical * (2 if block_type == "table" else 1) * chance.lognormvariate(0, skew)), 4)

    def block(n: int) -> PackableBlock:
        kind = "table" if chance.random() < 0.2 else "paragraph"
        return PackableBlock(block_no=n, ordinal=n, tokens=chance.randint(5, longest), type=kind)

    blocks = tuple(block(n) for n in range(chance.randint(1, 60)))
    seen = [
        AnswerSample(block_type=b.type, block_tokens=b.tokens, answer_tokens=answer(b.type))
        for b in (block(n) for n in range(300))
    ]
    properties = {f"field_{i}": {"type": "string"} for i in range(chance.randint(1, 8))}
    return Workload(
        tier=tier,
        model=model,
        policy=policy,
        schema=parse_schema({"type": "object", "properties": properties}, name="workload"),
        prefix_tokens=round(50 * 10 ** chance.uniform(0, 2.8)),
        blocks=blocks,
        answers={b.block_no: answer(b.type) for b in blocks},
        learned=learn_lengths(seen, overflow_probability=policy.packing.overflow_probability),
    )


def bill(work: Workload, *, packed: bool) -> Bill:
    """What the workload is billed, in packs or with every block alone."""
    packs = _packs(work, work.blocks, max_blocks=None if packed else 1)
    cache = plan_run_cache(
        work.policy,
        work.model,
        PRICES,
        Sharing(requests=len(packs), of_all=len(packs), mode="sync"),
        prefix_tokens=work.prefix_tokens,
    )
    usd, calls, output, failed = Decimal(0), 0, 0, 0
    waiting = packs
    while waiting:
        pack = waiting.pop(0)
        written = _ENVELOPE_TOKENS
        cut: list[PackableBlock] = []
        longest = 0
        for block in pack.blocks:
            length = work.answers[block.block_no] + _ORDINAL_TOKENS
            if cut or written + length > pack.max_tokens:
                longest = max(longest, 0 if cut else pack.max_tokens - written)
                cut.append(block)
            else:
                written, longest = written + length, max(longest, length)
        billed = pack.max_tokens if cut else written
        price = PRICES.usd(work.model.ref, _usage(work, pack, billed, cache.ttl, is_first=calls == 0))
        assert price is not None
        usd, calls, output = usd + price, calls + 1, output + billed
        if cut and len(pack.blocks) == 1:
            failed += 1
        elif cut:
            half = -(-len(pack.blocks) // 2)
            for first in range(0, len(cut), half):
                waiting += _packs(work, cut[first : first + half], max_blocks=half, seen_tokens=longest)
    return Bill(usd=usd, calls=calls, output_tokens=output, failed=failed)


def _packs(
    work: Workload, blocks: Sequence[PackableBlock], *, max_blocks: int | None, seen_tokens: int = 0
) -> list[PlannedPack]:
    usd = partial(PRICES.usd, work.model.ref)
    limits = pack_limits(
        work.schema,
        work.policy.packing,
        work.model,
        prefix_tokens=work.prefix_tokens,
        tier=work.tier,
        max_blocks=max_blocks,
        cliff_tokens=PRICES.step(work.model),
        learned=work.learned,
        saved_tokens=request_in_output_tokens(work.policy.caching, work.model, usd, prefix_tokens=work.prefix_tokens),
        seen_tokens=seen_tokens,
    )
    return plan_packs(blocks, limits, work.policy.packing, work.model)


def _usage(work: Workload, pack: PlannedPack, output: int, ttl: str | None, *, is_first: bool) -> TokenUsage:
    model = work.model
    shared = model.billed_tokens(work.prefix_tokens) + model.request_overhead_tokens
    lines = sum(model.billed_tokens(block.tokens + LINE_OVERHEAD_TOKENS) for block in pack.blocks)
    if ttl is None or (ttl == AUTOMATIC and is_first):
        return TokenUsage(input_uncached=shared + lines, output=output)
    if not is_first:
        return TokenUsage(input_uncached=lines, cache_read=shared, output=output)
    written = {SHORT: "cache_write_5m", LONG: "cache_write_1h"}[ttl]
    return TokenUsage(input_uncached=lines, output=output, **{written: shared})
