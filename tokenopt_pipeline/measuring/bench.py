"""A benchmark: which cells, in which order, and their measurements read from what the cells' processes printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tokenopt_pipeline.domain.errors import InvalidInput, NotFound
from tokenopt_pipeline.domain.fingerprints import digest_text
from tokenopt_pipeline.domain.measurements import BASELINE, BlockOutcome, Cell, CellKey
from tokenopt_pipeline.measuring.cell import CellOrder
from tokenopt_pipeline.measuring.recorded import Recording, lines_of
from tokenopt_pipeline.measuring.scenarios import SCENARIOS, TIERS
from tokenopt_pipeline.measuring.stand import Stand, open_stand
from tokenopt_pipeline.measuring.workloads import WORKLOADS, load_workload

#: Blocks of a workload unless somebody asks for more: enough to show a share of one in a hundred, few enough for every night.
DEFAULT_BLOCKS: Mapping[str, int] = {
    "reference": 200,
    "short_29": 29,
    "peer_shape": 100,
    "rules": 60,
    "shipped": 100,
    "cuad": 150,
    "contract_nli": 100,
    "style": 60,
    "guide": 60,
    "sroie": 150,
    "bfcl": 351,
    "rte_packs": 269,
}
#: Where the growth of cost with blocks is measured.
GROWTH = tuple(
    CellKey(workload="reference", scenario=scenario, blocks=blocks)
    for scenario in (BASELINE, "prompt_caching", "worker_batching", "everything")
    for blocks in (25, 50, 100, 200)
)
#: Where every tier is taken out of `everything`; of what is recorded, the tiers that were.
_ABLATED: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("reference", "rules", "shipped"), tuple(tier.name for tier in TIERS)),
    "bfcl": ("routing", "escalation"),
}
ABLATION = tuple(
    CellKey(workload=workload, scenario=f"everything_without_{name}", blocks=DEFAULT_BLOCKS[workload])
    for workload, names in _ABLATED.items()
    for name in names
)
#: Scenarios for which it makes a difference that prompts have been seen before.
_CACHING = ("prompt_caching", "everything")


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Where workloads have their documents from."""

    #: The demo collection's folder.
    shipped: Path
    #: The real documents' folder; None: they are not on this machine.
    data: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What is to be measured, and how."""

    keys: tuple[CellKey, ...]
    repeats: int = 1
    #: Workload -> how often its cells run instead.
    repeats_of: Mapping[str, int] = field(default_factory=dict)
    #: Shuffles the order of cells.
    seed: int = 0
    #: Dollars that live cells may spend together; None: the sandbox answers.
    live_budget_usd: Decimal | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a benchmark measured."""

    cells: tuple[Cell, ...]
    #: Workload -> whether people marked its blocks as carrying an answer.
    marks: Mapping[str, Sequence[bool | None]]
    #: Workload -> where its documents are from, or why there are none.
    sources: Mapping[str, str]


def keys_for(scenarios: Sequence[str], workloads: Sequence[str], blocks: int | None) -> tuple[CellKey, ...]:
    """The cells of every scenario on every workload, cold, and warm where that makes a difference. Raises InvalidInput."""
    for names, known, what in ((scenarios, tuple(SCENARIOS), "scenario"), (workloads, WORKLOADS, "workload")):
        if unknown := next((name for name in names if name not in known), None):
            raise InvalidInput(f"{what} {unknown!r} is none of {', '.join(known)}")
    return tuple(
        CellKey(workload=workload, scenario=scenario, blocks=blocks or DEFAULT_BLOCKS[workload], cache=cache)
        for workload in workloads
        for scenario in dict.fromkeys([BASELINE, *scenarios])
        for cache in (("cold", "warm") if scenario in _CACHING else ("cold",))
    )


