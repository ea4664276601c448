"""A server of protocol 2024-11-05 that needs nothing but Python, and speaks out of turn. Its argument is its manner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

MANNER = sys.argv[1] if len(sys.argv) > 1 else "plain"
_TOOLS = [
    {"name": name, "inputSchema": {"type": "object"}}
    for name in ("echo", "pid", "child", "endless", "garbage", "odd", "die")
]


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def result_of(name: str, arguments: dict[str, Any]) -> Any:
    if name == "garbage":
        # What a print in the wrong place does to a protocol.
        sys.stdout.write('starting up…\n{"jsonrpc": "2.0", "id": 999, "result": {}}\n\n[1, 2]\n{"a": \n')
    if MANNER == "deaf":
        os.close(0)
        time.sleep(600)
    if name == "die":
        sys.exit("no more")
    if name == "endless":
        while True:
            sys.stdout.write("x" * 65_536)
    if name == "odd":
        return {"content": "no list", "isError": "perhaps"}
    if name == "child":
        # Holds our pipes and our group, and outlives us unless somebody ends it.
        return {"content": [{"type": "text", "text": str(subprocess.Popen(["sleep", "600"]).pid)}]}
    text = str(os.getpid()) if name == "pid" else arguments.get("text", "")
    return {"content": [{"type": "text", "text": text}]}


def answer(method: str, params: dict[str, Any]) -> Any:
    if method == "initialize":
        capabilities: dict[str, Any] = {"tools": {}}
        info = {"name": "legacy", "version": "1"}
        return {"protocolVersion": "2024-11-05", "capabilities": capabilities, "serverInfo": info}
    if method == "tools/list":
        if MANNER == "listless":
            time.sleep(600)
        # One tool a page.
        page = int(params.get("cursor") or 0)
        following = {"nextCursor": str(page + 1)} if page + 1 < len(_TOOLS) or MANNER == "pages" else {}
        return {"tools": _TOOLS[page : page + 1], **following}
    if method == "tools/call":
        return result_of(params["name"], params.get("arguments") or {})
    return None


def serve() -> None:
    if MANNER == "silent":
        sys.stderr.write("waiting for a licence, key hunter2-in-the-log\n")
        sys.stderr.flush()
        time.sleep(600)
    if MANNER == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            found = answer(request["method"], request.get("params") or {})
            unknown = {"error": {"code": -32601, "message": "Method not found"}}
            send({"id": request["id"], **({"result": found} if found is not None else unknown)})
    if MANNER == "stubborn":
        time.sleep(600)


if __name__ == "__main__":
    serve()
