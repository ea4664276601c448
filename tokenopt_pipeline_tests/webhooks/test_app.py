"""The door, knocked on over HTTP by the sandbox's own webhooks and by strangers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn

from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline.assembly.webhooks import open_webhooks
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline.webhooks import listening
from tokenopt_pipeline_tests.postgres_servers import wait_until
from tokenopt_pipeline_tests.stages.batch_rig import BatchRig
from tokenopt_pipeline_tests.stages.rig import Rig

KEY = b"a secret of sixteen bytes or more"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    port: int
    connection: Connection

    def url(self, provider: str) -> str:
        return f"http://127.0.0.1:{self.port}/webhooks/{provider}"

    def knock(self, provider: str, body: bytes, *, key: bytes = KEY, age_s: int = 0, **headers: str) -> int:
        """Status of a message signed with the key."""
        stamp = str(int(time.time()) - age_s)  # noqa: TID251 - the SDK looks at the wall's clock
        signed = b".".join((b"wh_1", stamp.encode(), body))
        signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        all_headers = {
            "webhook-id": "wh_1",
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{signature}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return self.post(provider, body, all_headers)

    def post(self, provider: str, body: bytes, headers: dict[str, str], *, method: str = "POST") -> int:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            client.request(method, f"/webhooks/{provider}", body=body, headers=headers)
            return client.getresponse().status
        except (BrokenPipeError, ConnectionResetError):
            # It does not read to the end what it refuses.
            return 413
        finally:
            client.close()

    def refusals(self) -> dict[str, int]:
        rows = self.connection.execute("select refusal, sum(n)::int as n from webhook_refusal group by 1").fetchall()
        return {r["refusal"]: r["n"] for r in rows}

    def heard(self) -> int:
        (row,) = self.connection.execute("select count(*) as n from webhook").fetchall()
        return int(row["n"])


@pytest.fixture
def door(database_url: str, connection: Connection) -> Iterator[Door]:
    app = open_webhooks(database_url, {"openai": SECRET, "google": SECRET})
    with listening("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started)
        yield Door(port=listener.getsockname()[1], connection=connection)
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


EVENT = json.dumps({"type": "batch.completed", "data": {"id": "batch_1"}}).encode()


@pytest.mark.parametrize("provider", ["openai", "google"])
def test_a_signed_event_is_heard_once_however_often_it_comes(door: Door, provider: str) -> None:
    assert [door.knock(provider, EVENT) for _ in range(3)] == [204, 204, 204]
    assert door.heard() == 1
    assert door.refusals() == {}


@pytest.mark.parametrize("provider", ["openai", "google"])
def test_what_is_not_the_providers_own_is_refused_and_counted(door: Door, provider: str) -> None:
    assert door.post(provider, EVENT, {}) == 401
    assert door.knock(provider, EVENT, key=b"a stranger's key of some length") == 401
    assert door.knock(provider, EVENT, age_s=301) == 401
    assert door.knock(provider, EVENT, age_s=-400) == 401
    assert door.knock(provider, EVENT, webhook_signature="v1,\u00e9".encode().decode("latin-1")) == 401
    assert door.knock(provider, b"\xff\xfe") in (400, 401)
    assert door.knock(provider, b"[]") == 400
    assert door.heard() == 0
    found = door.refusals()
    assert (found["unsigned"], found["stale"]) == (1, 2)
    assert sum(found.values()) == 7


def test_ten_megabytes_are_refused_without_being_read(door: Door) -> None:
    assert door.knock("openai", b"x" * 10_000_000) == 413
    assert door.refusals() == {"too_large": 1}


def test_anthropic_and_strangers_have_no_door(door: Door) -> None:
    assert door.knock("anthropic", EVENT) == 404
    assert door.knock("nobody", EVENT) == 404
    assert door.post("openai", b"", {}, method="GET") == 405


@pytest.mark.parametrize("vendor", ["openai", "google"])
def test_the_end_of_a_batch_makes_it_due_at_once(door: Door, rig: Rig, sandbox: Sandbox, vendor: str) -> None:
    sandbox.control.reset()
    sandbox.control.deliver_to(vendor, door.url(vendor), SECRET)
    sandbox.control.set_faults({"batches": {"scripted": [{"fault": "webhook_duplicated", "nth": 1}]}})
    batches = BatchRig(rig=rig, sandbox=sandbox, vendor=vendor)
    run, shard = batches.plan()
    line = batches.line()
    line.submit(run, shard)
    rig.connection.execute("update batch set look_at = now() + interval '5 minutes'")
    sandbox.control.advance(60)
    wait_until(lambda: rig.one("select look_at <= now() from batch") is True)
    delivered: list[Any] = [d["statuses"] for d in sandbox.control.deliveries()]
    assert delivered == [[204], [204]]
    assert door.heard() == 1
    # A hint only: nothing of the batch has changed.
    assert rig.one("select state from batch") == "submitted"
    batches.clock.ahead_s += 60
    batches.finish(run, shard)
    assert batches.figures(run)["lost"] == 0


@pytest.mark.parametrize(("fault", "refusal"), [("webhook_stale", "stale"), ("webhook_forged", "forged")])
def test_a_message_that_lies_changes_nothing(door: Door, rig: Rig, sandbox: Sandbox, fault: str, refusal: str) -> None:
    sandbox.control.reset()
    sandbox.control.deliver_to("openai", door.url("openai"), SECRET)
    sandbox.control.set_faults({"batches": {"scripted": [{"fault": fault, "nth": 1, "times": None}]}})
    batches = BatchRig(rig=rig, sandbox=sandbox, vendor="openai")
    run, shard = batches.plan()
    batches.line().submit(run, shard)
    rig.connection.execute("update batch set look_at = now() + interval '5 minutes'")
    sandbox.control.advance(60)
    wait_until(lambda: refusal in door.refusals())
    assert rig.one("select look_at > now() from batch") is True
    assert door.heard() == 0
