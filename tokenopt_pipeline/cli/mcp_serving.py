"""`tokenopt mcp serve`: a run's own tools, for models and for people's assistants."""

from __future__ import annotations

import secrets

import click

from tokenopt_pipeline.cli.exits import DONE, contract
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.settings import Settings, read_settings

_LEAST_TOKEN_CHARS = 16


@click.group()
def mcp() -> None:
    """The tools of a run, over the Model Context Protocol."""


@mcp.command(short_help="Serve a run's tools, over the standard streams or HTTP.")
@click.option("--run", "run_id", required=True, metavar="RUN", help="The run that is served; nothing else is readable.")
@click.option(
    "--http",
    "port",
    type=click.IntRange(0, 65_535),
    help="Serve on this port of 127.0.0.1 instead of the standard streams; 0 takes a free one.",
)
@contract
def serve(run_id: str, port: int | None) -> int:
    """Serve the tools of RUN: search_style_rules, get_block_batch, get_schema_for_block_type, lookup_previous_results.

    Everything is read-only and bounded, and nothing of another run is readable. Over HTTP, clients show the bearer token of
    TOKENOPT_MCP_TOKEN; without one, a token is made up and printed once on stderr.
    """
    from tokenopt_pipeline import assembly, mcp_server

    settings = read_settings()
    token = _token(settings)
    server = assembly.open_run_server(assembly.open_database(settings), run_id, settings=settings)
    try:
        if port is None:
            mcp_server.serve_stdio(server)
            return DONE
        with mcp_server.listening(port) as listener:
            url = f"http://{mcp_server.HOST}:{listener.getsockname()[1]}{mcp_server.PATH}"
            click.echo(f"serving run {run_id} on {url}", err=True)
            if settings.mcp_token is None:
                click.echo(f"bearer token: {token}", err=True)
            mcp_server.serve_http(server, listener, token=token)
    except KeyboardInterrupt:
        # The way a server is ended.
        pass
    return DONE


def _token(settings: Settings) -> str:
    token = settings.mcp_token or secrets.token_urlsafe(32)
    if len(token) < _LEAST_TOKEN_CHARS or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInput(
            f"TOKENOPT_MCP_TOKEN: at least {_LEAST_TOKEN_CHARS} characters are needed, printable ASCII without spaces"
        )
    return token
