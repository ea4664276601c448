"""The door for webhooks, with whoever has a secret."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from starlette.applications import Starlette

from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.openai_webhooks import check_openai_signature
from tokenopt_pipeline.adapters.postgres.webhooks import PostgresWebhooks
from tokenopt_pipeline.domain.webhooks import check_signature
from tokenopt_pipeline.webhooks import webhook_app

_CHECKS = {"openai": check_openai_signature, "google": check_signature}


def open_webhooks(url: str, secrets: Mapping[str, str]) -> Starlette:
    """The application for the providers of `secrets`, on the database at `url`."""
    checks = {provider: partial(_CHECKS[provider], secret=secret) for provider, secret in secrets.items()}
    return webhook_app(checks, PostgresWebhooks(url), now=SystemClock().now)
