"""Telling a declared URL that a batch has ended, signed as Standard Webhooks are, and remembering every try."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tokenopt_pipeline.sandbox.batch_faults import BatchFault
from tokenopt_pipeline.sandbox.batches import Batch
from tokenopt_pipeline.sandbox.config_reading import ConfigRefused
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object
from tokenopt_pipeline.sandbox.virtual_clock import VirtualClock
from tokenopt_pipeline.sandbox.webhook_seal import WebhookSeal

_HOSTS = ("127.0.0.1", "::1", "localhost")
_PROVIDERS = ("openai", "google")
_TIMEOUT_S = 5
# Between tries of one delivery, in simulated seconds; the real ones go on for three days.
_RETRY_AFTER_S = (5, 60, 600)
# Beyond the five minutes a receiver of Standard Webhooks tolerates.
_STALE_S = 3600
SECRET_PREFIX = "whsec_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a provider delivers."""

    provider: str
    url: str
    secret: str | None
    """`whsec_` and the key in base64; None where a token is signed instead, as for one job of Google's."""


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One message on its way."""

    target: Target
    webhook_id: str
    kind: str
    batch_id: str
    body: bytes
    due_s: float
    fault: BatchFault | None
    statuses: list[Json] = field(default_factory=list)
    """What each try was answered with; null when nobody answered."""
    done: bool = False

    def as_json(self) -> JsonObject:
        """What `GET /control/deliveries` shows; the secret is not among it."""
        return {
            "provider": self.target.provider,
            "url": self.target.url,
            "webhook_id": self.webhook_id,
            "type": self.kind,
            "batch": self.batch_id,
            "due_s": self.due_s,
            "fault": None if self.fault is None else self.fault.value,
            "statuses": self.statuses,
            "done": self.done,
        }


class Webhooks:
    """The declared URLs of one sandbox and what was sent to them."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._targets: dict[str, Target] = {}
        self._deliveries: list[Delivery] = []
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.seal = WebhookSeal()

    def declare(self, provider: str, url: str, secret: str | None) -> Target:
        """Deliver a provider's events to `url` from now on. Raises ConfigRefused."""
        if provider not in _PROVIDERS:
            raise ConfigRefused(f"webhooks about batches come from {' and '.join(_PROVIDERS)}, not from {provider!r}")
        check_url(url)
        made = base64.b64encode(hashlib.sha256(f"sandbox webhooks of {provider}".encode()).digest()).decode()
        target = Target(provider=provider, url=url, secret=secret or f"{SECRET_PREFIX}{made}")
        _key(target.secret or "")
        self._targets[provider] = target
        return target

    def targets(self, batch: Batch) -> list[Target]:
        """Where the end of `batch` is told: at the URLs it names itself, else at its provider's declared one."""
        provider = batch.party.provider
        own = as_list(as_object(batch.tags.get("webhookConfig")).get("uris"))
        if own:
            return [Target(provider=provider, url=str(url), secret=None) for url in own]
        declared = self._targets.get(provider)
        return [] if declared is None else [declared]

    def announce(
        self, batch: Batch, kind: str, body: JsonObject, *, target: Target, fault: BatchFault | None, late_s: float
    ) -> list[float]:
        """Put a message on its way; the moments it is due."""
        now_s = self._clock()
        number = len(self._deliveries)
        webhook_id = f"wh_{hashlib.sha256(f'{batch.id}:{target.url}:{number}'.encode()).hexdigest()[:24]}"
        due_s = [now_s + late_s] if fault is BatchFault.WEBHOOK_LATE else [now_s]
        if fault is BatchFault.WEBHOOK_DUPLICATED:
            due_s = [now_s, now_s]
        for moment_s in due_s:
            self._deliveries.append(
                Delivery(
                    target=target,
                    webhook_id=webhook_id,
                    kind=kind,
                    batch_id=batch.id,
                    body=json.dumps(body, separators=(",", ":")).encode(),
                    due_s=moment_s,
                    fault=fault,
                    done=fault is BatchFault.WEBHOOK_LOST,
                )
            )
        return due_s

    async def deliver_due(self) -> None:
        """Send what is due; what fails is tried again later."""
        async with self._lock:
            for delivery in list(self._deliveries):
                if not delivery.done and delivery.due_s <= self._clock():
                    await self._deliver(delivery)

    def as_json(self) -> list[Json]:
        """Every delivery, oldest first."""
        return [delivery.as_json() for delivery in self._deliveries]

    async def _deliver(self, delivery: Delivery) -> None:
        # The wall's clock: receivers judge the age of a message by it, however far the sandbox was advanced.
        sent_s = int(self._clock.base()) - (_STALE_S if delivery.fault is BatchFault.WEBHOOK_STALE else 0)
        headers = {
            "content-type": "application/json",
            "webhook-id": delivery.webhook_id,
            "webhook-timestamp": str(sent_s),
            "webhook-signature": self._signed(delivery, sent_s),
        }
        status = await asyncio.to_thread(_post, delivery.target.url, delivery.body, headers)
        delivery.statuses.append(status)
        tries = len(delivery.statuses)
        if (status is not None and 200 <= status < 300) or tries > len(_RETRY_AFTER_S):
            delivery.done = True
        else:
            delivery.due_s = self._clock() + _RETRY_AFTER_S[tries - 1]
            asyncio.get_running_loop().call_later(_RETRY_AFTER_S[tries - 1], self._again)

    def _signed(self, delivery: Delivery, sent_s: int) -> str:
        forged = delivery.fault is BatchFault.WEBHOOK_FORGED
        secret = delivery.target.secret
        if secret is None:
            seal = WebhookSeal() if forged else self.seal
            return seal.token(delivery.target.url, delivery.webhook_id, sent_s, delivery.body)
        if forged:
            secret = SECRET_PREFIX + base64.b64encode(b"somebody else's key").decode()
        return signature(secret, delivery.webhook_id, sent_s, delivery.body)

    def _again(self) -> None:
        task = asyncio.get_running_loop().create_task(self.deliver_due())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def check_url(url: str) -> None:
    """Raises ConfigRefused for a URL that leads off this machine."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname not in _HOSTS:
        raise ConfigRefused(f"the sandbox delivers over http to {', '.join(_HOSTS)} only, not to {url!r}")


def signature(secret: str, webhook_id: str, sent_s: int, body: bytes) -> str:
    """The `webhook-signature` header of https://github.com/standard-webhooks/standard-webhooks, version 1."""
    signed = f"{webhook_id}.{sent_s}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(_key(secret), signed, 'sha256')).decode()}"


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        raise ConfigRefused("a webhook secret is whsec_ and base64") from None


def _post(url: str, body: bytes, headers: dict[str, str]) -> int | None:
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            return int(response.status)
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError:
        return None
