"""Runs that rely on references, from the command line: whole, found, asked for with tools, and killed in a conversation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline_tests.adapters.embedding_server import embedding_server
from tokenopt_pipeline_tests.end_to_end.terminal import LINE_TEMPLATE, Terminal, scalar, terminal_at
from tokenopt_pipeline_tests.postgres_servers import database_copy, wait_until

_BLOCKS = 24
_CONCURRENCY = 3
_TOOLS = ["get_block_batch", "lookup_previous_results", "search_style_rules"]
_BACKENDS = (
    "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    " and backend_type = 'client backend'"
)
_MODELS = {
    "anthropic": "anthropic/claude-sonnet-5-5",
    "openai": "openai/gpt-6-luna",
    "google": "google/gemini-3.8-flash",
    "custom": "local/local-model",
}


@pytest.fixture(scope="module")
def talkative() -> Iterator[Sandbox]:
    """Every model calls two tools side by side, twice, before it answers."""
    with running_sandbox(SandboxConfig(latency_s=0.05)) as running:
        running.control.set_tools({"rounds": 2, "parallel": 2})
        yield running


@pytest.fixture(scope="module")
def terminal(line_server: str, talkative: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A terminal with a collection, an indexed reference with probes, a schema that relies on it and a policy with tools."""
    cwd = tmp_path_factory.mktemp("knowledge")
    with database_copy(line_server, "knowledge", template=LINE_TEMPLATE) as url:
        ready = terminal_at(
            cwd,
            cwd,
            TOKENOPT_DATABASE_URL=url,
            ANTHROPIC_API_KEY="sandbox",
            ANTHROPIC_BASE_URL=talkative.anthropic_url,
            OPENAI_API_KEY="sandbox",
            OPENAI_BASE_URL=talkative.openai_url,
            GEMINI_API_KEY="sandbox",
            GOOGLE_GEMINI_BASE_URL=talkative.google_url,
        )
        _write(cwd, talkative)
        ready.tok("ingest", cwd / "blocks.jsonl", "--collection", "text")
        build = ("index", "build", cwd / "style", "--name", "style", "--probes", cwd / "probes.jsonl")
        ready.tok(*build, "--embedder", "none")
        yield ready


def _write(folder: Path, sandbox: Sandbox) -> None:
    (folder / "style").mkdir()
    for n in range(30):
        rule = {
            "extends": "existence",
            "message": f"Don't write '%s' (rule {n}).",
            "level": "error",
            "ignorecase": True,
            "tokens": [f"widget{n}"],
        }
        (folder / "style" / f"Rule{n}.yml").write_text(json.dumps(rule))
        page = "Everything about gadgets, at length and with many examples. " * 30
        (folder / "style" / f"page{n}.md").write_text(f"# Gadgets {n}\n\n{page}")
    probes = [
        {"query": f"A widget{n} stands here, probe {i}.", "relevant": [f"style/Rule{n}.yml"]}
        for n in range(30)
        for i in range(2)
    ]
    (folder / "probes.jsonl").write_text("".join(json.dumps(probe) + "\n" for probe in probes))
    blocks = [
        {"type": "paragraph", "text": f"Clause {n}: the tenant pays for widget{n} in Vienna."} for n in range(_BLOCKS)
    ]
    (folder / "blocks.jsonl").write_text("".join(json.dumps(block) + "\n" for block in blocks))
    for retrieval in ("eligible", "critical"):
        schema: dict[str, Any] = {
            "ref": f"style-{retrieval}",
            "type": "object",
            "properties": {"party": {"type": "string"}, "kind": {"enum": ["duty", "right", "none"]}},
            "required": ["party", "kind"],
            "retrieval": retrieval,
            "references": ["style"],
        }
        (folder / f"{retrieval}.json").write_text(json.dumps(schema))
    policy = {
        "bridge": {"enabled": True, "servers": {"run": {"builtin": True, "tools": _TOOLS}}},
        "calls": {"concurrency": _CONCURRENCY},
        "providers": {"local": {"base_url": sandbox.custom_url}},
        "models": {"local/local-model": {"context_tokens": 60_000, "price": {"input": "0.1", "output": "0.4"}}},
    }
    (folder / "bridge.yaml").write_text(json.dumps(policy))


