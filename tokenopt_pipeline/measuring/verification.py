"""The verification report: before and after, quality, the modes' rules and a verdict per lock, rendered from stored evidence.

The report is two files: the evidence as JSON and the Markdown that is rendered from it and from nothing else, so that a hand
edit of either shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.gates import Gates
from tokenopt_pipeline.domain.measurements import BASELINE, CellKey, Row, Timing
from tokenopt_pipeline.domain.policy import Policy
from tokenopt_pipeline.measuring.comparison import KINDS, RECORDED, percent, points, recall, tokens_of, usd_by_kind
from tokenopt_pipeline.measuring.judging import TierVerdict, judge_tier, tiers_of

DEFAULT_PATH = Path("dev-todos/_complete/2026-0211-worker-token-optimization-verification.md")
COMMAND = "tokenopt verify"
#: Lock -> the tiers whose gates it stands on. `benchmark` and `final output` have conditions of their own.
LOCKS: Mapping[str, tuple[str, ...]] = {
    "baseline": ("baseline",),
    "pre-filter": ("pre_filter",),
    "routing": ("routing", "escalation"),
    "async": ("async_batch",),
    "bridge": ("bridge",),
    "retrieval": ("retrieval",),
    "benchmark": (),
    "final output": ("prompt_caching", "worker_batching", "reuse", "everything"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """One lock, PASS or FAIL."""

    name: str
    passed: bool
    #: What it passed or failed by, one sentence each.
    evidence: tuple[str, ...]
    #: simulated, recorded or live; several where several were used.
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All that the report says."""

    commit: str
    seed: int
    locks: tuple[Lock, ...]
    rows: tuple[Row, ...]
    timings: tuple[Timing, ...]
    #: Mode -> what the product does with it, in its own words.
    modes: Mapping[str, str]

    @property
    def passed(self) -> bool:
        """The verdict."""
        return all(lock.passed for lock in self.locks)

    def document(self) -> dict[str, Any]:
        """As JSON values: `from_document(v.document()) == v`."""
        return {
            "commit": self.commit,
            "seed": self.seed,
            "locks": [{**asdict(lock), "evidence": list(lock.evidence)} for lock in self.locks],
            "rows": [row.document() for row in self.rows],
            "timings": [timing.document() for timing in self.timings],
            "modes": dict(self.modes),
        }


def from_document(document: Mapping[str, Any]) -> Verification:
    """The verification that a document was made of."""
    key = [f.name for f in fields(CellKey)]
    return Verification(
        commit=document["commit"],
        seed=document["seed"],
        locks=tuple(Lock(**{**lock, "evidence": tuple(lock["evidence"])}) for lock in document["locks"]),
        rows=tuple(Row(**row) for row in document["rows"]),
        timings=tuple(
            Timing(key=CellKey(**{k: t[k] for k in key}), **{n: v for n, v in t.items() if n not in key})
            for t in document["timings"]
        ),
        modes=document["modes"],
    )


def verify(
    gates: Gates,
    rows: Sequence[Row],
    timings: Sequence[Timing],
    before: Mapping[CellKey, Row],
    *,
    commit: str,
    seed: int,
    modes: Mapping[str, str],
) -> Verification:
    """The verdict on every lock."""
    verdicts = {tier: judge_tier(tier, gates, rows, timings, before) for tier in tiers_of(gates)}
    locks = [_lock(name, [verdicts[tier] for tier in tiers if tier in verdicts], rows) for name, tiers in LOCKS.items()]
    locks[list(LOCKS).index("benchmark")] = _benchmark_lock(gates, rows)
    locks[-1] = _final_lock(locks[-1], locks[:-1], rows)
    return Verification(
        commit=commit, seed=seed, locks=tuple(locks), rows=tuple(rows), timings=tuple(timings), modes=modes
    )


def mode_rules() -> dict[str, str]:
    """What the policy declares about sending calls or batches, read from its own settings."""
    section = getattr(Policy(), "batches", None)
    if section is None:
        return {"auto": "the policy has no settings about batches: every pack is asked in a call of its own"}
    return {f"batches.{f.name} = {getattr(section, f.name)}": str(f.metadata.get("why", "")) for f in fields(section)}


def _lock(name: str, verdicts: Sequence[TierVerdict], rows: Sequence[Row]) -> Lock:
    passed = bool(verdicts) and all(verdict.passed for verdict in verdicts)
    failures = [sentence for verdict in verdicts for sentence in verdict.failures]
    proofs = [result.sentence for verdict in verdicts for result in verdict.results if result.passed]
    tiers = {verdict.tier for verdict in verdicts}
    return Lock(
        name=name,
        passed=passed,
        evidence=tuple(dict.fromkeys([*failures, *proofs])) or ("no gate is declared for it.",),
        kind=_kinds(row for row in rows if row.scenario in tiers),
    )


def _benchmark_lock(gates: Gates, rows: Sequence[Row]) -> Lock:
    """Every declared cell was measured or says why not, none counted differently when it was repeated, some were."""
    known = {row.key for row in rows}
    failures = [f"{gate.name} was not measured." for gate in gates.gates if gate.key not in known]
    failures += [
        f"{row.scenario} on {row.workload} counted differently when it was repeated."
        for row in rows
        if not row.repeats_identical
    ]
    repeated = [row for row in rows if row.repeats > 1 and row.not_available is None]
    if not repeated:
        failures.append("no cell was repeated, so that nothing shows that results can be.")
    proof = (
        f"{len(repeated)} cells were run {max((r.repeats for r in repeated), default=0)} times and counted the same."
    )
    measured = sum(row.not_available is None for row in rows)
    evidence = [*dict.fromkeys(failures), f"{measured} cells measured, {len(rows) - measured} not available."]
    return Lock(
        name="benchmark",
        passed=not failures,
        evidence=tuple(evidence if failures else [proof, *evidence]),
        kind=_kinds(rows),
    )


