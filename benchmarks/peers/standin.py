"""A provider stand-in that every tool is measured against: three wires with a prompt cache, batches, latency and seeded faults.

It reads the right answers from the blocks in a prompt and says them in whatever shape the request asks for, packed or not.
The product's own sandbox cannot do that: it invents answers, and only for the product's own prompts. Everything is simulated.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.peers.batches import Batch, done_line, failed_line
from benchmarks.peers.billing import KINDS, State, reply
from benchmarks.peers.dialects import CHAT, MESSAGES, RESPONSES
from tokenopt_pipeline.adapters.clock import SystemClock

_LATENCY_S, _RETRY_AFTER_S = 0.05, 0.2
_BATCHES = ("/v1/batches", "/v1/messages/batches")
_HEADERS = {"x-tokenopt-sandbox": "1"}
#: What is counted since the last reset; tokens of batches have prices of their own.
COUNTED = (
    *("requests", "rate_limited", "calls", "batches", "polls", "batch_lines"),
    *(f"{mode}{name}" for mode in ("", "batch_") for name in KINDS),
)


def _now() -> float:
    return SystemClock().now().timestamp()


class Standin:
    """The handlers."""

    def __init__(self) -> None:
        self.state = State()

    async def complete(self, http: Request) -> Response:
        """One answer, on the wire that the path says."""
        raw, state = await http.body(), self.state
        state.counts["requests"] += 1
        await asyncio.sleep(_LATENCY_S)
        fault = state.fault(raw)
        if fault == "refused":
            state.counts["rate_limited"] += 1
            error = {
                "error": {"message": "Rate limit reached", "type": "rate_limit_error", "code": "rate_limit_exceeded"}
            }
            return JSONResponse(error, 429, {**_HEADERS, "retry-after": str(_RETRY_AFTER_S), "retry-after-ms": "200"})
        return JSONResponse(reply(state, (http.url.path, json.loads(raw)), fault, in_batch=False), headers=_HEADERS)

    async def put_file(self, http: Request) -> Response:
        """A file of requests."""
        form = await http.form()
        upload = form["file"]
        assert not isinstance(upload, str)
        name = f"file-{len(self.state.files) + 1}"
        self.state.files[name] = await upload.read()
        return JSONResponse(self._file(name), headers=_HEADERS)

    async def get_file(self, http: Request) -> Response:
        """What is known of a file, or what is in it."""
        name = http.path_params["name"]
        if http.url.path.endswith("/content"):
            return Response(self.state.files[name], media_type="application/jsonl", headers=_HEADERS)
        return JSONResponse(self._file(name), headers=_HEADERS)

    def _file(self, name: str) -> dict[str, Any]:
        size = len(self.state.files[name])
        head = {
            "id": name,
            "object": "file",
            "bytes": size,
            "created_at": int(_now()),
            "filename": f"{name}.jsonl",
        }
        return {**head, "purpose": "batch", "status": "processed"}

    async def make_batch(self, http: Request) -> Response:
        """Takes a batch: it is carried out and billed now, and said to be so when its time has come."""
        told, state = json.loads(await http.body()), self.state
        is_openai = "input_file_id" in told
        if is_openai:
            lines = [json.loads(line) for line in state.files[told["input_file_id"]].splitlines() if line.strip()]
            requests = [(line["custom_id"], line["url"], line["body"]) for line in lines]
        else:
            requests = [(line["custom_id"], MESSAGES, line["params"]) for line in told["requests"]]
        name = f"batch_{len(state.batches) + 1:04}"
        results, errors = [], []
        for custom_id, wire, body in requests:
            fault = state.fault(json.dumps(body, sort_keys=True).encode(), in_batch=True)
            if fault == "refused":
                errors.append(failed_line(custom_id, is_openai=is_openai))
            else:
                answer_body = reply(state, (wire, body), fault, in_batch=True)
                results.append(done_line(custom_id, answer_body, is_openai=is_openai))
        for prefix in state.later:
            state.remember(prefix)
        state.later.clear()
        state.counts.update(batches=1, batch_lines=len(requests))
        if not is_openai:
            results, errors = results + errors, []
        batch = Batch(
            name=name,
            told=told,
            made_at=_now(),
            ends_at=_now() + state.turnaround_s,
            results=results,
            errors=errors,
        )
        state.batches[name] = batch
        for kind, written in (("results", results), ("errors", errors)):
            state.files[f"{name}-{kind}"] = ("\n".join(map(json.dumps, written)) + "\n").encode()
        await asyncio.sleep(state.submit_delay_s)
        return JSONResponse(batch.document(_now()), headers=_HEADERS)

    async def get_batches(self, http: Request) -> Response:
        """All batches, newest first; one; or the results of one."""
        state, name = self.state, http.path_params.get("name")
        if name is None:
            found = [batch.document(_now()) for batch in reversed(state.batches.values())]
            listed = {"object": "list", "data": found, "has_more": False, "first_id": None, "last_id": None}
            return JSONResponse(listed, headers=_HEADERS)
        if name not in state.batches:
            return JSONResponse({"error": {"message": f"no batch {name}", "type": "not_found_error"}}, 404)
        if http.url.path.endswith("/results"):
            return Response(state.files[f"{name}-results"], media_type="application/x-jsonl", headers=_HEADERS)
        state.counts["polls"] += 1
        return JSONResponse(state.batches[name].document(_now()), headers=_HEADERS)

    async def models(self, http: Request) -> Response:
        """The one model."""
        return JSONResponse({"object": "list", "data": [{"id": "gpt-4.1-mini", "object": "model"}]}, headers=_HEADERS)

    async def health(self, http: Request) -> Response:
        """That it answers, and that it is a stand-in."""
        return JSONResponse({"status": "ok", "kind": "simulated"}, headers=_HEADERS)

    async def stats(self, http: Request) -> Response:
        """What was asked and billed."""
        counts = {name: self.state.counts[name] for name in COUNTED}
        paid = self.state.paid
        return JSONResponse(
            {**counts, "answered": len(paid), "paid_again": sum(paid.values()) - len(paid)}, headers=_HEADERS
        )

    async def reset(self, http: Request) -> Response:
        """Forgets everything; the body says which faults to draw from now on."""
        self.state = State(**json.loads(await http.body() or b"{}"))
        return JSONResponse({"reset": True})

    async def faults(self, http: Request) -> Response:
        """Other faults from now on; nothing is forgotten."""
        for name, value in json.loads(await http.body()).items():
            setattr(self.state, name, value)
        return JSONResponse({"set": True})

    def app(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                *(Route(wire, self.complete, methods=["POST"]) for wire in (CHAT, RESPONSES, MESSAGES)),
                Route("/v1/files", self.put_file, methods=["POST"]),
                *(Route(f"/v1/files/{{name}}{end}", self.get_file) for end in ("", "/content")),
                *(Route(path, self.make_batch, methods=["POST"]) for path in _BATCHES),
                *(Route(path, self.get_batches) for path in _BATCHES),
                *(Route(f"{path}/{{name}}{end}", self.get_batches) for path in _BATCHES for end in ("", "/results")),
                Route("/v1/models", self.models),
                Route("/healthz", self.health),
                Route("/control/stats", self.stats),
                Route("/control/reset", self.reset, methods=["POST"]),
                Route("/control/faults", self.faults, methods=["POST"]),
            ]
        )


def main() -> None:
    """Serves on a free port of loopback, written to --port-file, until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True)
    options = parser.parse_args()
    config = uvicorn.Config(Standin().app(), host="127.0.0.1", port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)

    async def serve() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.02)
        aside = options.port_file.with_suffix(".part")
        aside.write_text(str(server.servers[0].sockets[0].getsockname()[1]))
        aside.replace(options.port_file)
        await serving

    asyncio.run(serve())


if __name__ == "__main__":
    main()
