"""The contract of every command: help that teaches, one JSON object, exit codes, one line for every error and no trace."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tokenopt_pipeline.cli import exits
from tokenopt_pipeline.cli.commands import tokenopt
from tokenopt_pipeline.domain.errors import (
    AuthenticationFailed,
    NotFound,
    ProviderUnavailable,
    RunCancelled,
    ShardBusy,
    StoreUnavailable,
)
from tokenopt_pipeline_tests.end_to_end.started import COMMAND
from tokenopt_pipeline_tests.end_to_end.terminal import SCHEMA, Terminal

_TYPES: dict[str, type | tuple[type, ...]] = {
    "run": (str, type(None)),
    "collection": str,
    "schema": str,
    "policy_hash": str,
    "mode": str,
    "shards": int,
    "blocks": int,
    "outcomes": dict,
    "packs": int,
    "calls": int,
    "batches": int,
    "tokens": dict,
    "usd": (float, type(None)),
    "usd_baseline": (float, type(None)),
    "kind": str,
    "violations": int,
}
_OUTCOMES = {"skipped", "reused", "ai_complete", "confirmed", "failed", "outstanding"}
_TOKENS = {"input", "input_cached", "cache_write", "output"}


def _commands(group: click.Group, *path: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += _commands(command, *path, name)
    return found


_ALL = _commands(tokenopt)


@pytest.mark.parametrize("path", _ALL, ids=" ".join)
def test_every_command_has_help_that_teaches(path: tuple[str, ...]) -> None:
    if path == ("sandbox", "serve"):
        pytest.skip("its help is the sandbox's own, and tokenopt_pipeline_tests/sandbox reads it")
    told = CliRunner().invoke(tokenopt, [*path, "--help"], prog_name="tokenopt")
    assert told.exit_code == 0
    assert told.output.startswith(f"Usage: tokenopt {' '.join(path)}")
    # A sentence that says what it does, and a word for every option.
    command: click.Command = tokenopt
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert len((command.help or "").split()) >= 6
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not isinstance(parameter.type, click.Choice):
            assert parameter.help, f"{path}: {parameter.name}"


@pytest.mark.parametrize("path", _ALL, ids=" ".join)
def test_every_command_that_does_something_speaks_json(path: tuple[str, ...]) -> None:
    command: click.Command = tokenopt
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    server_or_group = isinstance(command, click.Group) or path in {
        ("sandbox", "serve"),
        ("mcp", "serve"),
        ("webhooks", "serve"),
    }
    assert server_or_group or "as_json" in {parameter.name for parameter in command.params}


def _assert_contract(document: dict[str, Any]) -> None:
    assert {name for name in _TYPES if not isinstance(document.get(name), _TYPES[name])} == set()
    assert set(document["outcomes"]) == _OUTCOMES
    assert set(document["tokens"]) == _TOKENS
    assert all(isinstance(n, int) for n in (*document["outcomes"].values(), *document["tokens"].values()))
    assert document["kind"] == "simulated"
    assert document["mode"] == "sync"
    assert sum(document["outcomes"].values()) == document["blocks"]


def test_plan_run_and_status_share_their_keys(module_terminal: Terminal) -> None:
    plan = module_terminal.tok("plan", "demo", "--schema", SCHEMA, "--json")
    run = module_terminal.tok("run", "demo", "--schema", SCHEMA, "--json")
    status = module_terminal.tok("status", run.json()["run"], "--json")
    for said in (plan, run, status):
        _assert_contract(said.json())
        assert said.out.count("\n") == 1
    assert plan.json()["run"] is None
    assert plan.err == ""
    # What was predicted is what was done, and dollars were an upper estimate.
    for name in ("policy_hash", "shards", "blocks", "packs", "calls", "skipped_by_rule"):
        assert plan.json()[name] == run.json()[name], name
    assert plan.json()["usd"] > run.json()["usd"] > 0
    assert plan.json()["outcomes"]["outstanding"] == run.json()["outcomes"]["ai_complete"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(("status", "r0"), 2, id="bad input"),
        pytest.param(("status", "--no-such-option"), 2, id="wrong use"),
        pytest.param(("run",), 2, id="nothing named"),
        pytest.param(("explain", "x:0"), 2, id="an option is missing"),
        pytest.param(("export", "r0"), 2, id="no file for the records"),
    ],
)
def test_an_error_is_one_json_object_too(arguments: tuple[str, ...], code: int, module_terminal: Terminal) -> None:
    ended = module_terminal.tok(*arguments, "--json", code=code)
    document = ended.json()
    assert document == {"error": ended.problem, "error_class": document["error_class"], "exit_code": code}
    assert ended.out.count("\n") == ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (NotFound("x"), exits.BAD_INPUT),
        (RunCancelled("x"), exits.STOPPED),
        (ShardBusy("x"), exits.STOPPED),
        (KeyboardInterrupt(), exits.STOPPED),
        (StoreUnavailable("x"), exits.DEPENDENCY_MISSING),
        (ProviderUnavailable("x"), exits.DEPENDENCY_MISSING),
        (AuthenticationFailed("x"), exits.DEPENDENCY_MISSING),
        (PermissionError(13, "Permission denied", "/x"), exits.DEPENDENCY_MISSING),
        (ZeroDivisionError("x"), exits.WITH_FAILURES),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_error_has_its_exit_code(problem: BaseException, code: int) -> None:
    assert exits.exit_code(problem) == code


def test_a_defect_is_one_line_and_its_trace_is_kept_in_the_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENOPT_HOME", str(tmp_path))

    @exits.contract
    def broken() -> int:
        raise ZeroDivisionError("division\nby zero")

    with pytest.raises(SystemExit) as ended:
        broken()
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (exits.WITH_FAILURES, 1)
    assert "a defect of tokenopt: ZeroDivisionError: division by zero" in said
    assert "Traceback" in (tmp_path / "last-defect.txt").read_text()


def test_without_a_run_status_lists_the_newest(module_terminal: Terminal) -> None:
    listed = module_terminal.tok("status", "--json").json()["runs"]
    assert [set(run) >= {"run_id", "state", "kind", "n_blocks", "schema", "collection"} for run in listed]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_reader_that_has_enough_is_no_error(form: str, module_terminal: Terminal) -> None:
    run = module_terminal.tok("status", "--json").json()["runs"][0]["run_id"]
    command = [*COMMAND, "export", run, "--format", form]
    with subprocess.Popen(
        command,
        env=dict(module_terminal.environment),
        cwd=module_terminal.cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait() == 0
    assert said in ("", "250 blocks\n")


def test_an_output_that_takes_no_more_is_one_line(module_terminal: Terminal) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        ended = subprocess.run(
            [*COMMAND, "status", "--json"],
            env=dict(module_terminal.environment),
            cwd=module_terminal.cwd,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr.count("\n")) == (4, 1)
    assert "No space left" in ended.stderr


def test_doctor_names_database_provider_and_model(module_terminal: Terminal) -> None:
    findings = json.loads(module_terminal.tok("doctor", "--json").out)
    assert all(finding["ok"] for finding in findings.values())
    assert "simulated" in findings["anthropic"]["found"]
    assert findings["openai"]["found"] == "not configured: OPENAI_API_KEY is not set"
    assert "priced" in findings["model anthropic/claude-sonnet-5-5"]["found"]


def test_init_writes_a_policy_that_changes_nothing_and_overwrites_nothing(module_terminal: Terminal) -> None:
    written = module_terminal.tok("init", "project", "--json").json()
    assert "project/policy.yaml" in written["written"]
    assert module_terminal.tok("init", "project", "--json").json() == {"written": [], "kept": written["written"]}
    with_file, without = (
        module_terminal.tok("plan", "demo", "--schema", SCHEMA, *options, "--json").json()
        for options in (("--policy", "project/policy.yaml"), ())
    )
    assert with_file["policy_hash"] == without["policy_hash"]
