"""A server on loopback that speaks the vendors' embedding endpoints, with vectors that follow from the text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


@dataclass(slots=True, kw_only=True)
class EmbeddingServer:
    """What it was asked, and how it answers."""

    url: str = ""
    #: Path, headers in lower case, body of every request.
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    #: Answer with this instead: (status, body).
    refusal: tuple[int, dict[str, Any]] | None = None
    #: Numbers that vectors are short of.
    missing: int = 0
    #: Requests beyond so many wait until `released`; None: none does.
    hold_after: int | None = None
    released: Event = field(default_factory=Event)


def vector_of(text: str, dimension: int) -> list[float]:
    """Numbers that follow from the text, at a length that is not 1."""
    digest = hashlib.sha512(text.encode()).digest()
    return [digest[n % 64] - 100.5 for n in range(dimension)]


@contextmanager
def embedding_server() -> Iterator[EmbeddingServer]:
    """The server, running."""
    state = EmbeddingServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            state.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            if state.hold_after is not None and len(state.asked) > state.hold_after:
                state.released.wait(60)
            status, answer = state.refusal or (200, _answer(self.path, body, state))
            content = json.dumps(answer).encode()
            # Whoever was to hear it may have been killed.
            with suppress(ConnectionError):
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(path: str, body: dict[str, Any], state: EmbeddingServer) -> dict[str, Any]:
    if path.split("?", maxsplit=1)[0].endswith(":batchEmbedContents"):
        found = [
            {"values": vector_of(each["content"]["parts"][0]["text"], each["outputDimensionality"] - state.missing)}
            for each in body["requests"]
        ]
        return {"embeddings": found}
    dimension = body.get("dimensions", 8) - state.missing
    numbered: list[dict[str, Any]] = [
        {"object": "embedding", "index": n, "embedding": vector_of(text, dimension)}
        for n, text in enumerate(body["input"])
    ]
    # The protocol numbers its answers; nobody promises their order.
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return {"object": "list", "data": numbered[::-1], "model": body["model"], "usage": usage}
