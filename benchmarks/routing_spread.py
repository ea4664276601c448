"""How far routing's figures depend on which half was which: many splits of the same recordings instead of one.

python -m benchmarks.routing_spread [--salts N] [--pair N] [FOLDER with bfcl_replay.jsonl.gz, queries.parquet, outcomes.parquet]

Every salt is another split into halves, by the parity of SHA-256(salt + query id); each half is tested with what was fitted on
the other, so N salts are 2 N tests. They share their rows: the spread says how much is luck of the split, not how other rows
would differ; for that there are the intervals of benchmarks.routing_backtest and routing_cascade. Beside what the recording
calls right stands what the pipeline would make an output: an answer in no usable form, or one that breaks its schema, never is
one, whichever model gave it, always-mid's included. `beats`: tests in which a rule is no dearer and no worse than the plain
task rule that aims at one point on the same rows; `beaten`: the other way round; equal in both counts for neither.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from benchmarks.recordings import PAIRS, Pair, naive_task_rule, routing_folder
from benchmarks.routing_backtest import TARGET, rows_of
from benchmarks.routing_cascade import MAX_SPEND, SECOND, is_usable, second_prices, with_doubts, with_second_opinion
from tokenopt_pipeline.domain.backtesting import Replayed, replay
from tokenopt_pipeline.domain.fitting import FitSettings, fit_policy
from tokenopt_pipeline.domain.outcomes import HALVES, OutcomeRow, half_of
from tokenopt_pipeline.domain.routing import RoutingPolicy, RoutingRule
from tokenopt_pipeline.measuring.bfcl import read_queries

#: (query, tier) -> whether the recorded answer is in a usable form and keeps its schema.
Usable = Mapping[tuple[str, str], bool]
#: From the rows to learn on to a policy.
Rule = Callable[[Sequence[OutcomeRow]], RoutingPolicy]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One rule on one half. The cost is a share of always-mid's; 0.01 of a change is a point."""

    cost: float
    change: float
    #: Counting what the pipeline would make an output; None where no raw answers were recorded.
    change_as_run: float | None

    def beats(self, other: Trial) -> bool:
        """Whether it is no dearer and no worse, and not the same."""
        return self.cost <= other.cost and self.change >= other.change and self != other


def plain_rule(target: float) -> Rule:
    """The plain task rule, fitted for a target."""

    def learnt(rows: Sequence[OutcomeRow]) -> RoutingPolicy:
        tasks = tuple(sorted(naive_task_rule(rows, target)))
        rules = (RoutingRule(id="plain", tier="small", tasks=tasks),) if tasks else ()
        return RoutingPolicy(default_tier="mid", rules=rules)

    return learnt


def fitted(settings: FitSettings) -> Rule:
    """What `tokenopt route fit` learns."""
    return lambda rows: fit_policy(rows, settings)


def trial_of(policy: RoutingPolicy, rows: Sequence[OutcomeRow], usable: Usable) -> Trial:
    """The policy on rows that it has not seen. `usable`: (query, tier) -> whether the recorded answer is; empty: unknown."""
    played = [(row, replay(policy, row)) for row in rows]
    return Trial(
        cost=sum(p.usd for _, p in played) / sum(row.tiers["mid"].usd for row in rows),
        change=mean(p.score - row.tiers["mid"].score for row, p in played),
        change_as_run=mean(
            _output(row, p, usable) - row.tiers["mid"].score * usable[row.query_id, "mid"] for row, p in played
        )
        if usable
        else None,
    )


def _output(row: OutcomeRow, played: Replayed, usable: Usable) -> float:
    """The score of the block's output: the last usable answer; 0 for a block that fails."""
    asked = ("mid", "small") if played.escalated else (played.tier,)
    return next((row.tiers[tier].score for tier in asked if usable[row.query_id, tier]), 0.0)


