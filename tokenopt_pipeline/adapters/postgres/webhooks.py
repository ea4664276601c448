"""Webhooks in Postgres: what was heard, once each, and how often nobody was listened to."""

from __future__ import annotations

from datetime import datetime

from tokenopt_pipeline.adapters.postgres.connection import change, connect, store_errors
from tokenopt_pipeline.adapters.postgres.texts import storable, storable_or_none
from tokenopt_pipeline.domain.webhooks import BatchEvent, Refusal


class PostgresWebhooks:
    """On a connection per message: they are few, and a server must outlive the database's restarts."""

    def __init__(self, url: str) -> None:
        self._url = url

    def hear(self, event: BatchEvent, *, provider: str, now: datetime) -> bool:
        """Stores the event and has its batch looked at next; False when it was heard before."""
        batch_id = storable_or_none(event.batch_id)
        with (
            connect(self._url, application="tokenopt webhooks") as connection,
            store_errors(),
            connection.transaction(),
        ):
            heard = change(
                connection,
                "hear_webhook",
                provider=provider,
                webhook_id=storable(event.webhook_id),
                kind=storable(event.kind),
                batch_id=batch_id,
                now=now,
            )
            if heard and batch_id is not None:
                change(connection, "hint_batch", provider=provider, batch_id=batch_id, now=now)
        return heard == 1

    def refused(self, refusal: Refusal, *, provider: str, now: datetime) -> None:
        """Counts a message that nobody listened to."""
        with connect(self._url, application="tokenopt webhooks") as connection:
            change(connection, "refuse_webhook", provider=provider, refusal=refusal.value, now=now)
