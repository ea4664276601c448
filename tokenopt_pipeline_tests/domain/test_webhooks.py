"""Only a fresh message with the secret's own signature over every byte is listened to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.webhooks import (
    MOST_BYTES,
    TOLERANCE_S,
    Message,
    Refusal,
    WebhookRefused,
    check_signature,
    check_time,
    event_in,
    message_in,
    usable_secret,
)

KEY = b"0123456789abcdef"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


def signed(body: bytes, *, webhook_id: str = "wh_1", timestamp: str = "1000", key: bytes = KEY) -> Message:
    content = b".".join((webhook_id.encode(), timestamp.encode(), body))
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return Message(webhook_id=webhook_id, timestamp=timestamp, signatures=f"v1,{signature}", body=body)


def refusal(do: Any, *args: Any, **kwargs: Any) -> Refusal:
    with pytest.raises(WebhookRefused) as refused:
        do(*args, **kwargs)
    return refused.value.refusal


@given(st.binary(max_size=200), st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=20))
def test_what_the_secret_signed_is_listened_to(body: bytes, webhook_id: str) -> None:
    check_signature(signed(body, webhook_id=webhook_id), secret=SECRET)


@given(st.binary(min_size=1, max_size=100), st.integers(0, 99), st.integers(1, 255))
def test_a_body_with_one_byte_changed_is_forged(body: bytes, place: int, change: int) -> None:
    message = signed(body)
    place %= len(body)
    other = body[:place] + bytes([body[place] ^ change]) + body[place + 1 :]
    forged = Message(
        webhook_id=message.webhook_id, timestamp=message.timestamp, signatures=message.signatures, body=other
    )
    assert refusal(check_signature, forged, secret=SECRET) is Refusal.FORGED


@pytest.mark.parametrize("signatures", ["", "v1,", "v1,AAAA", "v2,AAAA", "v1,\u20ac", "nonsense"])
def test_signatures_that_are_none_are_forged(signatures: str) -> None:
    message = Message(webhook_id="w", timestamp="1", signatures=signatures, body=b"{}")
    assert refusal(check_signature, message, secret=SECRET) is Refusal.FORGED


def test_one_right_signature_among_others_is_enough_while_a_secret_is_changed() -> None:
    message = signed(b"{}")
    both = Message(
        webhook_id=message.webhook_id,
        timestamp=message.timestamp,
        signatures=f"{signed(b'{}', key=b'another key of old').signatures} {message.signatures}",
        body=message.body,
    )
    check_signature(both, secret=SECRET)


@pytest.mark.parametrize(
    ("timestamp", "is_fresh"),
    [
        ("1000", True),
        (str(1000 - TOLERANCE_S), True),
        (str(1000 + TOLERANCE_S), True),
        (str(1000 - TOLERANCE_S - 1), False),
        (str(1000 + TOLERANCE_S + 1), False),
        ("-1", False),
        ("soon", False),
        ("\u0661", False),
        ("9" * 40, False),
    ],
)
def test_only_fresh_messages_are_listened_to(timestamp: str, is_fresh: bool) -> None:
    message = Message(webhook_id="w", timestamp=timestamp, signatures="s", body=b"")
    if is_fresh:
        check_time(message, now_s=1000.0)
    else:
        assert refusal(check_time, message, now_s=1000.0) is Refusal.STALE


def test_a_message_needs_all_three_headers_and_a_body_of_some_size() -> None:
    headers = {"webhook-id": "w", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
    assert message_in(headers, b"{}") == Message(webhook_id="w", timestamp="1", signatures="v1,x", body=b"{}")
    for name in headers:
        assert refusal(message_in, {**headers, name: ""}, b"{}") is Refusal.UNSIGNED
    assert refusal(message_in, {**headers, "webhook-id": "w" * 1000}, b"") is Refusal.UNSIGNED
    assert refusal(message_in, headers, b"x" * (MOST_BYTES + 1)) is Refusal.TOO_LARGE


@pytest.mark.parametrize(
    ("provider", "told", "batch_id"),
    [
        ("openai", {"type": "batch.completed", "data": {"id": "batch_1"}}, "batch_1"),
        ("google", {"type": "batch.succeeded", "data": {"id": "batches/1"}}, "batches/1"),
        ("google", {"type": "batch.succeeded", "data": {"id": "1"}}, "batches/1"),
        ("openai", {"type": "response.completed", "data": {"id": "resp_1"}}, None),
    ],
)
def test_an_event_names_its_batch_as_the_providers_calls_do(provider: str, told: Any, batch_id: str | None) -> None:
    event = event_in(signed(json.dumps(told).encode()), provider=provider)
    assert (event.kind, event.batch_id, event.webhook_id) == (told["type"], batch_id, "wh_1")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"type": 1}',
        b'{"type": "batch.completed"}',
        b'{"type": "batch.completed", "data": {"id": ""}}',
        b'{"type": "batch.completed", "data": [1]}',
        b"[" * 60_000,
    ],
)
def test_what_is_signed_and_no_event_is_malformed(body: bytes) -> None:
    assert refusal(event_in, signed(body), provider="openai") is Refusal.MALFORMED


@pytest.mark.parametrize(
    ("secret", "usable"), [(SECRET, True), ("whsec_AAAA", False), (SECRET[6:], False), ("whsec_not base64!", False)]
)
def test_a_secret_is_of_the_scheme_and_long_enough(secret: str, usable: bool) -> None:
    assert usable_secret(secret) is usable
