"""`tokenopt webhooks serve`: the door that providers knock on when a batch has ended."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import click

from tokenopt_pipeline.cli.exits import DONE, contract
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.webhooks import usable_secret
from tokenopt_pipeline.settings import WEBHOOK_VARIABLES, read_settings


@click.group()
def webhooks() -> None:
    """What providers say of batches that have ended."""


@webhooks.command(short_help="Listen to OpenAI and Google.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8484, show_default=True, type=click.IntRange(0, 65_535), help="0 takes a free one.")
@contract
def serve(host: str, port: int) -> int:
    """Listen on /webhooks/openai and /webhooks/google for ends of batches, so that they are looked at at once.

    Signatures are verified over the raw body (Standard Webhooks) with the secrets in OPENAI_WEBHOOK_SECRET and
    TOKENOPT_GOOGLE_WEBHOOK_SECRET; what is unsigned, forged, older than five minutes or no event is refused and counted. A
    message is a hint only: the batch is always asked about. Anthropic sends none for message batches, so there the sensor
    alone looks. Providers need a public https address that leads here: put a reverse proxy or a tunnel before it.
    """
    from tokenopt_pipeline import assembly
    from tokenopt_pipeline.assembly.webhooks import open_webhooks
    from tokenopt_pipeline.webhooks import listening
    from tokenopt_pipeline.webhooks import serve as serve_app

    settings = read_settings()
    secrets = _usable(settings.webhook_secrets)
    app = open_webhooks(assembly.open_database(settings), secrets)
    with listening(host, port) as listener:
        shown = listener.getsockname()
        for provider in secrets:
            click.echo(f"listening to {provider} on http://{shown[0]}:{shown[1]}/webhooks/{provider}", err=True)
        # The way a server is ended.
        with suppress(KeyboardInterrupt):
            serve_app(app, listener)
    return DONE


def _usable(secrets: Mapping[str, str]) -> Mapping[str, str]:
    if not secrets:
        raise InvalidInput(f"no secret to verify webhooks with: set {' or '.join(WEBHOOK_VARIABLES.values())}")
    for provider, secret in secrets.items():
        if not usable_secret(secret):
            raise InvalidInput(f"{WEBHOOK_VARIABLES[provider]} is no webhook secret: whsec_ and base64 are expected")
    return secrets
