"""Servers of tools that nobody here wrote: which, of which version, how they are started, and calls that harm nobody."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerServer:
    """One server as it is installed and started; `{work}` in texts is the server's own folder."""

    name: str
    #: `npm` or `pypi`.
    source: str
    #: Pinned, with what has to be pinned beside it.
    packages: tuple[str, ...]
    command: str
    args: tuple[str, ...] = ()
    #: For the streamable HTTP transport: arguments instead of `args`; the port is in variable PORT.
    http_args: tuple[str, ...] | None = None
    calls: tuple[Call, ...]


_FILE = "{work}/files/note.txt"
_SIDE = {"names": ["Ada"]}
PEERS = (
    PeerServer(
        name="everything",
        source="npm",
        packages=("@modelcontextprotocol/server-everything@2026.8.31",),
        command="mcp-server-everything",
        args=("stdio",),
        http_args=("streamableHttp",),
        calls=(
            ("echo", {"message": "hör zu"}),
            ("get-annotated-message", {"messageType": "success", "includeImage": True}),
            ("get-env", {}),
            ("get-resource-links", {"count": 2}),
            ("get-resource-reference", {"resourceType": "Text", "resourceId": 1}),
            ("get-structured-content", {"location": "Chicago"}),
            ("get-sum", {"a": 2, "b": 3}),
            ("get-tiny-image", {}),
            (
                "gzip-file-as-resource",
                {"name": "n.gz", "data": "data:text/plain;base64,aGk=", "outputType": "resource"},
            ),
            ("toggle-simulated-logging", {}),
            ("toggle-simulated-logging", {}),
            ("toggle-subscriber-updates", {}),
            ("toggle-subscriber-updates", {}),
            ("trigger-long-running-operation", {"duration": 1, "steps": 2}),
        ),
    ),
    PeerServer(
        name="filesystem",
        source="npm",
        packages=("@modelcontextprotocol/server-filesystem@2026.8.31",),
        command="mcp-server-filesystem",
        args=("{work}/files",),
        calls=(
            ("list_allowed_directories", {}),
            ("write_file", {"path": _FILE, "content": "one\ntwo\n"}),
            ("read_file", {"path": _FILE}),
            ("read_text_file", {"path": _FILE, "head": 1}),
            ("read_media_file", {"path": _FILE}),
            ("read_multiple_files", {"paths": [_FILE]}),
            ("edit_file", {"path": _FILE, "edits": [{"oldText": "one", "newText": "1"}], "dryRun": True}),
            ("create_directory", {"path": "{work}/files/inner"}),
            ("list_directory", {"path": "{work}/files"}),
            ("list_directory_with_sizes", {"path": "{work}/files", "sortBy": "size"}),
            ("directory_tree", {"path": "{work}/files"}),
            ("search_files", {"path": "{work}/files", "pattern": "*.txt"}),
            ("get_file_info", {"path": _FILE}),
            ("move_file", {"source": _FILE, "destination": "{work}/files/inner/moved.txt"}),
        ),
    ),
    PeerServer(
        name="memory",
        source="npm",
        packages=("@modelcontextprotocol/server-memory@2026.8.31",),
        command="mcp-server-memory",
        calls=(
            ("create_entities", {"entities": [{"name": "Ada", "entityType": "person", "observations": ["counts"]}]}),
            ("create_relations", {"relations": [{"from": "Ada", "to": "Ada", "relationType": "knows"}]}),
            ("add_observations", {"observations": [{"entityName": "Ada", "contents": ["writes"]}]}),
            ("read_graph", {}),
            ("search_nodes", {"query": "Ada"}),
            ("open_nodes", _SIDE),
            ("delete_observations", {"deletions": [{"entityName": "Ada", "observations": ["writes"]}]}),
            ("delete_relations", {"relations": [{"from": "Ada", "to": "Ada", "relationType": "knows"}]}),
            ("delete_entities", {"entityNames": ["Ada"]}),
        ),
    ),
    PeerServer(
        name="time",
        source="pypi",
        packages=("mcp-server-time==2026.10.19",),
        command="mcp-server-time",
        args=("--local-timezone", "UTC"),
        calls=(
            ("get_current_time", {"timezone": "Europe/Vienna"}),
            ("convert_time", {"source_timezone": "UTC", "time": "12:30", "target_timezone": "Asia/Tokyo"}),
        ),
    ),
    PeerServer(
        name="git",
        source="pypi",
        packages=("mcp-server-git==2026.10.19",),
        command="mcp-server-git",
        args=("--repository", "{work}/repository"),
        calls=(
            ("git_status", {"repo_path": "{work}/repository"}),
            ("git_diff_unstaged", {"repo_path": "{work}/repository"}),
            ("git_diff_staged", {"repo_path": "{work}/repository"}),
            ("git_diff", {"repo_path": "{work}/repository", "target": "HEAD"}),
            ("git_log", {"repo_path": "{work}/repository", "max_count": 1}),
            ("git_show", {"repo_path": "{work}/repository", "revision": "HEAD"}),
            ("git_branch", {"repo_path": "{work}/repository", "branch_type": "local"}),
            ("git_create_branch", {"repo_path": "{work}/repository", "branch_name": "side"}),
            ("git_add", {"repo_path": "{work}/repository", "files": ["note.txt"]}),
            ("git_reset", {"repo_path": "{work}/repository"}),
        ),
    ),
    PeerServer(
        name="time-legacy",
        source="pypi",
        packages=("mcp-server-time==2025.9.25", "mcp<2"),
        command="mcp-server-time",
        args=("--local-timezone", "UTC"),
        calls=(
            ("get_current_time", {"timezone": "Europe/Vienna"}),
            ("convert_time", {"source_timezone": "UTC", "time": "12:30", "target_timezone": "Asia/Tokyo"}),
        ),
    ),
    PeerServer(
        name="sqlite-legacy",
        source="pypi",
        packages=("mcp-server-sqlite==2025.4.25", "mcp<2"),
        command="mcp-server-sqlite",
        args=("--db-path", "{work}/notes.db"),
        calls=(
            ("create_table", {"query": "create table note (text text)"}),
            ("write_query", {"query": "insert into note values ('one')"}),
            ("read_query", {"query": "select * from note"}),
            ("list_tables", {}),
            ("describe_table", {"table_name": "note"}),
            ("append_insight", {"insight": "There is one note."}),
        ),
    ),
)


