"""The sandbox as an ASGI application: one mount per provider, and the doors tests control it by."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tokenopt_pipeline.sandbox.anthropic import AnthropicDoor
from tokenopt_pipeline.sandbox.batch_routes import batch_routes
from tokenopt_pipeline.sandbox.chat_door import ChatDoor
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.config_reading import ConfigRefused
from tokenopt_pipeline.sandbox.engine import Engine
from tokenopt_pipeline.sandbox.faults import FaultPlan
from tokenopt_pipeline.sandbox.google_door import GoogleDoor
from tokenopt_pipeline.sandbox.json_value import Json
from tokenopt_pipeline.sandbox.openai_door import OpenAIDoor
from tokenopt_pipeline.sandbox.tool_plan import ToolPlan

SIMULATED_HEADER = (b"x-tokenopt-sandbox", b"simulated")

Clock = Callable[[], float]


def build_app(
    config: SandboxConfig,
    clock: Clock = time.time,  # noqa: TID251 - the sandbox is an edge; tests pass their own
) -> ASGIApp:
    """The application. `clock` gives seconds since the epoch."""
    engine = Engine(config, clock)
    control = _Control(engine)
    batches = batch_routes(engine)
    app = Starlette(
        routes=[
            Mount("/anthropic", routes=[*batches["anthropic"], *AnthropicDoor(engine).routes()]),
            Mount("/openai", routes=[*batches["openai"], *OpenAIDoor(engine).routes()]),
            Mount("/google", routes=[*batches["google"], *GoogleDoor(engine).routes()]),
            Mount("/custom", routes=ChatDoor(engine).routes()),
            *batches["control"],
            Route("/healthz", _health, methods=["GET"]),
            Route("/control/stats", control.stats, methods=["GET"]),
            Route("/control/reset", control.reset, methods=["POST"]),
            Route("/control/faults", control.set_faults, methods=["PUT"]),
            Route("/control/tools", control.set_tools, methods=["PUT"]),
        ],
    )
    # Outermost, not a Starlette middleware: those stand inside the framework's own error page.
    return _SaysSimulated(app)


class _SaysSimulated:
    """Puts the header on every response, errors of the framework included, so that no figure can pass for a real one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), SIMULATED_HEADER]
            await send(message)

        await self._app(scope, receive, marked if scope["type"] == "http" else send)


class _Control:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def stats(self, request: Request) -> Response:
        return JSONResponse({**self._engine.counters.as_json(), "batches": self._engine.batches.as_json()})

    async def reset(self, request: Request) -> Response:
        self._engine.reset()
        return JSONResponse({"reset": True})

    async def set_faults(self, request: Request) -> Response:
        def begin(value: Json) -> None:
            self._engine.set_faults(FaultPlan.from_json(value))

        return await _set(request, "faults", begin)

    async def set_tools(self, request: Request) -> Response:
        def begin(value: Json) -> None:
            self._engine.tools = ToolPlan.from_json(value)

        return await _set(request, "tools", begin)


async def _set(request: Request, what: str, begin: Callable[[Json], None]) -> Response:
    """Begins a plan, which refuses what it does not understand."""
    try:
        begin(json.loads(await request.body()))
    except ConfigRefused as refusal:
        return JSONResponse({"error": str(refusal)}, 400)
    except ValueError as error:
        return JSONResponse({"error": f"the plan of {what} is not JSON: {error}"}, 400)
    return JSONResponse({what: "set"})


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok", "kind": "simulated"})
