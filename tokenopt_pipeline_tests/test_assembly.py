"""Which vendors a process can ask, and that they are one pipeline."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.files import load_schema
from tokenopt_pipeline.adapters.postgres.connection import Connection, rows
from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.adapters.sandbox_process import SandboxProcess
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.policy import resolve
from tokenopt_pipeline.domain.routing import parse_model_ref
from tokenopt_pipeline.domain.runs import Run, RunKind, Shard
from tokenopt_pipeline.domain.schemas import parse_schema
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline.settings import Settings, read_settings
from tokenopt_pipeline.stages.ingest import ingest_source
from tokenopt_pipeline.stages.plan import RunRequest, plan_run

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DOCUMENT = Path(__file__).resolve().parents[1] / "demo" / "collection" / "press-release.md"
MODELS = ("anthropic/claude-sonnet-5-5", "openai/gpt-6.1-terra", "google/gemini-3.8-flash", "local/local-model")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def vendors(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An environment in which every vendor's SDK finds the sandbox."""
    for key in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(key, "sandbox")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", sandbox.anthropic_url)
    monkeypatch.setenv("OPENAI_BASE_URL", sandbox.openai_url)
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", sandbox.google_url)
    return read_settings()


def test_a_sandbox_at_a_vendors_address_is_recognised_and_never_called_live(vendors: Settings) -> None:
    backend = assembly.open_backend(vendors)
    assert backend.kinds == dict.fromkeys(("anthropic", "openai", "google"), RunKind.SIMULATED)


def test_whoever_else_answers_on_loopback_is_taken_for_live(monkeypatch: pytest.MonkeyPatch) -> None:
    class Somebody(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Somebody) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        backend = assembly.open_backend(read_settings())
        server.shutdown()
    assert backend.kinds == {"openai": RunKind.LIVE}


def test_a_model_of_a_vendor_without_a_key_is_refused_by_the_variable_that_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    backend = assembly.open_backend(read_settings())
    with pytest.raises(InvalidInput, match="anthropic/claude-opus-5: ANTHROPIC_API_KEY is not set; configured: google"):
        backend.kind_of([parse_model_ref("anthropic/claude-opus-5")])
    with pytest.raises(InvalidInput, match="provider 'nobody' is unknown"):
        backend.kind_of([parse_model_ref("nobody/m")])


def test_a_run_that_would_mix_stand_ins_with_vendors_is_refused() -> None:
    backend = assembly.Backend(
        providers=dict.fromkeys(("anthropic", "openai"), AnthropicProvider()),
        kinds={"anthropic": RunKind.SIMULATED, "openai": RunKind.LIVE},
        key_variables={},
    )
    with pytest.raises(InvalidInput, match="never mixed"):
        backend.kind_of([parse_model_ref("anthropic/a"), parse_model_ref("openai/b")])


def test_only_a_vendors_model_starts_the_stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[bool] = []

    def up(_: SandboxProcess) -> str:
        started.append(True)
        return "http://127.0.0.1:9"

    monkeypatch.setattr(SandboxProcess, "up", up)
    backend = assembly.open_backend(read_settings({"TOKENOPT_HOME": str(tmp_path)}))
    policy = resolve([("test", {"providers": {"local": {"base_url": "http://127.0.0.1:9/v1"}}})]).policy
    assert backend.under(policy).kind_of([parse_model_ref("local/local-model")]) is RunKind.LIVE
    assert started == []
    assert backend.under(policy).kind_of([parse_model_ref("openai/gpt-6-luna")]) is RunKind.SIMULATED
    assert started == [True]
    with pytest.raises(InvalidInput, match="never mixed"):
        backend.under(policy).kind_of([parse_model_ref("local/local-model"), parse_model_ref("openai/gpt-6-luna")])