def install(peer: PeerServer, scratch: Path) -> Path:
    """The program of the server, installed under the scratch folder unless it is there. Raises CalledProcessError."""
    if peer.source == "npm":
        prefix = scratch / "npm" / peer.name
        program = prefix / "node_modules" / ".bin" / peer.command
        if not program.exists():
            prefix.mkdir(parents=True, exist_ok=True)
            _run("npm", "install", "--no-fund", "--no-audit", "--loglevel=error", "--prefix", prefix, *peer.packages)
        return program
    environment = scratch / "venvs" / peer.name
    program = environment / "bin" / peer.command
    if not program.exists():
        _run(sys.executable, "-m", "venv", environment)
        quiet = ("--quiet", "--disable-pip-version-check")
        _run(environment / "bin" / "python", "-m", "pip", "install", *quiet, *peer.packages)
    return program


def prepare(peer: PeerServer, scratch: Path) -> Path:
    """A fresh folder for the server to work in: files, and a repository with a commit and a change."""
    work = scratch / "work" / peer.name
    shutil.rmtree(work, ignore_errors=True)
    (work / "files").mkdir(parents=True)
    repository = work / "repository"
    repository.mkdir()
    if peer.name == "git":
        note = repository / "note.txt"
        note.write_text("one\n", "utf-8")
        _run("git", "-C", repository, "init", "--quiet")
        _run("git", "-C", repository, "add", "note.txt")
        identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.com")
        _run("git", "-C", repository, *identity, "commit", "--quiet", "-m", "One")
        note.write_text("two\n", "utf-8")
    return work


def at(work: Path, value: Any) -> Any:
    """The value with the server's folder in the place of `{work}`."""
    if isinstance(value, dict):
        return {key: at(work, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [at(work, inner) for inner in value]
    return value.replace("{work}", str(work)) if isinstance(value, str) else value


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