def run(terminal: Terminal, retrieval: str, *options: str) -> dict[str, Any]:
    arguments = (
        "run",
        "text",
        "--schema",
        f"{terminal.cwd / retrieval}.json",
        "--json",
        "--set",
        "packing.pack_size=4",
    )
    return terminal.tok(*arguments, "--set", "reuse.enabled=false", *options).json()


def assert_whole(summary: dict[str, Any]) -> None:
    assert (summary["state"], summary["violations"]) == ("complete", 0)
    assert summary["outcomes"]["ai_complete"] == summary["blocks"] == _BLOCKS
    assert all(check["passed"] == check["evaluated"] == 1 for check in summary["checks"].values())


def test_a_schema_marked_eligible_gets_what_was_found_and_a_critical_one_everything(terminal: Terminal) -> None:
    found, whole = run(terminal, "eligible"), run(terminal, "critical")

    assert_whole(found)
    assert_whole(whole)
    assert found["contexts"] == {"retrieved": {"retrieved": 6}}
    assert whole["contexts"] == {"full": {"critical": 6}}
    assert found["tokens"]["input"] < whole["tokens"]["input"] / 5
    assert found["usd"] < whole["usd"] < whole["usd_baseline"]
    plan = ("plan", "text", "--schema", f"{terminal.cwd / 'critical'}.json", "--set", "reuse.enabled=false", "--json")
    planned = terminal.tok(*plan).json()
    assert planned["contexts"] == {"full": {"critical": planned["packs"]}}


@pytest.mark.parametrize("policy", ["priced.json", "bridge.yaml"])
def test_a_run_pays_for_the_queries_of_its_searches_and_of_its_search_tool(terminal: Terminal, policy: str) -> None:
    with embedding_server() as server:
        where = {**terminal.environment, "TOKENOPT_EMBEDDINGS_BASE_URL": f"{server.url}/v1"}
        paying, cwd = replace(terminal, environment=where), terminal.cwd
        schema = json.loads((cwd / "eligible.json").read_text())
        (cwd / "paid.json").write_text(json.dumps({**schema, "ref": "paid", "references": ["paid"]}))
        price = {"models": {"custom/stand-in": {"price": {"input": "1", "output": "0"}}}}
        declared = {**json.loads((cwd / "bridge.yaml").read_text()), **price} if policy == "bridge.yaml" else price
        (cwd / f"paid-{policy}").write_text(json.dumps(declared))
        build = ("index", "build", cwd / "style", "--name", "paid", "--probes", cwd / "probes.jsonl")
        paying.tok(*build, "--embedder", "custom/stand-in:8")
        server.asked.clear()
        found = run(paying, "paid", "--policy", str(cwd / f"paid-{policy}"), "--budget", "5")

        searched = len(server.asked)
        plan = ("plan", "text", "--schema", cwd / "paid.json", "--policy", cwd / f"paid-{policy}", "--json")
        foreseen = paying.tok(*plan, "--set", "reuse.enabled=false").json()["embeddings"]
        assert len(server.asked) == searched

    assert_whole(found)
    told = found["embeddings"]["custom/stand-in"]
    # What a model will look for with its tool is not foreseen.
    asked = {} if policy == "bridge.yaml" else {"custom/stand-in": told["requests"]}
    assert {name: bill["requests"] for name, bill in foreseen.items()} == asked
    assert told["requests"] == told["texts"] == len(server.asked) > 0
    # The server says one token for each request, and the price is a dollar a million.
    assert told["usd"] == pytest.approx(len(server.asked) / 1_000_000)
    calls = scalar(
        where["TOKENOPT_DATABASE_URL"],
        f"select sum(usd) from tokenopt.ledger join tokenopt.run using (run_no) where run_id = '{found['run']}'",
    )
    assert found["usd"] == pytest.approx(float(calls) + told["usd"])
    assert ("on_demand" if policy == "bridge.yaml" else "retrieved") in found["contexts"]