def test_the_key_of_a_policys_server_is_read_from_the_variable_it_names(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = {"base_url": sandbox.custom_url, "api_key_env": "LOCAL_KEY"}
    policy = resolve([("test", {"providers": {"local": server}})]).policy
    backend = assembly.Backend(providers={}, kinds={}, key_variables={})
    with pytest.raises(InvalidInput, match="provider local: LOCAL_KEY is not set"):
        backend.under(policy)
    monkeypatch.setenv("LOCAL_KEY", "k")
    first, second = backend.under(policy), backend.under(policy)
    assert first.kinds == {"local": RunKind.SIMULATED}
    # What it has found out about the server stays known.
    assert first.providers["local"] is second.providers["local"]


def test_the_same_collection_gets_the_same_overlays_from_every_vendor(
    vendors: Settings, sandbox: Sandbox, connection: Connection
) -> None:
    backend = assembly.open_backend(vendors)
    line = assembly.line_on(connection, backend)
    store, tokenizer = assembly.collections_on(connection), O200kTokenizer()
    ingest_source(
        DOCUMENT.name,
        DOCUMENT.read_bytes(),
        collection="c",
        read=read_document,
        tokenizer=tokenizer,
        store=store,
        now=NOW,
    )
    name, source = load_schema("facts-and-entities")
    schema = parse_schema(source, name=name)

    local = {
        "providers": {"local": {"base_url": sandbox.custom_url}},
        "models": {"local/local-model": {"context_tokens": 32_768, "price": {"input": 0, "output": 0}}},
    }

    def overlays(model: str) -> list[tuple[object, ...]]:
        resolved = resolve([("test", {**local, "routing": {"model": model}})])
        request = RunRequest(
            collection="c",
            schema=schema,
            schema_source=source,
            resolved=resolved,
            mode="sync",
            kind=backend.under(resolved.policy).kind_of([parse_model_ref(model)]),
        )
        run: Run = plan_run(
            request,
            run_id=model.replace("/", "-"),
            collections=store,
            runs=line.runs,
            models=assembly.models_under(request.resolved.policy),
            prices=assembly.prices_under(request.resolved.policy),
            validators=line.validators,
            tokenizer=tokenizer,
            now=NOW,
        )
        line.whole(run, Shard(run_no=run.run_no, shard_no=0))
        found = rows(connection, "export_blocks", run_no=run.run_no)
        assert {r["model"] for r in found if r["status"] == "ai_complete" and r["reused_from_run"] is None} == {model}
        return [(r["block_index"], r["status"], r["rule_id"], r["answer"]) for r in found]

    first, *others = [overlays(model) for model in MODELS]
    assert any(status == "ai_complete" for _, status, _, _ in first)
    assert all(other == first for other in others)


def test_tool_servers_get_the_variables_they_name_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NAMED", "OTHER", "WEB_TOKEN"):
        monkeypatch.setenv(name, f"{name}-value")
    command = {"command": "npx", "env": ["NAMED", "NOT_SET"], "tools": ["a"]}
    web = {"url": "http://127.0.0.1:9/mcp", "token_env": "WEB_TOKEN", "tools": ["a"]}
    bridge = resolve([("test", {"bridge": {"servers": {"far": command, "web": web}}})]).policy.bridge
    host = assembly.open_tool_host(bridge)
    assert set(host._peers["far"]._environment) == {"PATH", "NAMED"}
    assert (host._peers["web"]._token, set(host._peers["web"]._environment)) == ("WEB_TOKEN-value", {"PATH"})
    monkeypatch.delenv("WEB_TOKEN")
    with pytest.raises(InvalidInput, match="WEB_TOKEN is not set"):
        assembly.open_tool_host(bridge)


def test_what_few_runs_need_is_not_loaded_with_the_rest() -> None:
    """Tool servers, the sandbox, searches, vendors and validators, each with libraries of its own."""
    code = (
        "import sys, tokenopt_pipeline.assembly;"
        "print([m for m in ('mcp', 'pydantic', 'psutil', 'urllib.request', 'regex', 'jsonschema_rs', 'openai', 'anthropic')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
