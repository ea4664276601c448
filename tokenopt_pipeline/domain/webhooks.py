"""Webhooks: whether a message is from whom it says, and which batch it is about. A hint to look, and nothing more."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

#: How far a message's time may be from ours, in seconds: what the Standard Webhooks specification advises.
TOLERANCE_S = 300
#: An event about a batch has some hundred bytes.
MOST_BYTES = 65_536
_SECRET_PREFIX = "whsec_"
_SIGNATURE_PREFIX = "v1,"
_LONGEST_ID = 256


class Refusal(StrEnum):
    """Why a message is not listened to."""

    TOO_LARGE = "too_large"
    UNSIGNED = "unsigned"  # a header of the scheme is missing
    STALE = "stale"  # too old, or from the future
    FORGED = "forged"  # no signature fits
    MALFORMED = "malformed"  # signed, and no event that can be read


class WebhookRefused(Exception):
    """A message that is not listened to."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it came, its body byte for byte."""

    webhook_id: str
    timestamp: str
    signatures: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEvent:
    """A provider says that something became of a batch."""

    webhook_id: str
    kind: str
    #: Under the name that the provider's own calls take; None: the event is about no batch.
    batch_id: str | None


def message_in(headers: Mapping[str, str], body: bytes) -> Message:
    """The message behind a request; `headers` have lower-case names. Raises WebhookRefused."""
    if len(body) > MOST_BYTES:
        raise WebhookRefused(Refusal.TOO_LARGE)
    found = [headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")]
    if not all(found) or len(found[0]) > _LONGEST_ID:
        raise WebhookRefused(Refusal.UNSIGNED)
    return Message(webhook_id=found[0], timestamp=found[1], signatures=found[2], body=body)


def check_time(message: Message, *, now_s: float) -> None:
    """Raises WebhookRefused for a message from long ago or from the future: an old one may be somebody's copy."""
    if not message.timestamp.isascii() or not message.timestamp.isdecimal():
        raise WebhookRefused(Refusal.STALE)
    if abs(now_s - int(message.timestamp)) > TOLERANCE_S:
        raise WebhookRefused(Refusal.STALE)


def check_signature(message: Message, *, secret: str) -> None:
    """Raises WebhookRefused unless one of the signatures is the secret's; every comparison takes the same time.

    The scheme of Standard Webhooks: `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`.
    """
    signed = b".".join((message.webhook_id.encode(), message.timestamp.encode(), message.body))
    expected = base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest())
    given = [part.removeprefix(_SIGNATURE_PREFIX) for part in message.signatures.split() if part.startswith("v1,")]
    matches = [hmac.compare_digest(expected, signature.encode("utf-8", "replace")) for signature in given]
    if not any(matches):
        raise WebhookRefused(Refusal.FORGED)


def usable_secret(secret: str) -> bool:
    """Whether the secret is one of the scheme's: `whsec_` and base64 of at least sixteen bytes."""
    try:
        return secret.startswith(_SECRET_PREFIX) and len(_key(secret)) >= 16
    except (binascii.Error, ValueError):
        return False


def event_in(message: Message, *, provider: str) -> BatchEvent:
    """What a verified message says. Raises WebhookRefused."""
    try:
        told = json.loads(message.body)
        kind, data = told["type"], told.get("data")
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        raise WebhookRefused(Refusal.MALFORMED) from None
    if not isinstance(kind, str):
        raise WebhookRefused(Refusal.MALFORMED)
    batch_id: str | None = None
    if kind.startswith("batch."):
        found = data.get("id") if isinstance(data, dict) else None
        if not isinstance(found, str) or not found:
            raise WebhookRefused(Refusal.MALFORMED)
        # Google's calls name a batch by its path.
        batch_id = f"batches/{found}" if provider == "google" and "/" not in found else found
    return BatchEvent(webhook_id=message.webhook_id, kind=kind, batch_id=batch_id)


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
