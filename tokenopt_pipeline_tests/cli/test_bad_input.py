"""Whatever is wrong is refused in one line that names the thing, the limit and what was found; nothing is spent or half-written."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline_tests.adapters.readers.broken_files import encrypted_office_file, encrypted_pdf
from tokenopt_pipeline_tests.end_to_end.terminal import SCHEMA, Ended, Terminal, counts, scalar, terminal_at
from tokenopt_pipeline_tests.postgres_servers import reachable_folder

_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A command that must be refused with code 2, and words that its line must hold."""

    command: Sequence[str]
    words: Sequence[str]


def _ingest(name: str, *words: str) -> Wrong:
    return Wrong(command=("ingest", name, "--collection", "c"), words=(name, *words))


def _run(*options: str, words: Sequence[str], schema: str = SCHEMA) -> Wrong:
    return Wrong(command=("run", "demo", "--schema", schema, *options), words=words)


def _set(text: str, *words: str) -> Wrong:
    return _run("--set", text, words=(f"--set {text}", *words))


_MATRIX = {
    "an empty file": _ingest("empty.md", "0 bytes"),
    "a file of 200 MB": _ingest("huge.txt", "200,000,000 bytes", "limit is 100,000,000"),
    "an encrypted pdf": _ingest("locked.pdf", "password"),
    "an encrypted docx": _ingest("locked.docx", "password"),
    "invalid utf-8": _ingest("latin.txt", "UTF-8"),
    "an unknown suffix": _ingest("table.xlsx", ".xlsx", ".docx"),
    "a missing path": _ingest("nowhere.md", "no such file"),
    "a folder without readable files": _ingest("nothing", ".md"),
    "a collection with a bad name": Wrong(command=("ingest", "good.md", "--collection", "a/b"), words=("a/b",)),
    "a schema that is not JSON": _run(schema="not.json", words=("not.json", "not JSON")),
    "a schema that is a list": _run(schema="list.json", words=("list.json", "object is needed, found list")),
    "a schema of a wrong type": _run(schema="type.json", words=("type", "strnig")),
    "a schema without properties": _run(schema="bare.json", words=("properties",)),
    "a schema with an unknown member": _run(schema="member.json", words=("prompt_config.sytem", "system")),
    "an unknown shipped schema": _run(schema="no-such", words=("no-such", SCHEMA)),
    "a policy that is missing": _run("--policy", "nowhere.yaml", words=("nowhere.yaml", "no such file")),
    "a policy that is not YAML": _run("--policy", "not.yaml", words=("not.yaml", "not YAML")),
    "a policy with an unknown section": _run(
        "--policy", "section.yaml", words=("section.yaml:1", "'pakcing'", "packing")
    ),
    "a policy with an unknown key": _run("--policy", "key.yaml", words=("key.yaml:1", "packing.size", "pack_size")),
    "a policy value of a wrong type": _run(
        "--policy", "type.yaml", words=("packing.pack_size = 'ten'", "whole number")
    ),
    "a policy value out of bounds": _run("--policy", "bounds.yaml", words=("retries.max_attempts = 99", "1 to 10")),
    "a routing rule to no tier": _run(
        "--policy", "rule.yaml", words=("rule.yaml:4", "routing.rules[0].tier", "'huge'")
    ),
    "a fallback model that nobody knows": _run(
        *("--set", "routing.models={mid: [anthropic/claude-sonnet-5-5, anthropic/claude-nobody]}"),
        words=("anthropic/claude-nobody", "not in the model table"),
    ),
    "two passes that find nothing out": _run(
        "--set", "routing.rules=[{id: r, two_pass: {simple: mid}}]", words=("rules[0].two_pass", "nothing to find out")
    ),
    "a pack size of 0": _set("packing.pack_size=0", "packing.pack_size = 0", "1 to 100"),
    "a pack size of 10000": _set("packing.pack_size=10000", "packing.pack_size = 10000", "1 to 100"),
    "a setting without a value": _set("packing.pack_size", "section.key=value"),
    "an unknown collection": Wrong(command=("run", "nobody", "--schema", SCHEMA), words=("nobody", "tokenopt ingest")),
    "an unknown run": Wrong(command=("status", "r0"), words=("r0", "tokenopt status")),
    "an unknown run to resume": Wrong(command=("run", "--resume", "r0"), words=("r0",)),
    "an unknown run to export": Wrong(command=("export", "r0"), words=("r0",)),
    "an unknown run to cancel": Wrong(command=("cancel", "r0"), words=("r0",)),
    "a model without a provider": _run("--model", "sonnet", words=("sonnet", "provider/model")),
    "a model nobody knows": _run("--model", "anthropic/no-such-model", words=("no-such-model",)),
    "a budget that is no number": _run("--budget", "lots", words=("--budget", "'lots'", "dollars above 0")),
    "a negative budget": _run("--budget=-1", words=("--budget", "'-1'", "dollars above 0")),
    "a budget of nothing": _run("--budget", "0", words=("--budget", "'0'", "dollars above 0")),
    "a batch that is not outstanding": Wrong(command=("batches", "cancel", "7"), words=("batch 7", "batches list")),
    "batches of an unknown run": Wrong(command=("batches", "list", "--run", "r0"), words=("r0",)),
    "no schema": Wrong(command=("run", "demo"), words=("--schema", "--resume")),
    "a setting for a resumed run": Wrong(
        command=("run", "--resume", "r0", "--budget", "1"), words=("--budget", "--resume")
    ),
    "an unknown option": Wrong(command=("run", "demo", "--shcema", SCHEMA), words=("--shcema", "tokenopt run --help")),
    "an unknown command": Wrong(command=("rnu",), words=("rnu", "tokenopt --help")),
    "an unreadable database url": Wrong(command=("status",), words=("database URL cannot be read",)),
}
_BAD_URL = "postgresql://u:se/cr@et@host/team"


