"""A sandbox in a thread of this process, for tests."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tokenopt_pipeline.sandbox.app import Clock
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object
from tokenopt_pipeline.sandbox.serve import listen, server_on

_START_TIMEOUT_S = 10
# Ending a batch means answering all its items, about a thousand a second.
_CALL_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A sandbox's control doors, spoken to over HTTP."""

    base_url: str

    def stats(self) -> JsonObject:
        """Counters since the start or the last reset."""
        return as_object(self._call("GET", "stats"))

    def advance(self, seconds: float) -> None:
        """Let simulated time pass; what it ends has ended, and is told, when this returns."""
        self._call("POST", "advance", json.dumps({"seconds": seconds}).encode())

    def batches(self, provider: str | None = None) -> list[JsonObject]:
        """Every batch ever accepted, deleted ones included, oldest first."""
        found = [as_object(batch) for batch in as_list(as_object(self._call("GET", "batches")).get("batches"))]
        return [batch for batch in found if provider in (None, batch["provider"])]

    def created(self, provider: str | None = None) -> list[str]:
        """The ids of every batch ever accepted, oldest first."""
        return [str(batch["id"]) for batch in self.batches(provider)]

    def deliver_to(self, provider: str, url: str, secret: str | None = None) -> str:
        """Tell `url` (http, loopback) of every batch of `provider` that ends from now on; the signing secret, `whsec_…`."""
        asked = {"provider": provider, "url": url, "secret": secret}
        return str(as_object(self._call("PUT", "webhooks", json.dumps(asked).encode()))["secret"])

    def deliveries(self) -> list[JsonObject]:
        """Every webhook sent or to be sent, oldest first, with the status of each try."""
        return [as_object(each) for each in as_list(as_object(self._call("GET", "deliveries")).get("deliveries"))]

    def reset(self) -> None:
        """Forget everything seen, and go back to the configured plans."""
        self._call("POST", "reset")

    def set_faults(self, plan: Json) -> None:
        """Start a fault plan, given in its JSON form. Raises urllib.error.HTTPError when it is refused."""
        self._call("PUT", "faults", json.dumps(plan).encode())

    def set_tools(self, plan: Json) -> None:
        """What the model does with tools from now on, in its JSON form. Raises urllib.error.HTTPError when it is refused."""
        self._call("PUT", "tools", json.dumps(plan).encode())

    def _call(self, method: str, name: str, body: bytes | None = None) -> Json:
        request = urllib.request.Request(f"{self.base_url}/control/{name}", data=body, method=method)
        with urllib.request.urlopen(request, timeout=_CALL_TIMEOUT_S) as response:
            answer: Json = json.loads(response.read())
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A running sandbox."""

    base_url: str
    control: Control

    @property
    def anthropic_url(self) -> str:
        """What ANTHROPIC_BASE_URL should be."""
        return f"{self.base_url}/anthropic"

    @property
    def openai_url(self) -> str:
        """What OPENAI_BASE_URL should be."""
        return f"{self.base_url}/openai/v1"

    @property
    def google_url(self) -> str:
        """What GOOGLE_GEMINI_BASE_URL should be; the API version follows it."""
        return f"{self.base_url}/google"

    @property
    def custom_url(self) -> str:
        """The base URL of the OpenAI-compatible server."""
        return f"{self.base_url}/custom/v1"


@contextmanager
def running_sandbox(config: SandboxConfig | None = None, *, clock: Clock | None = None) -> Iterator[Sandbox]:
    """A sandbox that accepts connections inside the block and is gone after it."""
    accepting = threading.Event()
    with listen("127.0.0.1", 0) as listening:
        server = server_on(listening, config or SandboxConfig(), lambda port: accepting.set(), clock)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="sandbox", daemon=True)
        thread.start()
        try:
            if not accepting.wait(_START_TIMEOUT_S):
                raise RuntimeError(f"the sandbox did not accept connections within {_START_TIMEOUT_S} s")
            base_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            yield Sandbox(base_url=base_url, control=Control(base_url=base_url))
        finally:
            server.should_exit = True
            thread.join()
