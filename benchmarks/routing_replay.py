"""The pipeline itself on recorded answers: every query a run, every answer what a real model once wrote, routed by the policy.

python -m benchmarks.routing_replay [--pair 0|1|2] [--half test|fit] [--fitted] [--second] [--first N] [--folder FOLDER]

Each query of one half of the BFCL recording is ingested, planned, packed, asked, checked, escalated and reconciled on a
Postgres of its own, over HTTP against the sandbox in replay mode. Recordings are handed to the sandbox in the form the pack
prompt agrees on, read from the raw outputs by benchmarks/bfcl.py; what cannot be read stays as it was written. Whether an
answer is right, and what a call cost, is as recorded. Beside it what the same policy decides without the pipeline
(benchmarks.routing_cascade): the two must agree, and what the dear model alone gives through the same pipeline, which fails
blocks that the recording calls right, too. Queries whose text stands twice in the recording are left out, since a replayed
model is asked by text. `--fitted`: the policy learnt on the other half for 55 % of always-mid's dollars; `--second`: with a
second cheap model whose disagreement is a doubt, which the backtest pays for every query and the pipeline only where nothing
else is doubted.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.recordings import PAIRS, Pair, routing_folder
from benchmarks.routing_backtest import rows_of
from benchmarks.routing_cascade import MAX_SPEND, SECOND, second_prices, with_doubts, with_second_opinion
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.postgres.connection import Connection, connect
from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.assembly import (
    Backend,
    RunTables,
    collections_on,
    line_on,
    models_under,
    open_database,
    prices_under,
)
from tokenopt_pipeline.domain.backtesting import replay
from tokenopt_pipeline.domain.documents import BlockType, ReadBlock, ReadDocument, SourceType
from tokenopt_pipeline.domain.escalation import EscalationPolicy
from tokenopt_pipeline.domain.fitting import FitSettings, fit_policy
from tokenopt_pipeline.domain.intervals import paired_change, ratio_saving
from tokenopt_pipeline.domain.outcomes import OutcomeRow
from tokenopt_pipeline.domain.policy import ResolvedPolicy, resolve
from tokenopt_pipeline.domain.routing import RoutingPolicy
from tokenopt_pipeline.domain.runs import Run, RunKind, Shard
from tokenopt_pipeline.measuring.bfcl import Query, read_queries
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import running_sandbox
from tokenopt_pipeline.settings import Settings
from tokenopt_pipeline.stages.ingest import ingest_source
from tokenopt_pipeline.stages.line import Line
from tokenopt_pipeline.stages.plan import RunRequest, plan_run

_SERVER = "recorded"
#: The simulated tokens' price; the dollars that are reported are the recorded ones.
_PRICE = {"small": {"input": 0.25, "output": 1.25}, "mid": {"input": 3, "output": 15}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """What the pipeline did with one query."""

    #: The tier whose answer is the block's output; None when the block failed.
    tier: str | None
    #: Models that answered, with how often.
    calls: Mapping[str, int]
    violations: int
    simulated_usd: float

    def score(self, row: OutcomeRow) -> float:
        """Whether the recording says that the answer is right; a failed block is wrong."""
        return 0.0 if self.tier is None else row.tiers[self.tier].score

    def usd(self, usd: Mapping[str, float]) -> float:
        """Dollars of every call that was made, by what a call to each model cost as recorded."""
        return sum(usd[model] * n for model, n in self.calls.items())


def routing_section(policy: RoutingPolicy, pair: Pair) -> dict[str, Any]:
    """The policy as a policy file's section, with the pair's recorded models as its tiers, and nothing above them."""
    section: dict[str, Any] = asdict(policy)
    section["models"] = {"small": [_ref(pair.small)], "mid": [_ref(pair.mid)], "large": [_ref(pair.mid)]}
    # The recording has no tier above the pair's dear model, so its answers are not checked.
    rules = [
        {**rule, "escalate_on": rule["escalate_on"] if rule["tier"] == "small" else ()} for rule in section["rules"]
    ]
    if policy.default_tier != "small":
        rules.append({"id": "the-rest", "tier": policy.default_tier, "escalate_on": ()})
    section["rules"] = rules
    if policy.escalation.second_opinion is not None:
        section["escalation"]["second_opinion"] = _ref(policy.escalation.second_opinion)
    return section


def _ref(model: str) -> str:
    return f"{_SERVER}/replay/{model}"


def write_recordings(path: Path, queries: Sequence[Query]) -> None:
    """The answers in the form that the pack prompt agrees on, one line per query."""
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        for query in queries:
            outputs = {
                model: {
                    "raw": answer.raw if answer.values is None else json.dumps({"results": [{"n": 1, **answer.values}]})
                }
                for model, answer in query.answers.items()
            }
            record = {"query_id": query.query_id, "text": query.text, "functions": [], "outputs": outputs}
            lines.write(json.dumps(record) + "\n")


@contextmanager
def opened(recordings: Path) -> Iterator[tuple[Connection, str]]:
    """(A connection to a Postgres of its own, the replaying server's address)."""
    with tempfile.TemporaryDirectory(prefix="tokenopt-replay-", dir="/tmp") as folder:
        home = Path(folder)
        home.chmod(0o711)
        try:
            url = open_database(Settings(home=home, database_url=None, vendors={}))
            config = SandboxConfig.from_json({"replay": str(recordings)})
            with connect(url) as connection, running_sandbox(config) as sandbox:
                yield connection, sandbox.custom_url
        finally:
            EmbeddedServer(home / "postgres").down()


def resolved(policy: RoutingPolicy, pair: Pair, base_url: str) -> ResolvedPolicy:
    """What every run obeys. A recorded answer stays the same however often it is asked for, so it is asked for once."""
    cheap = {_ref(model): {"price": _PRICE["small"]} for model in (pair.small, SECOND)}
    models = {**cheap, _ref(pair.mid): {"price": _PRICE["mid"]}}
    document: dict[str, Any] = {
        "providers": {_SERVER: {"base_url": base_url, "capability": "prompt_only"}},
        "models": models,
        "routing": routing_section(policy, pair),
        "retries": {"max_attempts": 1},
        "reuse": {"enabled": False},
    }
    return resolve([("benchmark", document)])


def routed(connection: Connection, line: Line, query: Query, policy: ResolvedPolicy, number: int) -> Routed:
    """One query through the whole line."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    collection, tokenizer = f"query-{number}", O200kTokenizer()
    block = ReadBlock(type=BlockType.PARAGRAPH, text=query.text)
    document = ReadDocument(source_type=SourceType.BLOCKS, reader_version=1, blocks=(block,), title=None)
    ingest_source(
        "query",
        json.dumps([number, query.text]).encode(),
        collection=collection,
        read=lambda _, __: document,
        tokenizer=tokenizer,
        store=collections_on(connection),
        now=now,
    )
    run = plan_run(
        RunRequest(
            collection=collection,
            schema=query.schema,
            schema_source=query.document,
            resolved=policy,
            mode="sync",
            kind=RunKind.SIMULATED,
        ),
        run_id=f"replay-{number}",
        collections=collections_on(connection),
        runs=PostgresRuns(connection),
        models=models_under(policy.policy),
        prices=prices_under(policy.policy),
        validators=JsonSchemaValidators(),
        tokenizer=tokenizer,
        now=now,
    )
    line.whole(run, Shard(run_no=run.run_no, shard_no=0))
    return _outcome(connection, run)


def _outcome(connection: Connection, run: Run) -> Routed:
    summary = PostgresSummaries(connection, tables=RunTables()).summary(run)
    if summary["state"] != "complete":
        raise RuntimeError(f"run {run.run_id} is {summary['state']}")
    answered = connection.execute(
        "select p.tier, p.model, c.call_no, o.call_no is not null and o.status = 'ai_complete' as counts from call c join pack p using (pack_no)"
        " left join overlay o on o.run_no = c.run_no and o.call_no = c.call_no where c.run_no = %s and c.state = 'answered'",
        (run.run_no,),
    ).fetchall()
    return Routed(
        tier=next((r["tier"] for r in answered if r["counts"]), None),
        calls=Counter(r["model"].partition("/replay/")[2] for r in answered),
        violations=summary["violations"],
        simulated_usd=summary["usd"],
    )


def policy_for(learn: Sequence[OutcomeRow], *, fitted: bool, second: bool) -> RoutingPolicy:
    """All hard doubts, or what these rows teach; with a second opinion or without."""
    if fitted:
        policy = fit_policy(learn, FitSettings(reference="mid", max_spend=MAX_SPEND))
    else:
        policy = RoutingPolicy(default_tier="small", escalation=EscalationPolicy(enabled=True))
    if not second:
        return policy
    return replace(policy, escalation=replace(policy.escalation, enabled=True, second_opinion=SECOND))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", type=int, choices=(0, 1, 2), default=2)
    parser.add_argument("--half", choices=("test", "fit"), default="test")
    parser.add_argument("--fitted", action="store_true")
    parser.add_argument("--second", action="store_true")
    parser.add_argument("--first", type=int)
    parser.add_argument("--folder")
    options = parser.parse_args()
    folder, pair = routing_folder(options.folder), PAIRS[options.pair]
    found = list(read_queries(folder / "bfcl_replay.jsonl.gz", models={pair.small, pair.mid, SECOND}))
    queries = {query.query_id: query for query in found}
    second = second_prices(folder)

    def doubted(half: str) -> list[OutcomeRow]:
        told = with_doubts(rows_of(folder, pair, half), queries, pair)
        if not options.second:
            return told
        return with_second_opinion([row for row in told if row.query_id in second], queries, second, pair)

    other = {"test": "fit", "fit": "test"}[options.half]
    policy = policy_for(doubted(other) if options.fitted else [], fitted=options.fitted, second=options.second)
    texts = Counter(" ".join(query.text.split()) for query in found)
    recorded = doubted(options.half)
    once = [row for row in recorded if texts[" ".join(queries[row.query_id].text.split())] == 1]
    way = ("fitted" if options.fitted else "all hard doubts") + (", two cheap answers" if options.second else "")
    print(f"{pair.small} -> {pair.mid}, {way}, {options.half} half")
    print(f"{len(recorded)} queries, {len(recorded) - len(once)} left out because their text stands twice")
    for line in report(once[: options.first], queries, policy, pair, second if options.second else {}):
        print(line, flush=True)


def report(
    recorded: Sequence[OutcomeRow],
    queries: Mapping[str, Query],
    policy: RoutingPolicy,
    pair: Pair,
    second: Mapping[str, float],
) -> Iterator[str]:
    """The figures, by the pipeline and without it. `second` has the dollars of the second opinions, per query."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recordings.jsonl.gz"
        write_recordings(path, [queries[row.query_id] for row in recorded])
        with opened(path) as (connection, base_url):
            obeyed = resolved(policy, pair, base_url)
            backend = Backend(providers={}, kinds={}, key_variables={})
            line = line_on(connection, backend)
            began = time.perf_counter()
            runs = [(row, routed(connection, line, queries[row.query_id], obeyed, i)) for i, row in enumerate(recorded)]
            seconds = time.perf_counter() - began
            dear = resolved(RoutingPolicy(default_tier="mid"), pair, base_url)
            always = [
                routed(connection, line, queries[row.query_id], dear, len(runs) + i) for i, row in enumerate(recorded)
            ]
    yield f"{len(runs)} runs of one block in {seconds:.0f} s; {sum(r.violations for _, r in runs)} violations of exactly one outcome"
    offline = [(row, replay(policy, row)) for row, _ in runs]
    same = sum(r.tier == o.tier for (_, r), (_, o) in zip(runs, offline, strict=True))
    failed = sum(r.tier is None for _, r in runs)
    yield f"the pipeline's answer comes from the same model as the backtest's in {same} of {len(runs)}; {failed} blocks failed"
    yield f"{'':24}{'cost':>8}{'dear calls':>12}  quality against always-mid"
    mid = [row.tiers["mid"] for row, _ in runs]
    paid = [r.usd(prices_of(row, pair, second.get(row.query_id, 0.0))) for row, r in runs]
    share = sum(pair.mid in r.calls for _, r in runs) / len(runs)
    yield _line("pipeline", [r.score(row) for row, r in runs], paid, mid, share)
    share = sum(o.tier == "mid" for _, o in offline) / len(offline)
    yield _line("backtest, same rows", [o.score for _, o in offline], [o.usd for _, o in offline], mid, share)
    yield f"always-mid through the pipeline: {sum(r.tier is None for r in always)} blocks failed; quality against that:"
    yield _line(
        "pipeline",
        [r.score(row) for row, r in runs],
        paid,
        [replace(row.tiers["mid"], score=r.score(row)) for (row, _), r in zip(runs, always, strict=True)],
        sum(pair.mid in r.calls for _, r in runs) / len(runs),
    )
    usd = sum(r.simulated_usd for _, r in runs)
    yield f"cost: recorded dollars of every call, as a share of always-mid's; the ledger's own ${usd:.4f} are simulated tokens"


def prices_of(row: OutcomeRow, pair: Pair, second: float) -> dict[str, float]:
    """What a call to each model cost, as recorded. A row with a second opinion has its dollars among the small tier's."""
    return {pair.small: row.tiers["small"].usd - second, pair.mid: row.tiers["mid"].usd, SECOND: second}


def _line(name: str, scores: Sequence[float], usd: Sequence[float], mid: Sequence[Any], share: float) -> str:
    change = paired_change([score - tier.score for score, tier in zip(scores, mid, strict=True)])
    saving = ratio_saving(usd, [tier.usd for tier in mid])
    return f"{name:<24}{1 - saving.mean:>8.1%}{share:>12.0%}  {change.points}"


if __name__ == "__main__":
    main()
