"""Our client against servers that nobody here wrote: what is listed, translated without loss, and answered.

Run `python -m benchmarks.mcp_peers`; it installs what it needs from npm and PyPI under --scratch. What is measured is this
machine's: no model is asked, so nothing is simulated, recorded or live.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.mcp_peer_servers import PEERS, PeerServer, at, install, prepare
from benchmarks.tool_round_trip import DIALECTS, losses
from tokenopt_pipeline.adapters.anthropic_tools import declarations as anthropic_declarations
from tokenopt_pipeline.adapters.json_schema import ToolSchemaValidators
from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.adapters.openai_tools import declarations as openai_declarations
from tokenopt_pipeline.domain.tool_results import result_of
from tokenopt_pipeline.domain.tool_servers import ToolServer
from tokenopt_pipeline.domain.tools import Toolbox, ToolCall

if TYPE_CHECKING:
    import mcp

_START_S = 60.0
_CALL_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one server over one transport."""

    server: str
    version: str
    transport: str
    protocol: str
    tools: int
    #: Tools that came back from every dialect as they were.
    translated: int
    #: Tools that Anthropic and OpenAI are asked to bind to their schemas.
    strict: str
    called: int
    #: Calls whose arguments keep the tool's schema and whose result is no error and keeps the output schema.
    worked: int
    #: Environment variables that the server says it sees; None: it has no tool that says so.
    variables: tuple[str, ...] | None
    seconds: float
    problems: tuple[str, ...]


def measured(peer: PeerServer, transport: str, scratch: Path) -> Row:
    """One server over one transport."""
    program, work, started_s = install(peer, scratch), prepare(peer, scratch), time.monotonic()
    with _reached(peer, transport, program, work) as (server, environment):
        names = tuple(sorted(asyncio.run(_offered(server, environment))))
        allowed = ToolServer(
            name=server.name,
            command=server.command,
            args=server.args,
            env=server.env,
            url=server.url,
            tools=names,
        )
        with McpHost([allowed], environment=environment, start_timeout_s=_START_S) as host:
            box = host.tools()
            problems = [f"{dialect}: {loss}" for dialect in DIALECTS for loss in losses(box, dialect)]
            lost = {problem.split(": ")[1] for problem in problems}
            worked, variables = 0, None
            for name, arguments in peer.calls:
                problem, text = _called(host, box, server.name, name, at(work, arguments))
                worked += problem is None
                problems += [] if problem is None else [f"{name}: {problem}"]
                if name == "get-env" and problem is None:
                    variables = tuple(sorted(json.loads(text)))
            return Row(
                server=peer.name,
                version=peer.packages[0].rpartition("@")[2].rpartition("==")[2],
                transport=transport,
                protocol=host.protocols[server.name],
                tools=len(box.tools),
                translated=len(box.tools) - len(lost),
                strict=_strict(box),
                called=len(peer.calls),
                worked=worked,
                variables=variables,
                seconds=round(time.monotonic() - started_s, 1),
                problems=tuple(problems),
            )


def _called(
    host: McpHost, box: Toolbox, server: str, name: str, arguments: dict[str, object]
) -> tuple[str | None, str]:
    """(what went wrong, None when nothing did; the result's own text)."""
    tool = next((tool for tool in box.tools if (tool.server, tool.name) == (server, name)), None)
    if tool is None:
        return "the server has no such tool", ""
    schemas = ToolSchemaValidators(box)
    violation = schemas.arguments_violation(tool, arguments)
    if violation is not None:
        return f"our arguments break its schema: {violation}", ""
    call = ToolCall(call_id="c1", name=tool.wire_name, arguments=arguments)
    outcome = host.call([call], timeout_s=_CALL_S)["c1"]
    result = result_of("c1", outcome, tool=tool, violation=schemas.result_violation, most_bytes=65_536)
    return (result.text[:200] if result.is_error else None), outcome.text