def _write_files(folder: Path) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    texts = {
        "good.md": "A paragraph.",
        "empty.md": "",
        "table.xlsx": "x",
        "not.json": "{",
        "list.json": "[]",
        "type.json": json.dumps({**schema, "properties": {"a": {"type": "strnig"}}}),
        "bare.json": json.dumps({"type": "object"}),
        "member.json": json.dumps({**schema, "prompt_config": {"sytem": "Look."}}),
        "not.yaml": "packing: [",
        "section.yaml": "pakcing: {pack_size: 3}",
        "key.yaml": "packing: {size: 3}",
        "type.yaml": "packing: {pack_size: ten}",
        "bounds.yaml": "retries: {max_attempts: 99}",
        "rule.yaml": "routing:\n  rules:\n    - id: r\n      tier: huge\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    (folder / "locked.pdf").write_bytes(encrypted_pdf())
    (folder / "locked.docx").write_bytes(encrypted_office_file())
    (folder / "nothing").mkdir()
    with (folder / "huge.txt").open("wb") as huge:
        huge.truncate(200_000_000)


@pytest.fixture(scope="module")
def refused(module_terminal: Terminal, sandbox: Sandbox) -> dict[str, Ended]:
    """What every command of the matrix said. Two at a time: they are many, and each must leave the tables alone."""
    _write_files(module_terminal.cwd)
    url = module_terminal.environment["TOKENOPT_DATABASE_URL"]
    tables, asked = counts(url), sandbox.control.stats()["requests"]

    def refuse(name: str) -> Ended:
        terminal = module_terminal.but(TOKENOPT_DATABASE_URL=_BAD_URL) if "database url" in name else module_terminal
        return terminal.tok(*_MATRIX[name].command, code=None)

    with ThreadPoolExecutor(max_workers=2) as pool:
        ended = dict(zip(_MATRIX, pool.map(refuse, _MATRIX), strict=True))
    assert {name: e.out + e.err for name, e in ended.items() if e.code != 2} == {}
    assert counts(url) == tables
    assert sandbox.control.stats()["requests"] == asked
    return ended


@pytest.mark.parametrize("name", _MATRIX)
def test_it_is_refused_in_one_line_before_anything_is_spent(name: str, refused: dict[str, Ended]) -> None:
    ended = refused[name]
    said = ended.err
    if not said.startswith("refused  "):
        said = ended.problem
        assert ended.out == ""
    assert len(ended.err.splitlines()) == 1, ended.err
    for word in _MATRIX[name].words:
        assert word in said


def test_an_unknown_block_is_named_with_the_way_to_find_one(module_terminal: Terminal) -> None:
    run = module_terminal.tok("run", "demo", "--schema", SCHEMA, "--prepare", "--json").json()["run"]
    problem = module_terminal.tok("explain", "nothing:0", "--run", run, code=2).problem
    assert "'nothing:0'" in problem
    assert f"tokenopt export {run}" in problem


def test_a_file_that_may_not_be_read_is_refused_and_the_others_go_on(module_terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "good.md").write_text("Something that can be read.")
    # A link to itself cannot be opened by anybody, root included.
    (tmp_path / "loop.md").symlink_to("loop.md")
    (tmp_path / "mixed" / "empty.md").write_text("")
    ended = module_terminal.tok("ingest", tmp_path / "mixed", "--collection", "mixed", "--json", code=1)
    assert (ended.json()["blocks"], ended.json()["refused"][0]["name"]) == (1, "mixed/empty.md")
    assert "loop.md" in module_terminal.tok("ingest", tmp_path / "loop.md", "--collection", "mixed", code=2).err


def test_a_refused_key_ends_the_run_before_anything_is_billed(module_terminal: Terminal, sandbox: Sandbox) -> None:
    calls = sandbox.control.stats()["calls"]
    terminal = module_terminal.but(ANTHROPIC_API_KEY="invalid-key")
    ended = terminal.tok("run", "demo", "--schema", SCHEMA, "--set", "packing.pack_size=7", code=4)
    assert "anthropic answered 401" in ended.problem
    assert "invalid-key" not in ended.err
    assert sandbox.control.stats()["calls"] == calls


def test_a_provider_that_is_not_there_ends_the_run(module_terminal: Terminal) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{listener.getsockname()[1]}"
    few = ("--set", "retries.transient_tries=2", "--set", "retries.backoff_base_s=0.01")
    terminal = module_terminal.but(ANTHROPIC_BASE_URL=closed)
    problem = terminal.tok("run", "demo", "--schema", SCHEMA, *few, "--json", code=4).problem
    assert "anthropic" in problem
    assert "Connection refused" in problem


def test_a_budget_that_is_too_small_stops_the_run_before_its_first_call(
    module_terminal: Terminal, sandbox: Sandbox
) -> None:
    calls = sandbox.control.stats()["calls"]
    ended = module_terminal.tok("run", "demo", "--schema", SCHEMA, "--budget", "0.000001", "--json", code=3)
    assert ended.json()["error_class"] == "BudgetExceeded"
    assert "budget of $0.000001" in ended.problem
    assert sandbox.control.stats()["calls"] == calls


def test_answers_paid_under_a_small_budget_are_not_asked_again_under_a_larger_one(
    module_terminal: Terminal, sandbox: Sandbox
) -> None:
    alone = ("--set", "packing.pack_size=3", "--set", "calls.concurrency=1")
    before = sandbox.control.stats()["blocks"]
    module_terminal.tok("run", "demo", "--schema", SCHEMA, *alone, "--budget", "0.09", code=3)
    url = module_terminal.environment["TOKENOPT_DATABASE_URL"]
    stopped = scalar(url, "select run_id from run order by run_no desc limit 1")
    first = module_terminal.tok("status", stopped, "--json").json()["outcomes"]
    second = module_terminal.tok("run", "demo", "--schema", SCHEMA, *alone, "--budget", "50", "--json").json()[
        "outcomes"
    ]
    assert 0 < first["ai_complete"] <= second["reused"]
    assert first["outstanding"] > second["outstanding"] == 0
    asked = int(str(sandbox.control.stats()["blocks"])) - int(str(before))
    assert asked == first["ai_complete"] + second["ai_complete"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("a full disk needs root and the right to mount a tmpfs")
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_one_line(small_disk: Path, tmp_path: Path) -> None:
    temporary = Path(tempfile.gettempdir())
    for parent in (tmp_path, *(each for each in tmp_path.parents if temporary in each.parents)):
        parent.chmod(0o711)
    ended = terminal_at(small_disk / "home", tmp_path).tok("status", code=4)
    assert "no space left" in ended.problem.lower()
    assert str(small_disk) in ended.problem


@pytest.mark.parametrize("command", [("status",), ("run", "demo", "--schema", SCHEMA), ("sandbox-run",)])
def test_a_home_that_is_a_file_is_named(command: tuple[str, ...], module_terminal: Terminal) -> None:
    with reachable_folder() as folder:
        home = folder / "home"
        home.write_text("")
        terminal = module_terminal.but(TOKENOPT_HOME=str(home))
        if command == ("status",):
            terminal = terminal.but(TOKENOPT_DATABASE_URL=None)
        elif command == ("sandbox-run",):
            terminal, command = terminal.but(ANTHROPIC_API_KEY=None), ("run", "demo", "--schema", SCHEMA)
        assert str(home) in terminal.tok(*command, code=4).problem
        assert home.read_text() == ""


def test_a_home_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    # /proc takes no new folder from anybody, root included.
    problem = terminal_at(Path("/proc/tokenopt"), tmp_path).tok("status", code=4).problem
    assert "/proc/tokenopt" in problem
