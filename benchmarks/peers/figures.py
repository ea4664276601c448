"""The peers' table: lines, prices, and the bars that a public study of these tools set (facts of 2026-11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.peers.billing import KINDS

#: Prefixes of the names of counts: asked alone, and in batches.
MODES = ("", "batch_")
_PER = 1e6
#: Ours asks so many packs of 25 at once.
_IN_FLIGHT = 8 * 25
_MIB, _LARGE = 1.048576, 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Dollars per million tokens at list price."""

    input: float
    cached: float
    written: float
    written_long: float
    output: float
    #: The same of a batch.
    batch: tuple[float, float, float, float, float]

    def usd(self, counts: Mapping[str, int]) -> float:
        """What was billed."""
        online = (self.input, self.cached, self.written, self.written_long, self.output)
        return (
            sum(
                counts[f"{mode}{kind}"] * price
                for mode, prices in zip(MODES, (online, self.batch), strict=True)
                for kind, price in zip(KINDS, prices, strict=True)
            )
            / _PER
        )


# The batch tier of this model has no price for cached input, which is the plain one then.
MINI = Prices(input=0.40, cached=0.10, written=0.0, written_long=0.0, output=1.60, batch=(0.20, 0.20, 0.0, 0.0, 0.80))
SONNET = Prices(input=3.0, cached=0.30, written=3.75, written_long=6.0, output=15.0, batch=(1.5, 0.15, 1.875, 3.0, 7.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One tool under one condition. After `again` and `healed`: what the second run did."""

    peer: str
    condition: str
    blocks: int
    exit_status: int
    right: int
    wrong: int
    missing: int
    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: float
    #: Answers about a block that was answered before, billed again.
    paid_again: int
    wall_s: float
    cpu_s: float
    peak_rss_mb: float

    @property
    def outcome(self) -> str:
        """Right, wrong and missing blocks."""
        return f"{self.right} / {self.wrong} / {self.missing}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar, what was found, and whether it is met; None: it was not measured."""

    name: str
    found: str
    is_met: bool | None


def table(lines: Sequence[Line]) -> Iterator[str]:
    """The lines as Markdown."""
    yield "| tool | condition | blocks | right / wrong / missing | exit | calls | input k | cached | output k | USD | paid again | wall s | CPU s | MiB |"
    yield "|---" * 14 + "|"
    for line in lines:
        cached = line.cached_tokens / line.input_tokens if line.input_tokens else 0
        yield (
            f"| {line.peer} | {line.condition} | {line.blocks:,} | {line.outcome} | {line.exit_status} | {line.calls} | "
            f"{line.input_tokens / 1000:,.0f} | {cached:.0%} | {line.output_tokens / 1000:.1f} | {line.usd:.4f} | {line.paid_again} | "
            f"{line.wall_s} | {line.cpu_s} | {line.peak_rss_mb:.0f} |"
        )


def bars_met(lines: Sequence[Line]) -> Iterator[str]:
    """The bars as Markdown; what was not measured is a dash."""
    yield "| bar | found | met |"
    yield "|---" * 3 + "|"
    for bar in bars(lines):
        yield f"| {bar.name} | {bar.found} | {'—' if bar.is_met is None else 'yes' if bar.is_met else 'NO'} |"


def bars(lines: Sequence[Line]) -> Iterator[Bar]:
    """Every bar for ours."""
    at = {(line.peer, line.condition, line.blocks): line for line in lines}
    n = min((line.blocks for line in lines), default=0)

    def of(peer: str, condition: str) -> Line | None:
        return at.get((peer, condition, n))

    for peer, where, most in (
        ("ours", "online, gpt-4.1-mini", 0.045),
        ("ours_batch", "in batches, gpt-4.1-mini", 0.032),
        ("ours_anthropic", "online, claude-sonnet-4-5", 0.35),
        ("ours_anthropic_batch", "in batches, claude-sonnet-4-5", 0.18),
    ):
        clean, faulty = of(peer, "clean"), of(peer, "faults")
        yield _bar(f"at most ${most} {where}", clean, _usd, partial(_costs_at_most, most))
        yield _bar(f"all right under all faults together, {where}", faulty, _outcome, lambda x: x.right == n)
        if clean is not None and faulty is not None and clean.output_tokens:
            extra = (faulty.output_tokens - clean.output_tokens) / clean.output_tokens
            yield Bar(name=f"at most 10 % more output for it, {where}", found=f"{extra:+.1%}", is_met=extra <= 0.1)
        again = 0 if peer.endswith("batch") else _IN_FLIGHT
        for condition, when in (("kill", "killed"), ("kill_in_submit", "killed inside submit")):
            if condition == "kill" or again == 0:
                yield _bar(
                    f"{when}: nothing lost, at most {again} blocks paid again, {where}",
                    of(peer, condition),
                    lambda x: f"{x.outcome}, {x.paid_again} again",
                    partial(_pays_again_at_most, again),
                )
        yield _bar(
            f"a clean run again costs nothing, {where}",
            of(peer, "again"),
            lambda x: f"{x.outcome}, ${x.usd:.4f}",
            lambda x: x.right == n and x.usd == 0,
        )
        yield _bar(f"a run with faults heals, {where}", of(peer, "healed"), _outcome, lambda x: x.right == n)
    clean = of("ours", "clean")
    yield _bar(f"at most 2 CPU s for {n}", clean, lambda x: f"{x.cpu_s} s", lambda x: x.cpu_s <= 2)
    yield _bar(
        f"at most 120 MB for {n}",
        clean,
        lambda x: f"{x.peak_rss_mb * _MIB:.0f} MB",
        lambda x: x.peak_rss_mb * _MIB <= 120,
    )
    large = next((line for line in lines if line.peer == "ours" and line.blocks >= _LARGE), None)
    yield _bar(f"at most 8 CPU s for {_LARGE:,}", large, lambda x: f"{x.cpu_s} s", lambda x: x.cpu_s <= 8)


def _usd(line: Line) -> str:
    return f"${line.usd:.4f}"


def _costs_at_most(usd: float, line: Line) -> bool:
    return line.right == line.blocks and line.usd <= usd


def _pays_again_at_most(blocks: int, line: Line) -> bool:
    return line.right == line.blocks and line.paid_again <= blocks


def _outcome(line: Line) -> str:
    return line.outcome


def _bar(name: str, line: Line | None, found: Callable[[Line], str], met: Callable[[Line], bool]) -> Bar:
    if line is None:
        return Bar(name=name, found="—", is_met=None)
    return Bar(name=name, found=found(line), is_met=met(line))