def _strict(box: Toolbox) -> str:
    anthropic = sum(tool.get("strict", False) for tool in anthropic_declarations(box.tools, output_format=None))
    openai = sum(tool["strict"] for tool in openai_declarations(box.tools))
    return f"{anthropic}/{openai}"


async def _offered(server: ToolServer, environment: dict[str, str]) -> list[str]:
    """Names of all tools: an allow-list of everything, which a policy would not have."""
    import mcp
    from mcp.client.stdio import StdioServerParameters, stdio_client

    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        target: Any = server.url
        if server.command is not None:
            process = StdioServerParameters(command=server.command, args=list(server.args), env=environment)
            target = stdio_client(process, errlog=nowhere)
        return await _names(mcp.Client(target, read_timeout_seconds=_START_S))


async def _names(connection: mcp.Client) -> list[str]:
    async with connection as client:
        names: list[str] = []
        cursor = None
        while True:
            page = await client.list_tools(cursor=cursor)
            names += [tool.name for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                return names


@contextmanager
def _reached(
    peer: PeerServer, transport: str, program: Path, work: Path
) -> Iterator[tuple[ToolServer, dict[str, str]]]:
    """(the server as a policy would declare it, its environment)."""
    name = peer.name.replace("-", "_")
    environment = {"PATH": os.environ["PATH"], "MEMORY_FILE_PATH": str(work / "memory.jsonl")}
    if transport == "stdio":
        server = ToolServer(
            name=name,
            command=str(program),
            args=tuple(at(work, peer.args)),
            env=("MEMORY_FILE_PATH",) if peer.name == "memory" else (),
            tools=(),
        )
        yield server, environment
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [str(program), *at(work, peer.http_args or ())],
        env={"PATH": os.environ["PATH"], "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(port)
        yield ToolServer(name=name, url=f"http://127.0.0.1:{port}/mcp", tools=()), environment
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main() -> int:
    """Prints the table; 1 when something was lost or failed, 4 when a server could not be installed or started."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "tokenopt-mcp-peers")
    parser.add_argument("--only", nargs="+", metavar="SERVER", choices=[peer.name for peer in PEERS])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    asked = parser.parse_args()
    if shutil.which("npm") is None:
        print("npm is needed for three of the servers", file=sys.stderr)
        return 4
    rows: list[Row] = []
    failed: list[str] = []
    for peer in PEERS:
        for transport in ("stdio", *(("http",) if peer.http_args is not None else ())):
            if asked.only and peer.name not in asked.only:
                continue
            try:
                rows.append(measured(peer, transport, asked.scratch))
            except Exception as problem:  # noqa: BLE001 - whatever keeps a server from running is told; the others go on
                failed.append(f"{peer.name} over {transport}: {type(problem).__name__}: {problem}")
    if asked.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "failed": failed}))
    else:
        print("\n".join(_lines(rows, failed)))
    if failed:
        return 4
    return int(any(row.worked < row.called or row.translated < row.tools for row in rows))


def _lines(rows: list[Row], failed: list[str]) -> Iterator[str]:
    head = ("server", "version", "transport", "protocol", "tools", "translated ×4", "strict A/O", "calls worked", "s")
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        cells = (
            row.server,
            row.version,
            row.transport,
            row.protocol,
            str(row.tools),
            f"{row.translated} of {row.tools}",
            row.strict,
            f"{row.worked} of {row.called}",
            f"{row.seconds:.1f}",
        )
        yield "| " + " | ".join(cells) + " |"
    tools, called = sum(row.tools for row in rows), sum(row.called for row in rows)
    yield (
        f"{len(rows)} servers × transports: {sum(row.translated for row in rows)} of {tools} tools come back from all four "
        f"dialects as they were, {sum(row.worked for row in rows)} of {called} calls worked (this machine, no model)"
    )
    for row in rows:
        if row.variables is not None:
            yield f"{row.server} over {row.transport} sees the variables: {', '.join(row.variables)}"
        yield from (f"{row.server} over {row.transport}: {problem}" for problem in row.problems)
    yield from failed


if __name__ == "__main__":
    sys.exit(main())
