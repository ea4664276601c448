"""Runs in async mode and `tokenopt batches`, as a terminal sees them."""

from __future__ import annotations

from typing import Any

from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline_tests.end_to_end.terminal import SCHEMA, Terminal, scalar


def a_run(terminal: Terminal, *options: str) -> dict[str, Any]:
    """A run of its own: every one has another pack size."""
    run = ("run", "demo", "--schema", SCHEMA, "--json", "--mode", "async", "--set", "reuse.enabled=false", *options)
    return terminal.tok(*run).json()


def outstanding(terminal: Terminal) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = terminal.tok("batches", "list", "--json").json()["batches"]
    return found


def test_a_run_is_submitted_and_collected_later(module_terminal: Terminal, sandbox: Sandbox) -> None:
    submitted = a_run(module_terminal)
    assert submitted["mode"] == "async"
    assert (submitted["batches"], submitted["batches_outstanding"], submitted["calls"]) == (1, 1, 0)
    assert submitted["outcomes"]["outstanding"] == submitted["blocks"] - submitted["outcomes"]["skipped"]
    # One goes first, so that the others find the prefix it keeps.
    (first,) = outstanding(module_terminal)
    assert (first["state"], first["n_requests"], first["primes"] is None) == ("submitted", 1, False)
    assert first["usd_ceiling"] > 0
    assert "goes first for the others" in module_terminal.tok("batches", "list").out
    sandbox.control.advance(60)
    collected = module_terminal.tok("batches", "collect", "--json").json()
    assert (len(collected["collected"]), collected["outstanding"], collected["problems"]) == (1, 1, {})
    (batch,) = outstanding(module_terminal)
    assert (batch["state"], batch["n_requests"]) == ("submitted", submitted["packs"] - 1)
    assert "goes first" not in module_terminal.tok("batches", "list").out
    sandbox.control.advance(60)
    collected = module_terminal.tok("batches", "collect", "--json").json()
    assert (len(collected["collected"]), collected["outstanding"], collected["problems"]) == (1, 0, {})
    ended = module_terminal.tok("status", submitted["run"], "--json").json()
    assert (ended["state"], ended["violations"], ended["outcomes"]["failed"]) == ("complete", 0, 0)
    assert outstanding(module_terminal) == []
    block = scalar(
        module_terminal.environment["TOKENOPT_DATABASE_URL"],
        "select d.document_id || ':' || b.block_index from overlay o join block b using (block_no) join document d"
        " using (document_no) where o.status = 'ai_complete' limit 1",
    )
    told = module_terminal.tok("explain", block, "--run", submitted["run"]).out
    assert any(f"round 1: {each['batch_id']}, closed, completed" in told for each in (first, batch))
    assert "The run was asked for in async mode." in told


def test_a_run_can_be_waited_for(module_terminal: Terminal) -> None:
    ended = a_run(module_terminal, "--set", "packing.pack_size=9", "--wait")
    assert (ended["state"], ended["batches_outstanding"], ended["violations"]) == ("complete", 0, 0)
    assert all(check["passed"] == check["evaluated"] == 1 for check in ended["checks"].values())
    assert len(ended["checks"]) == 5


def test_a_run_is_finished_in_sync_mode_and_what_comes_later_is_no_second_answer(
    module_terminal: Terminal, sandbox: Sandbox
) -> None:
    submitted = a_run(module_terminal, "--set", "packing.pack_size=8")
    ended = module_terminal.tok("run", "--resume", submitted["run"], "--mode", "sync", "--json").json()
    assert (ended["state"], ended["violations"], ended["outcomes"]["outstanding"]) == ("complete", 0, 0)
    answered = ended["outcomes"]["ai_complete"]
    sandbox.control.advance(60)
    module_terminal.tok("batches", "collect", "--json")
    late = module_terminal.tok("status", submitted["run"], "--json").json()
    assert (late["violations"], late["batches_outstanding"]) == (0, 0)
    assert late["outcomes"]["ai_complete"] == answered
    # What the provider had done before it was cancelled is billed, and nobody's output.
    assert late["calls"] == ended["calls"] + late["calls_superseded"]


def test_a_cancelled_run_keeps_what_was_paid_and_leaves_nothing_outstanding(
    module_terminal: Terminal, sandbox: Sandbox
) -> None:
    submitted = a_run(module_terminal, "--set", "packing.pack_size=7")
    cancelled = module_terminal.tok("cancel", submitted["run"], "--json").json()
    assert cancelled == {"run": submitted["run"], "cancelled": True}
    (batch,) = outstanding(module_terminal)
    assert batch["is_unwanted"] is True
    sandbox.control.advance(60)
    module_terminal.tok("batches", "collect", "--json")
    assert outstanding(module_terminal) == []
    summary = module_terminal.tok("status", submitted["run"], "--json").json()
    assert (summary["state"], summary["violations"]) == ("cancelled", 0)
    url = module_terminal.environment["TOKENOPT_DATABASE_URL"]
    done = f"select count(*) from model_output m join run r using (run_no) where r.run_id = '{submitted['run']}'"
    assert scalar(url, f"{done} and finding = 'valid'") == summary["outcomes"]["ai_complete"]
    assert len(sandbox.control.batches("anthropic")) == scalar(url, "select count(*) from batch")
