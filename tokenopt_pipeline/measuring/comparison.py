"""The comparison as files: the same commit and seed write the same bytes; what varies from hour to hour has a file of its own."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.measurements import Row, Timing

_TOKENS = ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "output")
#: Never in one column: what a stand-in billed, what real models were recorded to cost, what was paid.
KINDS = ("simulated", "recorded", "live")
RECORDED = "recorded"
_COLUMNS = (
    "workload scenario blocks cache kind calls calls_failed packs packs_from_splits batches".split()
    + list(_TOKENS)
    + [f"usd_{kind}" for kind in KINDS]
    + "saved ai_complete skipped failed violations fields agreement quality_change quality_low quality_high marked lost".split()
    + "score score_change score_low score_high probes recall".split()
    + "repeats repeats_identical not_available".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was compared, of which commit."""

    #: `git describe --always --dirty`, or the package's version outside of a checkout.
    commit: str
    seed: int
    rows: tuple[Row, ...]
    #: Workload -> where its documents are from, or why they were left out.
    sources: Mapping[str, str]

    def document(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "commit": self.commit,
            "seed": self.seed,
            "workloads": dict(sorted(self.sources.items())),
            "rows": [row.document() for row in self.rows],
        }


def write_comparison(folder: Path, comparison: Comparison, timings: Sequence[Timing]) -> list[Path]:
    """Writes comparison.json, .csv and .md, and timings.json; their paths. Raises InvalidInput when it cannot."""
    texts = {
        "comparison.json": json.dumps(comparison.document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n",
        "comparison.csv": as_csv(comparison.rows),
        "comparison.md": "\n".join(as_markdown(comparison)) + "\n",
        "timings.json": json.dumps([t.document() for t in timings], indent=1, sort_keys=True) + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, "utf-8")
    except OSError as problem:
        raise InvalidInput(f"{folder} cannot be written: {problem.strerror or problem}") from problem
    return [folder / name for name in texts]


def as_csv(rows: Sequence[Row]) -> str:
    """One line per row; unknown is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        values = {**row.document(), **row.counts, **row.outcomes, f"usd_{row.kind}": row.usd}
        if row.kind == RECORDED:
            # Two recorded models that agree are no sign of a pipeline that works; what they were right in is.
            values |= dict.fromkeys(("fields", "agreement", "quality_change", "quality_low", "quality_high"))
        if row.not_available is None:
            values = {**dict.fromkeys(("ai_complete", "skipped", "failed"), 0), **values}
        writer.writerow(["" if (value := values.get(name)) is None else value for name in _COLUMNS])
    return text.getvalue()


def as_markdown(comparison: Comparison) -> Iterator[str]:
    """The comparison as people read it."""
    yield f"# Comparison at {comparison.commit}, seed {comparison.seed}"
    yield ""
    yield "Dollars at list price. *simulated*: the sandbox answered, so that agreement shows whether answers reached their own"
    yield "blocks and not whether a model is right. *recorded*: real models' stored answers, their dollars, and whether they were"
    yield "right. Unknown is a dash. Times are in timings.json."
    for workload, source in sorted(comparison.sources.items()):
        rows = [row for row in comparison.rows if row.workload == workload]
        yield from ("", f"## {workload}", "", f"{source}", "")
        if rows:
            yield from _table(rows)


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield (
        "| scenario | kind | blocks | cache | calls | input | read from cache | written | output | "
        f"{' | '.join(f'usd {kind}' for kind in KINDS)} | saved | answered | skipped | failed | violations | agreement | "
        "quality change (95 %) | answers lost | right, recorded | change recorded (95 %) | recall, unseen probes |"
    )
    yield "|---" * 23 + "|"
    for row in rows:
        if row.not_available is not None:
            yield (
                f"| {row.scenario} | {row.kind} | {row.blocks} | {row.cache} | not available: {row.not_available} "
                + "| " * 18
                + "|"
            )
            continue
        cells = [
            row.scenario + (f" (without {', '.join(sorted(row.left_out))})" if row.left_out else ""),
            row.kind,
            row.blocks,
            row.cache,
            row.counts["calls"],
            *tokens_of(row),
            *usd_by_kind(row),
            percent(row.saved),
            row.outcomes.get("ai_complete", 0),
            row.outcomes.get("skipped", 0),
            row.outcomes.get("failed", 0),
            row.violations,
            *(
                ("—", "—")
                if row.kind == RECORDED
                else (percent(row.agreement), points(row.quality_change, row.quality_low, row.quality_high))
            ),
            "—" if row.lost is None else f"{row.lost} of {row.marked}",
            percent(row.score),
            points(row.score_change, row.score_low, row.score_high),
            recall(row),
        ]
        yield "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |"


def timing_lines(timings: Sequence[Timing]) -> Iterator[str]:
    """What cells took, as Markdown."""
    yield "| workload | scenario | blocks | cache | kind | n | wall s | provider s | p50 ms | p95 ms | CPU s / 1,000 blocks | peak MiB |"
    yield "|---" * 12 + "|"
    for t in timings:
        numbers = (t.wall_s, t.provider_s, t.block_p50_ms, t.block_p95_ms, t.cpu_s_per_1000_blocks, t.peak_rss_mb)
        said = " | ".join("—" if number is None else f"{number:,.2f}" for number in numbers)
        yield f"| {t.key.workload} | {t.key.scenario} | {t.key.blocks} | {t.key.cache} | {t.kind} | {t.repeats} | {said} |"


def dollars(usd: float | None) -> str:
    """`$1.0712`; a dash for an unknown amount."""
    return "—" if usd is None else f"${usd:,.4f}"


def percent(share: float | None) -> str:
    """`93.4 %`; a dash for an unknown share."""
    return "—" if share is None else f"{share:.1%}".replace("%", " %")


def points(change: float | None, low: float | None, high: float | None) -> str:
    """`+0.5 pp (-0.2 to +1.1)`; a dash for an unknown change."""
    if change is None or low is None or high is None:
        return "—"
    return f"{change * 100:+.1f} pp ({low * 100:+.1f} to {high * 100:+.1f})"


def recall(row: Row) -> str:
    """`99.0 % (n 97)`; a dash where nothing is looked up."""
    return "—" if row.recall is None else f"{percent(row.recall)} (n {row.probes})"


def tokens_of(row: Row) -> list[int | str]:
    """Input, read from a cache, written to it, output; dashes where tokens were not counted."""
    if "input_uncached" not in row.counts:
        return ["—"] * 4
    counts = row.counts
    written = counts["cache_write_5m"] + counts["cache_write_1h"]
    return [counts["input_uncached"], counts["cache_read"], written, counts["output"]]


def usd_by_kind(row: Row) -> list[str]:
    """The row's dollars in the column of their kind, dashes in the others."""
    return [dollars(row.usd) if row.kind == kind else "—" for kind in KINDS]
