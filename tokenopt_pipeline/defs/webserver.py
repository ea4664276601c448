"""Dagster's webserver behind a guard: the stock one has no login and runs GraphQL mutations over GET from any web page.

The guard lets in what a page of this very server, or a program on this machine, sends on purpose.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import dagster as dg
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

HOST = "127.0.0.1"

_LOOPBACK = frozenset({HOST, "localhost"})
_HTTP_PORT = 80
#: First segments of the paths behind which things are changed, whatever the method.
_CHANGING = ("graphql", "report_asset_", "dagit")
_POLICY_VIOLATION = 1008
_LIVE_DATA_POLL_MS = 2000
_STATEMENT_TIMEOUT_MS = 15_000
_POOL_RECYCLE_S = 3600
_POOL_MAX_OVERFLOW = 20
_SHUTDOWN_S = 3


def own_hosts(port: int) -> frozenset[str]:
    """What a Host header may say."""
    bare = _LOOPBACK if port == _HTTP_PORT else frozenset()
    return bare | {f"{host}:{port}" for host in _LOOPBACK}


class SameOriginOnly:
    """ASGI middleware that answers 403, with the reason, to what a foreign page could have sent."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if reason is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await PlainTextResponse(reason, status_code=403)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": reason})

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        hosts, origin = [host.lower() for host in headers.getlist("host")], headers.get("origin")
        # A foreign name that resolves to loopback would make a foreign page look like one of ours.
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return "unknown Host"
        if origin is not None and origin.lower() != f"http://{hosts[0]}":
            return "foreign Origin"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return "sent by another site: open the address itself"
        if scope["type"] == "websocket":
            # Browsers always say where a websocket comes from.
            return "a websocket needs an Origin" if origin is None else None
        if (scope["method"] not in ("GET", "HEAD") or _changes(scope["path"])) and not _is_json_post(scope, headers):
            return "only POST with application/json"
        return None


class GuardedWebserver(DagsterWebserver[WorkspaceProcessContext, WorkspaceRequestContext]):
    """Dagster's webserver that answers only to its own pages and to local programs."""

    def __init__(self, context: WorkspaceProcessContext, *, port: int) -> None:
        self._hosts = own_hosts(port)
        super().__init__(context, live_data_poll_rate=_LIVE_DATA_POLL_MS)

    def build_middleware(self) -> list[Middleware]:
        """The guard comes first."""
        return [Middleware(SameOriginOnly, hosts=self._hosts), *super().build_middleware()]

    def make_security_headers(self) -> dict[str, str]:
        """Dagster's, and nobody may lay the page under theirs."""
        return {**super().make_security_headers(), "X-Frame-Options": "DENY"}


def guarded_app(context: WorkspaceProcessContext, *, port: int) -> Starlette:
    """The ASGI application as it is served on `port`."""
    return GuardedWebserver(context, port=port).create_asgi_app()


def serve(*, port: int, read_only: bool, workspace: Path) -> None:
    """Serves until SIGTERM or SIGINT."""
    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(_STATEMENT_TIMEOUT_MS, _POOL_RECYCLE_S, _POOL_MAX_OVERFLOW)
        with WorkspaceProcessContext(
            instance, WorkspaceFileTarget(paths=[str(workspace)]), version=__version__, read_only=read_only
        ) as context:
            app = guarded_app(context, port=port)
            logging.getLogger(__name__).info("UI on http://%s:%d%s", HOST, port, ", read-only" if read_only else "")
            uvicorn.run(
                app,
                host=HOST,
                port=port,
                log_level="warning",
                # A forwarded address from loopback is anybody's claim.
                proxy_headers=False,
                timeout_graceful_shutdown=_SHUTDOWN_S,
            )


def main(arguments: list[str] | None = None) -> None:
    """`python -m tokenopt_pipeline.defs.webserver`."""
    parser = argparse.ArgumentParser(prog="tokenopt_pipeline.defs.webserver", description=__doc__)
    parser.add_argument("--host", default=HOST, help="loopback, nothing else")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--read-only", action="store_true", help="refuse everything that changes something")
    parser.add_argument("--workspace", type=Path, required=True, help="a workspace.yaml")
    chosen = parser.parse_args(arguments)
    if chosen.host not in _LOOPBACK:
        sys.exit(
            f"{chosen.host}: served on {HOST} only, because it has no login; put a proxy with a login in front of it"
        )
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger(__name__).setLevel(logging.INFO)
    serve(port=chosen.port, read_only=chosen.read_only, workspace=chosen.workspace)


def _changes(path: str) -> bool:
    return path.lstrip("/").lower().startswith(_CHANGING)


def _is_json_post(scope: Scope, headers: Headers) -> bool:
    """The one content type that a foreign page may not send without asking first."""
    media_type = headers.get("content-type", "").split(";")[0].strip().lower()
    return scope["method"] == "POST" and media_type == "application/json"


if __name__ == "__main__":
    main()
