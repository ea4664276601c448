"""What a fitted tier per task saves, and at what change of quality, on recorded answers of real models.

python -m benchmarks.routing_backtest [FOLDER with queries.parquet and outcomes.parquet]

Fitted on one half of the queries by hash parity with an aim of -1.0 points, tested on the other, and the other way round.
No answer is looked at here: only which task a block belongs to, how complex its schema is and how long it is (benchmarks.routing_cascade looks).
Beside it the plain rule, fitted and tested on the same rows, and what was published for it on rows that are not here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from benchmarks.recordings import PAIRS, Pair, naive_task_rule, published_task_rule, routing_folder
from tokenopt_pipeline.adapters.outcomes import Selection, read_outcomes
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.backtesting import Backtest, backtest
from tokenopt_pipeline.domain.fitting import FitSettings, fit_policy
from tokenopt_pipeline.domain.outcomes import OutcomeRow
from tokenopt_pipeline.domain.routing import RoutingPolicy, RoutingRule, SchemaFacts, schema_facts
from tokenopt_pipeline.measuring.bfcl import read_queries

TARGET = -0.01


def rows_of(folder: Path, pair: Pair, half: str) -> Sequence[OutcomeRow]:
    """The rows of one half that both models answered, with what the pipeline would know of their schemas."""
    selection = Selection(subset=pair.subset, half=half, models={"small": pair.small, "mid": pair.mid})
    declared = declared_schemas(folder) if pair.subset == "bfcl" else {}
    rows = read_outcomes(folder, selection, tokenizer=O200kTokenizer()).rows
    return [replace(r, facts=replace(r.facts, schema=declared.get(r.query_id, r.facts.schema))) for r in rows]


@cache
def declared_schemas(folder: Path) -> Mapping[str, SchemaFacts]:
    """Query -> the facts of the extraction schema that its functions make."""
    queries = read_queries(folder / "bfcl_replay.jsonl.gz", models=())
    return {query.query_id: schema_facts(query.schema) for query in queries}


def fitted_and_naive(learn: Sequence[OutcomeRow], test: Sequence[OutcomeRow]) -> tuple[Backtest, Backtest]:
    """(Our table, the plain rule), both fitted on the first rows and replayed on the second."""
    ours = fit_policy(learn, FitSettings(reference="mid", target=TARGET))
    tasks = tuple(sorted(naive_task_rule(learn, TARGET)))
    rules = (RoutingRule(id="plain", tier="small", tasks=tasks),) if tasks else ()
    naive = RoutingPolicy(default_tier="mid", rules=rules)
    return backtest(ours, test, reference="mid"), backtest(naive, test, reference="mid")


def report(folder: Path) -> Iterator[str]:
    """The table, one line per pair, direction and rule."""
    yield f"aim {TARGET * 100:+.1f} points against always-mid; recorded; change with 95 % interval"
    yield f"{'':34}{'saved':>8}  {'change':<36}{'above random':>13}"
    for pair in PAIRS:
        yield f"{pair.subset}: {pair.small} -> {pair.mid}"
        for learn, test in (("fit", "test"), ("test", "fit")):
            ours, naive = fitted_and_naive(rows_of(folder, pair, learn), rows_of(folder, pair, test))
            for name, result in (("fitted table", ours), ("plain task rule", naive)):
                policy, random = result.of("policy"), result.of("random")
                assert policy.saving is not None
                assert policy.change is not None
                yield (
                    f"  {name + ', tested on ' + test:<32}{policy.saving.mean:>8.1%}  {policy.change.points:<36}"
                    f"{(policy.quality - random.quality) * 100:>+10.2f} pp"
                )
        if published := published_task_rule(folder, pair):
            yield (
                f"  {'plain task rule, published':<32}{published['save']:>8.1%}  {published['dq_pp']:+.2f} pp (n = {published['n']}, "
                f"rows not here; in hindsight {published['saving_at_-1pp_in_hindsight']:.1%} at -1 pp)"
            )


if __name__ == "__main__":
    for line in report(routing_folder(sys.argv[1] if len(sys.argv) > 1 else None)):
        print(line)
