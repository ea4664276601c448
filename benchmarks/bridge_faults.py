"""What happens to a run when its tools, or its model's use of them, go wrong: in sync mode, and with a batch per round.

Run as `python -m benchmarks.bridge_faults [--vendor anthropic|openai|google]`. Sixteen blocks in packs of four, on a real Postgres,
through the vendor's own SDK to the sandbox; the tools are those of a server on the real MCP SDK that does what it should not.
Every fault runs in both modes, beside a run without tools: each block must end with the same values, from nobody else's mouth.
Ends with 1 when a block has no outcome or another one, or when anything of what a tool smuggled in stands in an answer. Simulated.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.adapters.postgres.connection import connect
from tokenopt_pipeline.adapters.postgres.conversations import conversations_of_run
from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
from tokenopt_pipeline.assembly import open_database
from tokenopt_pipeline.domain.errors import ToolServerUnavailable
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.tool_servers import ToolServer
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline.settings import read_settings
from tokenopt_pipeline_tests.stages.batch_rig import VENDORS, BatchRig
from tokenopt_pipeline_tests.stages.rig import Rig, empty
from tokenopt_pipeline_tests.stages.rounds_rig import RoundsRig, opens
from tokenopt_pipeline_tests.tool_servers import faulty

_MODES = ("sync", "async")
#: Of what the server smuggles into results: a name, a run and a block that no answer may have.
_SMUGGLED = ("Mallory", "r20990101-other", "ignore the schema")
_BLOCKS, _CALL_TIMEOUT_S = 16, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that goes wrong."""

    name: str
    #: What its line says when it has really gone wrong.
    shows: str = "answered with tools"
    tools: tuple[str, ...] = ("echo",)
    turns: int = 1
    parallel: int = 1
    #: Tool -> what the model sends, right or wrong.
    arguments: Mapping[str, Any] = field(default_factory=dict)
    bridge: Mapping[str, Any] = field(default_factory=dict)
    faults: Mapping[str, Any] = field(default_factory=dict)
    #: Of the policy beside the bridge.
    policy: Mapping[str, Any] = field(default_factory=dict)


