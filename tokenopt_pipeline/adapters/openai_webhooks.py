"""OpenAI's webhooks, verified by its own SDK."""

from __future__ import annotations

import binascii
from functools import lru_cache
from typing import TYPE_CHECKING

from tokenopt_pipeline.domain.webhooks import TOLERANCE_S, Message, Refusal, WebhookRefused

if TYPE_CHECKING:
    import openai


def check_openai_signature(message: Message, *, secret: str) -> None:
    """Raises WebhookRefused unless the SDK takes the message for OpenAI's. It looks at the age as well."""
    import openai

    client = _client(secret)
    headers = {
        "webhook-id": message.webhook_id,
        "webhook-timestamp": message.timestamp,
        "webhook-signature": message.signatures,
    }
    try:
        client.webhooks.verify_signature(message.body, headers, tolerance=TOLERANCE_S)
    except (openai.InvalidWebhookSignatureError, ValueError, TypeError, binascii.Error):
        # It stumbles over signatures and bodies that are no text.
        raise WebhookRefused(Refusal.FORGED) from None


@lru_cache(maxsize=1)
def _client(secret: str) -> openai.OpenAI:
    import openai

    # No call is made, so the key is nobody's.
    return openai.OpenAI(api_key="unused", webhook_secret=secret)
