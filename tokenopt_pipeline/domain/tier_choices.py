"""Choices by marginal value: which cells of blocks get a dearer answer first, within a budget or up to a quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from itertools import pairwise

from tokenopt_pipeline.domain.errors import BudgetExceeded
from tokenopt_pipeline.domain.measured import MeasuredRates


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to answer the blocks of a cell."""

    name: str
    #: Dollars per block.
    usd: Decimal
    #: Expected score per block. Only differences within a cell count.
    quality: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Blocks that rules cannot or need not tell apart, and how they can be answered."""

    name: str
    n_blocks: int
    #: At least one.
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """Going from one option of a cell to the next dearer one that is worth it."""

    cell: Cell
    start: Option
    end: Option

    @property
    def usd(self) -> Decimal:
        """Further dollars per block; above zero."""
        return self.end.usd - self.start.usd

    @property
    def value(self) -> float:
        """Score gained per dollar; above zero."""
        return (self.end.quality - self.start.quality) / float(self.usd)


def cells_of(
    measured: MeasuredRates, blocks: Mapping[tuple[str, str], int], *, usd: Mapping[str, Decimal], complexity: int
) -> tuple[list[Cell], list[tuple[str, str]]]:
    """(One cell per kind of block that was measured, the kinds that were not), both in order.

    `blocks` counts blocks by (task, block type); `usd` is what a block is predicted to cost at each tier that may be used;
    `complexity` is their schema's.
    """
    cells: list[Cell] = []
    unknown: list[tuple[str, str]] = []
    for (task, block_type), n in sorted(blocks.items()):
        row = measured.of(task, block_type, complexity)
        options = (
            []
            if row is None
            else [
                Option(name=tier, usd=usd[tier], quality=rate.quality)
                for tier, rate in row.tiers.items()
                if tier in usd
            ]
        )
        if options:
            cells.append(Cell(name=f"{task}/{block_type}", n_blocks=n, options=tuple(options)))
        else:
            unknown.append((task, block_type))
    return cells, unknown


def ladder(options: Sequence[Option]) -> list[Option]:
    """The options worth taking, from the cheapest up, each further dollar worth less than the one before.

    The upper convex hull over (dollars, quality): what costs more and is no better, or is beaten by a mixture of a cheaper
    and a dearer one, is left out.
    """
    rungs: list[Option] = []
    for option in sorted(options, key=lambda o: (o.usd, -o.quality, o.name)):
        if rungs and option.quality <= rungs[-1].quality:
            continue
        while len(rungs) > 1 and _slope(rungs[-2], rungs[-1]) <= _slope(rungs[-1], option):
            rungs.pop()
        rungs.append(option)
    return rungs


def _slope(one: Option, other: Option) -> float:
    return (other.quality - one.quality) / float(other.usd - one.usd)


def steps(cells: Sequence[Cell]) -> list[Step]:
    """Every step of every cell's ladder, the most valuable first; of equal ones the cell that comes first by name."""
    found = [
        Step(cell, start, end) for cell in cells for rungs in [ladder(cell.options)] for start, end in pairwise(rungs)
    ]
    return sorted(found, key=lambda step: (-step.value, step.cell.name, step.start.usd))


def within_budget(cells: Sequence[Cell], budget_usd: Decimal) -> Mapping[str, Mapping[str, int]]:
    """Cell -> option -> blocks, all blocks of every cell: the best expected quality that the budget buys.

    Everything starts with its cheapest option, then steps are taken in the order of their value; the last one only for as
    many blocks as fit. So the sum never passes the budget, and a larger budget never gives a lower expected quality.
    Raises BudgetExceeded when not even the cheapest options fit.
    """
    chosen = {cell.name: {ladder(cell.options)[0].name: cell.n_blocks} for cell in cells}
    spent = sum((ladder(cell.options)[0].usd * cell.n_blocks for cell in cells), Decimal(0))
    if spent > budget_usd:
        raise BudgetExceeded(
            f"the cheapest tiers cost ${spent:.6f}, over the budget of ${budget_usd}",
            limit_usd=budget_usd,
            needed_usd=spent,
        )
    for step in steps(cells):
        room = int(((budget_usd - spent) / step.usd).to_integral_value(rounding=ROUND_FLOOR))
        moved = min(step.cell.n_blocks, room)
        if moved:
            counts = chosen[step.cell.name]
            counts[step.start.name] -= moved
            counts[step.end.name] = moved
            spent += step.usd * moved
        if moved < step.cell.n_blocks:
            # Going on with what is worth less would make a larger budget buy something else than more of this.
            break
    return {name: {option: n for option, n in counts.items() if n} for name, counts in chosen.items()}


def whole_cells_within(cells: Sequence[Cell], budget_usd: Decimal) -> Mapping[str, Option]:
    """Cell -> option, whole cells: the steps in the order of their value, those left out that do not fit any more.

    Where not even the cheapest options fit, they are the choice all the same.
    """
    chosen = {cell.name: ladder(cell.options)[0] for cell in cells}
    spent = sum((chosen[cell.name].usd * cell.n_blocks for cell in cells), Decimal(0))
    for step in steps(cells):
        usd = step.usd * step.cell.n_blocks
        # A cell's ladder is climbed rung by rung.
        if chosen[step.cell.name] is step.start and spent + usd <= budget_usd:
            chosen[step.cell.name] = step.end
            spent += usd
    return chosen


def reaching(cells: Sequence[Cell], quality: float) -> Mapping[str, Option]:
    """Cell -> option, whole cells: near the cheapest choice whose summed quality (score × blocks) is at least `quality`.

    Steps are taken in the order of their value until the quality is reached; then whatever the last step made superfluous
    is taken back, the dearest first. When it cannot be reached, every cell has its best option.
    """
    chosen = {cell.name: ladder(cell.options)[0] for cell in cells}
    blocks = {cell.name: cell.n_blocks for cell in cells}
    total = sum(option.quality * blocks[name] for name, option in chosen.items())
    taken: list[Step] = []
    for step in steps(cells):
        if total >= quality - 1e-9:
            break
        chosen[step.cell.name] = step.end
        total += (step.end.quality - step.start.quality) * step.cell.n_blocks
        taken.append(step)
    for step in sorted(taken, key=lambda s: (-s.usd * s.cell.n_blocks, s.cell.name)):
        loss = (step.end.quality - step.start.quality) * step.cell.n_blocks
        if chosen[step.cell.name] is step.end and total - loss >= quality - 1e-9:
            chosen[step.cell.name] = step.start
            total -= loss
    return chosen