def report(folder: Path, pairs: Sequence[Pair], salts: int) -> Iterator[str]:
    """The table, one line per pair and rule."""
    yield f"{salts} splits into halves, each half tested: {2 * salts} tests; recorded; mean (5 to 95 % of the tests)"
    for pair in pairs:
        rows, two, usable = _recorded(folder, pair)
        yield f"{pair.subset}: {pair.small} -> {pair.mid}; {len(rows)} rows, {len(two)} with two cheap answers"
        yield f"  {'':36}{'cost, share of always-mid':<30}{'quality':<32}{'as the pipeline counts':<32}{'beats':>6}{'beaten':>8}"
        checked = FitSettings(reference="mid", target=TARGET)
        table = replace(checked, checks=False)
        rules = [
            ("plain task rule, aim -1", rows, plain_rule(TARGET)),
            ("fitted table, aim -1, tasks whole", rows, fitted(_whole(table))),
            ("fitted table, aim -1", rows, fitted(table)),
        ]
        if usable:
            rules += [
                ("fitted checks, aim -1, tasks whole", rows, fitted(_whole(checked))),
                ("fitted checks, aim -1", rows, fitted(checked)),
                (f"fitted checks, at most {MAX_SPEND:.0%}", rows, fitted(_within(MAX_SPEND))),
                (f"two cheap answers, at most {MAX_SPEND:.0%}", two, fitted(_within(MAX_SPEND))),
            ]
        for name, these, rule in rules:
            plain = _tests(these, plain_rule(TARGET), usable, salts)
            yield _line(name, _tests(these, rule, usable, salts), plain)


def _whole(settings: FitSettings) -> FitSettings:
    return replace(settings, complexity=False, thresholds=False)


def _within(share: float) -> FitSettings:
    return FitSettings(reference="mid", max_spend=share)


def _recorded(folder: Path, pair: Pair) -> tuple[list[OutcomeRow], list[OutcomeRow], Usable]:
    """(The rows, with doubts where raw answers were recorded; those with a second cheap answer; which answers are usable)."""
    rows = list(rows_of(folder, pair, "all"))
    if pair.subset != "bfcl":
        return rows, [], {}
    models = {"small": pair.small, "mid": pair.mid}
    queries = {q.query_id: q for q in read_queries(folder / "bfcl_replay.jsonl.gz", models={*models.values(), SECOND})}
    usable = {(r.query_id, tier): is_usable(queries[r.query_id], model) for r in rows for tier, model in models.items()}
    doubted = with_doubts(rows, queries, pair)
    second = second_prices(folder)
    return (
        doubted,
        with_second_opinion([r for r in doubted if r.query_id in second], queries, second, pair),
        usable,
    )


def _tests(rows: Sequence[OutcomeRow], rule: Rule, usable: Usable, salts: int) -> list[Trial]:
    found = []
    for salt in range(salts):
        halves = {h: [r for r in rows if half_of(r.query_id, f"{salt}:") == h] for h in HALVES}
        found += [trial_of(rule(halves[learn]), halves[test], usable) for learn, test in (HALVES, HALVES[::-1])]
    return found


def _line(name: str, tests: Sequence[Trial], plain: Sequence[Trial]) -> str:
    cost = _spread([t.cost for t in tests], "{:.1%}")
    change = _spread([t.change * 100 for t in tests], "{:+.2f}")
    as_run = [t.change_as_run * 100 for t in tests if t.change_as_run is not None]
    beats = sum(t.beats(p) for t, p in zip(tests, plain, strict=True))
    beaten = sum(p.beats(t) for t, p in zip(tests, plain, strict=True))
    told = _spread(as_run, "{:+.2f}") if as_run else "—"
    return f"  {name:<36}{cost:<30}{change:<32}{told:<32}{beats:>6}{beaten:>8}"


def _spread(values: Sequence[float], form: str) -> str:
    ordered = sorted(values)
    low, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.05, 0.95))
    return f"{form.format(mean(values))} ({form.format(low)} to {form.format(high)})"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--salts", type=int, default=20)
    parser.add_argument("--pair", type=int, choices=range(len(PAIRS)))
    options = parser.parse_args()
    pairs = PAIRS if options.pair is None else [PAIRS[options.pair]]
    for line in report(routing_folder(options.folder), pairs, options.salts):
        print(line, flush=True)


if __name__ == "__main__":
    main()