def _final_lock(lock: Lock, others: Sequence[Lock], rows: Sequence[Row]) -> Lock:
    """The whole: no violation anywhere, and every other lock."""
    failures = [f"lock {other.name} failed." for other in others if not other.passed]
    failures += [
        f"{row.violations} blocks of {row.scenario} on {row.workload} have not exactly one outcome."
        for row in rows
        if row.violations
    ]
    proof = f"every block of {sum(row.violations == 0 for row in rows)} cells has exactly one outcome."
    return Lock(
        name=lock.name,
        passed=lock.passed and not failures,
        evidence=(*failures, *lock.evidence, proof),
        kind=_kinds(rows),
    )


def _kinds(rows: Iterator[Row] | Sequence[Row]) -> str:
    return ", ".join(sorted({row.kind for row in rows if row.not_available is None})) or "—"


def write_verification(path: Path, found: Verification) -> None:
    """Writes the report and, beside it, the evidence it is rendered from. Raises InvalidInput."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json").write_text(evidence_text(found), "utf-8")
        path.write_text(rendered(found), "utf-8")
    except OSError as problem:
        raise InvalidInput(f"{path} cannot be written: {problem.strerror or problem}") from problem


def evidence_text(found: Verification) -> str:
    """The evidence as it is kept."""
    return json.dumps(found.document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def rendered(found: Verification) -> str:
    """The report as Markdown."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Verification) -> Iterator[str]:
    yield "# Worker token optimization: verification"
    yield ""
    yield f"Generated by `{COMMAND}` from the evidence in the JSON file of the same name; edit neither."
    yield ""
    yield f"**Verdict: {'PASS' if found.passed else 'FAIL'}** at commit `{found.commit}`, seed {found.seed}."
    yield ""
    yield "*simulated*: the sandbox answered over the vendors' own SDKs, dollars are list prices; it can show what is asked,"
    yield "billed and lost, and not whether a model answers well. *recorded*: people's marks or real models' stored answers."
    yield from ("", "## Locks", "", "| lock | verdict | kind | evidence |", "|---|---|---|---|")
    for lock in found.locks:
        yield f"| {lock.name} | {'PASS' if lock.passed else 'FAIL'} | {lock.kind} | {'<br>'.join(lock.evidence)} |"
    yield ""
    yield f"Every figure is from `{COMMAND}` at commit `{found.commit}`; `tokenopt benchmark SCENARIO --workload WORKLOAD` measures one again."
    yield from ("", "## Before and after", "")
    yield from _profile(found)
    yield from ("", "## Quality", "")
    yield from _quality(found.rows)
    yield from ("", "## Sync or async", "", "| rule | as the product applies it |", "|---|---|")
    for mode, said in sorted(found.modes.items()):
        yield f"| {mode} | {said} |"


def _profile(found: Verification) -> Iterator[str]:
    took = {timing.key: timing for timing in found.timings}
    kinds = " | ".join(f"usd {kind}" for kind in KINDS)
    yield f"| workload | scenario | blocks | cache | kind | calls | input | cached | written | output | {kinds} | saved | p50 ms | p95 ms |"
    yield "|---" * 16 + "|"
    for row in found.rows:
        if row.not_available is not None:
            continue
        timing = took.get(row.key)
        tokens = " | ".join(f"{n:,}" if isinstance(n, int) else n for n in tokens_of(row))
        p50, p95 = (None, None) if timing is None else (timing.block_p50_ms, timing.block_p95_ms)
        waits = " | ".join("—" if ms is None else f"{ms:,.0f}" for ms in (p50, p95))
        yield (
            f"| {row.workload} | {row.scenario}{_without(row)} | {row.blocks} | {row.cache} | {row.kind} | {row.counts['calls']:,} | "
            f"{tokens} | {' | '.join(usd_by_kind(row))} | "
            f"{'—' if row.scenario == BASELINE else percent(row.saved)} | {waits} |"
        )


def _quality(rows: Sequence[Row]) -> Iterator[str]:
    yield (
        "| workload | scenario | kind | one outcome per block | failed | fields that agree with the baseline | change (95 %) | "
        "marked answers skipped | right, recorded | change recorded (95 %) | recall, unseen probes |"
    )
    yield "|---" * 11 + "|"
    for row in rows:
        if row.not_available is not None or row.scenario == BASELINE:
            continue
        agreed, change = "—", "—"
        if row.kind != RECORDED:
            agreed = f"{percent(row.agreement)} of {row.fields or 0:,}"
            change = points(row.quality_change, row.quality_low, row.quality_high)
        lost = "—" if row.lost is None else f"{row.lost} of {row.marked}"
        right = points(row.score_change, row.score_low, row.score_high)
        yield (
            f"| {row.workload} | {row.scenario} | {row.kind} | {'yes' if row.violations == 0 else f'NO: {row.violations}'} | "
            f"{row.outcomes.get('failed', 0)} | {agreed} | {change} | {lost} | {percent(row.score)} | {right} | {recall(row)} |"
        )


def _without(row: Row) -> str:
    return f" (without {', '.join(sorted(row.left_out))})" if row.left_out else ""
