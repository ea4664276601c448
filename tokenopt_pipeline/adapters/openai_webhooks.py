"""OpenAI's webhooks, verified by its own SDK."""

from __future__ import annotations

import binascii

from tokenopt_pipeline.domain.webhooks import TOLERANCE_S, Message, Refusal, WebhookRefused


def check_openai_signature(message: Message, *, secret: str) -> None:
    """Raises WebhookRefused unless the SDK takes the message for OpenAI's. It looks at the age as well."""
    import openai

    # No call is made, so the key is nobody's.
    client = openai.OpenAI(api_key="unused", webhook_secret=secret)
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
    finally:
        client.close()