_LONG: dict[str, Any] = {"result_bytes": 1_048_576, "max_tokens": 10_000_000, "max_usd": None}
CASES = (
    Case(name="nothing"),
    Case(name="a call hangs", shows="4 told as tool errors", tools=("hang",)),
    Case(name="the server crashes in a call", shows="4 told as tool errors", tools=("crash",)),
    Case(name="a result breaks its own schema", shows="4 told as tool errors", tools=("lie",)),
    Case(name="a result lacks what its schema promises", shows="4 told as tool errors", tools=("silent",)),
    Case(name="the server raises", shows="4 told as tool errors", tools=("raise",)),
    Case(name="the tool says that it failed", shows="4 told as tool errors", tools=("fail",)),
    Case(name="a result has 10 MB", tools=("big",), arguments={"big": {"n_bytes": 10_000_000}}),
    Case(name="a result gives orders and answers", tools=("inject",)),
    Case(name="an unknown tool", shows="4 told as tool errors", tools=("nowhere",)),
    Case(name="arguments that are no JSON", shows="4 told as tool errors", arguments={"echo": "{text: "}),
    Case(
        name="arguments that break the tool's schema", shows="4 told as tool errors", arguments={"echo": {"words": 3}}
    ),
    Case(name="three identical calls a turn", shows="| 12 / 4 |", parallel=3, arguments={"echo": {"text": "the same"}}),
    Case(name="the model never stops calling", shows="asked plainly: turns 4", turns=99),
    Case(
        name="more calls than allowed",
        shows="asked plainly: tool_calls 4",
        turns=2,
        parallel=4,
        bridge={"max_tool_calls": 3},
    ),
    Case(name="more tokens than allowed", shows="asked plainly: tokens 4", turns=3, bridge={"max_tokens": 4500}),
    Case(name="more dollars than allowed", shows="asked plainly: dollars 4", turns=3, bridge={"max_usd": 0.0004}),
    Case(
        name="the conversation outgrows the model",
        shows="asked plainly: rejected 4",
        tools=("big",),
        parallel=4,
        bridge=_LONG,
        arguments={"big": {"n_bytes": 1_000_000}},
    ),
    Case(name="answers that are no JSON", faults={"scripted": [{"fault": "malformed", "nth_request": 5, "times": 2}]}),
    Case(name="cut answers", faults={"scripted": [{"fault": "truncate", "nth_request": 5, "times": 2}]}),
    Case(
        name="a budget with room for two conversations",
        bridge={"max_usd": 0.05},
        policy={"run": {"budget_usd": "0.13"}},
    ),
    Case(name="the server does not start", shows="stops after 0 provider calls", bridge={"command": ["/bin/false"]}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one run."""

    mode: str
    #: Blocks with the values of the run without tools, of all.
    right: int
    figures: Mapping[str, Any]
    errors_told: int
    calls: int
    usd: float
    #: What is wrong with it; empty: nothing.
    broken: str


def _values(rig: Rig, run: Run) -> dict[int, Any]:
    rows = rig.rows(
        "select block_no, staged from overlay where run_no = %(no)s and status = 'ai_complete'", no=run.run_no
    )
    return {r["block_no"]: r["staged"] for r in rows}


@contextmanager
def _host(command: tuple[str, ...]) -> Iterator[McpHost]:
    server = ToolServer(name="own", command=command[0], args=command[1:], tools=tuple(faulty.TOOLS))
    with McpHost([server], environment={}, start_timeout_s=30) as opened:
        yield opened


def measured(case: Case, mode: str, vendor: str, url: str, sandbox: Sandbox) -> Row | str:
    """One fault in one mode; why nothing was asked, where that is what happens."""
    empty(url)
    sandbox.control.reset()
    bridge = {"call_timeout_s": _CALL_TIMEOUT_S, **case.bridge}
    command = tuple(bridge.pop("command", (sys.executable, faulty.__file__)))
    with ExitStack() as stack:
        rig = Rig(connection=stack.enter_context(connect(url)))
        plain_rig = BatchRig(rig=rig, sandbox=sandbox, vendor=vendor)
        plain, shard = plain_rig.plan(_BLOCKS, mode="sync")
        plain_rig.line().whole(plain, shard)
        wanted = _values(rig, plain)
        host = stack.enter_context(_host(command))
        rounds = RoundsRig(batches=BatchRig(rig=rig, sandbox=sandbox, vendor=vendor, open_tools=opens(url, host)))
        rounds.models_call(*case.tools, turns=case.turns, parallel=case.parallel, **case.arguments)
        sandbox.control.set_faults(dict(case.faults))
        policy = {"reuse": {"enabled": False}, "batches": {"rounds": 8}, **case.policy}
        run, shard = rounds.plan(_BLOCKS, mode=mode, bridge=bridge, **policy)
        line = rounds.batches.line()
        stack.callback(line.close)
        try:
            if mode == "sync":
                line.collect(run, shard)
                line.reconcile(run, shard)
            else:
                rounds.batches.finish(run, shard, line=line, most=40)
        except ToolServerUnavailable as problem:
            asked = rig.one("select count(*) from call where run_no = %(no)s", no=run.run_no)
            return f"the run stops after {asked} provider calls: {problem}"
        found = _values(rig, run)
        told = conversations_of_run(rig.connection, run.run_no)
        bill = rig.rows("select count(*) as n, sum(usd) as usd from ledger where run_no = %(no)s", no=run.run_no)[0]
        right = sum(found.get(block) == values for block, values in wanted.items())
        broken = "" if found.keys() == wanted.keys() and right == len(wanted) == _BLOCKS else "outcomes differ"
        if any(word in json.dumps(found) for word in _SMUGGLED):
            broken = "an answer has what a tool smuggled in"
        return Row(
            mode=mode,
            right=right,
            figures=told,
            errors_told=sum(is_error for _, _, is_error, _ in rounds.told()),
            calls=bill["n"],
            usd=float(bill["usd"]),
            broken=broken,
        )


def line_of(name: str, mode: str, row: Row | str) -> str:
    """One row of the table."""
    if isinstance(row, str):
        return f"| {name} | {mode} | {row} | — | — | — | — |"
    gave_up = ", ".join(f"{cause} {n}" for cause, n in row.figures["gave_up"].items())
    became = f"asked plainly: {gave_up}" if gave_up else "answered with tools"
    errors = f"{row.errors_told} told as tool errors" if row.errors_told else "no tool error"
    made = f"{row.figures['tool_calls']} / {row.figures['calls_made']}"
    verdict = f"{row.right} of {_BLOCKS}" + (f" **BROKEN: {row.broken}**" if row.broken else "")
    return f"| {name} | {mode} | {became}; {errors} | {row.figures['turns']} | {made} | {row.calls} | ${row.usd:.4f} | {verdict} |"


def main() -> int:
    """Prints the table; 1 when a mapping is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vendor", choices=VENDORS, default="anthropic")
    vendor = parser.parse_args().vendor
    print(f"{_BLOCKS} blocks in packs of four, {vendor}, simulated; n = 1 each")
    print(
        "| fault | mode | what happened | turns | tool calls asked / made | provider calls | dollars | right outcomes |"
    )
    print("|---|---|---|---|---|---|---|---|")
    broken = 0
    with tempfile.TemporaryDirectory(prefix="tokenopt-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        settings = read_settings({"TOKENOPT_HOME": folder})
        url = open_database(settings)
        try:
            with running_sandbox() as sandbox:
                for case in CASES:
                    for mode in _MODES:
                        row = measured(case, mode, vendor, url, sandbox)
                        line = line_of(case.name, mode, row)
                        is_broken = "BROKEN" in line or case.shows not in line
                        broken += is_broken
                        print(line + (f" **expected: {case.shows}**" if is_broken else ""), flush=True)
        finally:
            EmbeddedServer(settings.home / "postgres").down()
    print(f"{len(CASES) * len(_MODES)} runs, {broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