def run_benchmark(
    benchmark: Benchmark, documents: Documents, *, told: Callable[[str], None] = lambda line: None
) -> Measured:
    """Measures every cell in an order that only the seed decides. A workload without documents is left out and named."""
    marks: dict[str, list[bool | None]] = {}
    sources: dict[str, str] = {}
    lengths: dict[str, int] = {}
    recordings: list[Recording] = []
    recorded_tiers: dict[str, frozenset[str]] = {}
    for name in sorted({key.workload for key in benchmark.keys}):
        try:
            workload = load_workload(name, shipped=documents.shipped, data=documents.data)
        except NotFound as missing:
            sources[name] = f"left out: {missing}"
            continue
        sources[name], lengths[name] = workload.source, len(workload.blocks)
        if workload.recorded_tiers is not None:
            recorded_tiers[name] = workload.recorded_tiers
            sources[name] += f"; nothing was recorded of tiers other than {', '.join(sorted(workload.recorded_tiers))}"
        marks[name] = [block.carries for block in workload.blocks]
        recordings += [workload.recording] if workload.recording is not None else []
    # A shorter workload has the blocks it has.
    orders = [
        (CellKey(workload=k.workload, scenario=k.scenario, blocks=min(k.blocks, lengths[k.workload]), cache=k.cache), n)
        for k in dict.fromkeys(benchmark.keys)
        if k.workload in lengths and _says_something(k, recorded_tiers.get(k.workload))
        for n in range(benchmark.repeats_of.get(k.workload, benchmark.repeats))
    ]
    orders.sort(key=lambda order: digest_text(f"{benchmark.seed} {order}"))
    cells: list[Cell] = []
    with open_stand(live=benchmark.live_budget_usd is not None) as stand:
        if recordings and not stand.recordings.exists():
            stand.recordings.write_text("\n".join(lines_of(recordings)), "utf-8")
        for number, (key, _) in enumerate(orders, start=1):
            budget = _left(benchmark, cells)
            if budget == 0:
                told(f"{number}/{len(orders)} stopped: the budget of ${benchmark.live_budget_usd} is spent")
                break
            cells.append(_measure(stand, key, benchmark, documents, budget))
            told(f"{number}/{len(orders)} {_said(cells[-1])}")
    return Measured(cells=tuple(cells), marks=marks, sources=sources)


def _says_something(key: CellKey, recorded: frozenset[str] | None) -> bool:
    """Whether recordings can tell what the scenario does: they know no cache, and only their own tiers."""
    if recorded is None or key.scenario == BASELINE:
        return True
    return key.cache == "cold" and any(tier.name in recorded for tier in SCENARIOS[key.scenario].tiers)


def _left(benchmark: Benchmark, cells: Sequence[Cell]) -> Decimal | None:
    if benchmark.live_budget_usd is None:
        return None
    spent = sum((Decimal(str(cell.usd or 0)) for cell in cells), Decimal(0))
    return max(benchmark.live_budget_usd - spent, Decimal(0))


def _measure(stand: Stand, key: CellKey, benchmark: Benchmark, documents: Documents, budget: Decimal | None) -> Cell:
    order = CellOrder(
        scenario=key.scenario,
        workload=key.workload,
        blocks=key.blocks,
        shipped=str(documents.shipped),
        data=None if documents.data is None else str(documents.data),
        budget_usd=None if budget is None else str(budget),
        model=benchmark.model,
        replay_url=stand.replay_url,
    )
    stand.forget()
    if key.cache == "warm":
        stand.measure(order)
    return read_cell(key, stand.measure(order))


def read_cell(key: CellKey, printed: Mapping[str, Any]) -> Cell:
    """The cell in what its process printed."""
    head = {"key": key, "kind": printed["kind"], "digest": printed["digest"], "left_out": printed["left_out"]}
    if printed["refusal"] is not None:
        return Cell(**head, refusal=printed["refusal"])
    counts = printed["counts"]
    numbers = ("calls", "calls_failed", "packs", "packs_from_splits", "batches", "violations")
    return Cell(
        **head,
        stopped=printed["stopped"],
        counts={**{name: counts[name] for name in numbers}, **counts["tokens"]},
        usd=counts["usd"],
        skipped_by_rule=counts["skipped_by_rule"],
        failed_by_class=counts["failed_by_class"],
        blocks_by_model=counts["blocks_by_model"],
        outcomes=tuple(BlockOutcome(**outcome) for outcome in printed["outcomes"]),
        spent=printed["spent"],
        **printed.get("index", {}),
        carried=printed.get("carried", {}),
    )


def _said(cell: Cell) -> str:
    name = f"{cell.key.scenario} on {cell.key.workload}, {cell.key.blocks} blocks, {cell.key.cache}"
    if cell.refusal is not None:
        return f"{name}: not available: {cell.refusal}"
    usd = "—" if cell.usd is None else f"${cell.usd:.4f}"
    return f"{name}: {cell.counts['calls']} calls, {usd} {cell.kind}"
