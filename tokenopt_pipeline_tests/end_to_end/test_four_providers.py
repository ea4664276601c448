"""The same collection through every provider's own SDK gives the same overlays: nothing of a vendor's manners shows in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline_tests.end_to_end.terminal import LINE_TEMPLATE, SCHEMA, Terminal, terminal_at
from tokenopt_pipeline_tests.postgres_servers import database_copy

_MODELS = (
    "anthropic/claude-haiku-5-5",
    "openai/gpt-6-luna",
    "google/gemini-3.1-flash-lite",
    "local/local-model",
)
_BLOCKS = 250


@pytest.fixture
def policy(sandbox: Sandbox, tmp_path: Path) -> Path:
    """A policy with a server of one's own, whose small model has enough room for a pack."""
    path = tmp_path / "policy.yaml"
    path.write_text(
        "providers:\n"
        f"  local: {{base_url: '{sandbox.custom_url}'}}\n"
        "models:\n"
        "  local/local-model:\n"
        "    context_tokens: 32768\n"
        "    max_output_tokens: 8192\n"
        "    price: {input: 0, output: 0}\n"
    )
    return path


def test_four_providers_give_identical_overlays(
    line_server: str, sandbox: Sandbox, policy: Path, tmp_path: Path
) -> None:
    with database_copy(line_server, "four_providers", template=LINE_TEMPLATE) as url:
        terminal = terminal_at(
            tmp_path,
            tmp_path,
            TOKENOPT_DATABASE_URL=url,
            ANTHROPIC_API_KEY="sandbox",
            ANTHROPIC_BASE_URL=sandbox.anthropic_url,
            OPENAI_API_KEY="sandbox",
            OPENAI_BASE_URL=sandbox.openai_url,
            GEMINI_API_KEY="sandbox",
            GOOGLE_GEMINI_BASE_URL=sandbox.google_url,
        )
        found = {model: _overlays(terminal, model, policy) for model in _MODELS}
    first, *others = found.values()
    assert len(first) == _BLOCKS
    assert all(other == first for other in others)


def _overlays(terminal: Terminal, model: str, policy: Path) -> dict[str, Any]:
    """Block uid -> its outcome, of a run whose calls all went to the model."""
    told = terminal.tok("run", "demo", "--schema", SCHEMA, "--model", model, "--policy", policy, "--json").json()
    assert told["calls"] > 0
    records = [json.loads(line) for line in terminal.tok("export", told["run"]).out.splitlines()]
    assert {r["extracted"]["model"] for r in records} - {None} == {model}
    return {
        r["immutable"]["block"]["uid"]: [r["extracted"][name] for name in ("status", "rule", "error_class", "data")]
        for r in records
    }