@pytest.mark.parametrize("vendor", _MODELS)
def test_on_every_vendor_a_runs_model_searches_its_references_with_tools(terminal: Terminal, vendor: str) -> None:
    policy = ("--policy", str(terminal.cwd / "bridge.yaml"), "--set", f"routing.model={_MODELS[vendor]}")
    summary = run(terminal, "eligible", *policy)

    assert_whole(summary)
    assert summary["contexts"] == {"on_demand": {"on_demand": 6}}
    talked = summary["bridge"]
    assert (talked["conversations"], talked["turns"], talked["gave_up"]) == (6, 12, {})
    assert talked["tool_calls"] == 24
    assert summary["calls"] == 18
    url = terminal.environment["TOKENOPT_DATABASE_URL"]
    told = scalar(
        url,
        f"select string_agg(told::text, '') from turn t join call c using (call_no) join run r using (run_no) where run_id = '{summary['run']}'",
    )
    assert "Don't write" in told or "Gadgets" in told
    uid = scalar(url, "select document_id || ':3' from document order by document_no desc limit 1")
    story = terminal.tok("explain", uid, "--run", summary["run"]).out
    assert "references  on_demand" in story
    assert story.count("tools       run__") == 4


def test_a_run_killed_in_its_conversations_asks_no_more_again_than_was_in_flight(
    terminal: Terminal, talkative: Sandbox
) -> None:
    url = terminal.environment["TOKENOPT_DATABASE_URL"]
    arguments = (
        *("run", "text", "--schema", f"{terminal.cwd / 'eligible'}.json", "--json"),
        *("--policy", f"{terminal.cwd / 'bridge.yaml'}", "--set", "packing.pack_size=3"),
        *("--set", "reuse.enabled=false"),
    )

    def stored() -> int:
        return int(scalar(url, "select count(*) from response"))

    def asked() -> int:
        calls = talkative.control.stats()["calls"]
        assert isinstance(calls, int)
        return calls

    def kill_after(responses: int) -> None:
        process = terminal.start(*arguments)
        wait_until(lambda: process.wait(0) is not None or stored() - stored_before >= responses)
        process.kill()
        wait_until(lambda: talkative.control.stats()["in_flight"] == 0)
        wait_until(lambda: scalar(url, _BACKENDS) == 0)

    stored_before, asked_before, lost = stored(), asked(), []
    for after in (1, 9, 17):
        lost_before = asked() - asked_before - (stored() - stored_before)
        kill_after(after)
        lost.append(asked() - asked_before - (stored() - stored_before) - lost_before)
    assert all(calls <= _CONCURRENCY for calls in lost), lost

    summary = terminal.tok(*arguments).json()
    assert_whole(summary)
    # Eight packs, each with two turns and an answer.
    assert summary["calls"] == stored() - stored_before == 24
    assert asked() - asked_before == 24 + sum(lost)
    assert summary["bridge"]["turns"] == 16
    assert summary["calls_without_stored_answer"] >= sum(lost)


def test_batches_carry_what_their_packs_carry_of_references(terminal: Terminal) -> None:
    found, whole = (run(terminal, retrieval, "--mode", "async", "--wait") for retrieval in ("eligible", "critical"))

    assert_whole(found)
    assert_whole(whole)
    assert found["contexts"] == {"retrieved": {"retrieved": 6}}
    assert whole["contexts"] == {"full": {"critical": 6}}
    # What is whole is long enough to be kept, so that one request goes first for the others.
    assert (found["batches"], whole["batches"]) == (1, 2)
    assert found["tokens"]["input"] < whole["tokens"]["input"] / 5
