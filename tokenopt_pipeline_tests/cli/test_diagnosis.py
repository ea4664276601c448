"""`tokenopt doctor` says who is configured, reachable and priced, and asks nobody for anything that costs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenopt_pipeline import assembly
from tokenopt_pipeline.cli.diagnosis import Findings, diagnose
from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline.settings import read_settings


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def diagnosed(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Findings:
    """Where Anthropic's key leads to a sandbox, OpenAI's to nobody, and Google has none; with a server of one's own."""
    monkeypatch.setattr(assembly, "open_database", lambda _: "postgresql://me:hunter2@db/tokenopt")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    for name, value in {
        "ANTHROPIC_API_KEY": "sandbox",
        "ANTHROPIC_BASE_URL": sandbox.anthropic_url,
        "OPENAI_API_KEY": "sk-recognisable-0123456789",
        "OPENAI_BASE_URL": nobody,
        "TOKENOPT_HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        f"providers: {{local: {{base_url: '{sandbox.custom_url}'}}}}\nrouting: {{model: local/local-model}}\n", "utf-8"
    )
    return diagnose(read_settings(), str(policy))


def test_every_provider_is_told_with_its_kind_and_whether_it_answers(diagnosed: Findings, sandbox: Sandbox) -> None:
    told = {name: (finding["ok"], finding["found"]) for name, finding in diagnosed.items()}
    assert told["anthropic"][0]
    assert "simulated" in told["anthropic"][1]
    assert "reachable, lists" in told["anthropic"][1]
    assert told["local"] == (True, f"simulated, at {sandbox.custom_url}: reachable, lists 1 models")
    assert told["google"] == (True, "not configured: GEMINI_API_KEY is not set")
    assert not told["openai"][0]
    assert "refused" in told["openai"][1]


def test_the_policys_models_are_told_with_their_price(diagnosed: Findings) -> None:
    assert diagnosed["model local/local-model"]["found"] == "4,096 tokens of context, no price known"


def test_no_secret_is_told(diagnosed: Findings) -> None:
    assert "hunter2" not in str(diagnosed)
    assert "sk-recognisable" not in str(diagnosed)


def test_a_server_whose_key_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(assembly, "open_database", lambda _: "postgresql://db/tokenopt")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    policy = tmp_path / "policy.yaml"
    policy.write_text("providers: {local: {base_url: 'http://127.0.0.1:9/v1', api_key_env: LOCAL_KEY}}\n", "utf-8")
    findings = diagnose(read_settings(), str(policy))
    assert findings["policy"] == {"ok": False, "found": "provider local: LOCAL_KEY is not set, and the policy names it"}


def test_a_policy_that_is_wrong_is_bad_input() -> None:
    with pytest.raises(PolicyInvalid, match="no such file"):
        diagnose(read_settings(), "nowhere.yaml")
