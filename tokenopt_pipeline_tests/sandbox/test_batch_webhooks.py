"""The ends of batches told to a URL, verified as their receivers verify them."""

from __future__ import annotations

import json
import time
import urllib.error
from collections.abc import Iterator
from typing import Any

import anthropic
import jwt
import openai
import pytest
from google import genai
from google.genai import errors, types
from openai.types.webhooks import BatchCompletedWebhookEvent

from tokenopt_pipeline.sandbox.batch_config import BatchSettings
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline.sandbox.webhooks import signature

from . import asking_batches, asking_google, asking_google_batches, asking_openai, asking_openai_batches
from .asking_batches import DAY_S, HOUR_S
from .receiving import Received, Receiver, receiving

TURNAROUND_S = HOUR_S


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    with running_sandbox(SandboxConfig(batches=BatchSettings(turnaround_s=TURNAROUND_S))) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def forgetful(sandbox: Sandbox) -> None:
    """Every test begins with an empty sandbox."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def client(shared_sandbox: Sandbox) -> Iterator[openai.OpenAI]:
    with asking_openai.client_of(shared_sandbox) as client:
        yield client


@pytest.fixture(scope="module")
def google(shared_sandbox: Sandbox) -> Iterator[genai.Client]:
    with asking_google.client_of(shared_sandbox) as client:
        yield client


def create(client: openai.OpenAI) -> str:
    return asking_openai_batches.create(client, asking_openai_batches.lines(1)).id


def spoil(sandbox: Sandbox, fault: str, **plan: Any) -> None:
    sandbox.control.set_faults({"batches": {"scripted": [{"fault": fault, "nth": 1}], **plan}})


def unwrapped(client: openai.OpenAI, received: Received, secret: str) -> Any:
    return client.webhooks.unwrap(received.body, received.headers, secret=secret)


def test_openai_tells_of_a_completed_batch_in_a_way_its_sdk_verifies(
    client: openai.OpenAI, sandbox: Sandbox, receiver: Receiver
) -> None:
    secret = sandbox.control.deliver_to("openai", receiver.url)
    batch_id = create(client)
    # A day ahead: the age of a message is judged by the receiver's own clock.
    sandbox.control.advance(DAY_S / 2)
    (received,) = receiver.received
    event = unwrapped(client, received, secret)
    assert isinstance(event, BatchCompletedWebhookEvent)
    assert event.data.id == batch_id
    (delivery,) = sandbox.control.deliveries()
    assert (delivery["batch"], delivery["type"], delivery["statuses"]) == (batch_id, "batch.completed", [200])
    assert delivery["webhook_id"] == received.headers["webhook-id"]
    with pytest.raises(openai.InvalidWebhookSignatureError):
        unwrapped(client, Received(headers=received.headers, body=received.body + b" "), secret)


@pytest.mark.parametrize(
    ("fault", "ends"), [("batch_failed", "batch.failed"), ("batch_expired", "batch.expired"), (None, "batch.cancelled")]
)
def test_openai_tells_of_every_end(
    client: openai.OpenAI, sandbox: Sandbox, receiver: Receiver, fault: str | None, ends: str
) -> None:
    sandbox.control.deliver_to("openai", receiver.url)
    if fault is not None:
        spoil(sandbox, fault)
    batch_id = create(client)
    if fault is None:
        client.batches.cancel(batch_id)
    sandbox.control.advance(DAY_S)
    assert [json.loads(received.body)["type"] for received in receiver.received] == [ends]


def test_a_batch_that_ends_by_itself_is_told_without_being_looked_at(receiver: Receiver) -> None:
    config = SandboxConfig(batches=BatchSettings(turnaround_s=0.05))
    with running_sandbox(config) as sandbox, asking_openai.client_of(sandbox) as client:
        sandbox.control.deliver_to("openai", receiver.url)
        create(client)
        until_s = time.monotonic() + 5
        while not receiver.received and time.monotonic() < until_s:
            time.sleep(0.01)
        assert len(receiver.received) == 1


def test_google_tells_of_batches_signed_the_same_way(
    google: genai.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    secret = sandbox.control.deliver_to("google", receiver.url)
    stored = asking_google_batches.upload(google, asking_google_batches.lines(1))
    assert stored.name is not None
    job = asking_google_batches.create(google, stored.name)
    sandbox.control.advance(TURNAROUND_S)
    (received,) = receiver.received
    headers = received.headers
    signed = signature(secret, headers["webhook-id"], int(headers["webhook-timestamp"]), received.body)
    assert headers["webhook-signature"] == signed
    event = json.loads(received.body)
    assert (event["type"], event["data"]["id"]) == ("batch.succeeded", job.name)
    assert google.files.download(file=event["data"]["output_file_uri"])


def test_google_tells_a_url_of_the_jobs_own_with_a_token_its_key_set_verifies(
    google: genai.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    sandbox.control.deliver_to("google", "http://127.0.0.1:1/elsewhere")
    config = types.WebhookConfig(uris=[receiver.url], user_metadata={"run": "r1"})
    asking_google_batches.create(google, asking_google_batches.inlined(1), webhook_config=config)
    sandbox.control.advance(TURNAROUND_S)
    (received,) = receiver.received
    token = received.headers["webhook-signature"]
    key = jwt.PyJWKClient(f"{sandbox.google_url}/.well-known/jwks.json").get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=receiver.url)
    assert claims["data"]["user_metadata"] == {"run": "r1"}
    assert json.loads(received.body)["data"] == claims["data"]


def test_anthropic_tells_nobody(sandbox: Sandbox, receiver: Receiver) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        sandbox.control.deliver_to("anthropic", receiver.url)
    assert "not from 'anthropic'" in json.load(refused.value)["error"]
    with anthropic.Anthropic(base_url=sandbox.anthropic_url, api_key="sandbox") as client:
        asking_batches.create(client)
    sandbox.control.advance(TURNAROUND_S)
    assert sandbox.control.deliveries() == []


@pytest.mark.parametrize("url", ["https://example.com/hooks", "http://10.0.0.1/hooks", "file:///etc/passwd"])
def test_nothing_is_delivered_off_this_machine(google: genai.Client, sandbox: Sandbox, url: str) -> None:
    with pytest.raises(urllib.error.HTTPError):
        sandbox.control.deliver_to("openai", url)
    config = types.WebhookConfig(uris=[url])
    with pytest.raises(errors.ClientError):
        asking_google_batches.create(google, asking_google_batches.inlined(1), webhook_config=config)


def test_a_duplicate_has_the_same_id(client: openai.OpenAI, sandbox: Sandbox, receiver: Receiver) -> None:
    secret = sandbox.control.deliver_to("openai", receiver.url)
    spoil(sandbox, "webhook_duplicated")
    create(client)
    sandbox.control.advance(TURNAROUND_S)
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert unwrapped(client, first, secret) == unwrapped(client, second, secret)


def test_a_late_one_comes_after_its_batch_was_seen_to_end(
    client: openai.OpenAI, sandbox: Sandbox, receiver: Receiver
) -> None:
    sandbox.control.deliver_to("openai", receiver.url)
    spoil(sandbox, "webhook_late", late_s=900)
    batch_id = create(client)
    sandbox.control.advance(TURNAROUND_S)
    assert client.batches.retrieve(batch_id).status == "completed"
    sandbox.control.advance(899)
    assert receiver.received == []
    sandbox.control.advance(2)
    assert len(receiver.received) == 1


@pytest.mark.parametrize("fault", ["webhook_stale", "webhook_forged"])
def test_a_stale_or_forged_one_is_refused_by_the_sdk(
    client: openai.OpenAI, sandbox: Sandbox, receiver: Receiver, fault: str
) -> None:
    secret = sandbox.control.deliver_to("openai", receiver.url)
    spoil(sandbox, fault)
    create(client)
    sandbox.control.advance(TURNAROUND_S)
    (received,) = receiver.received
    with pytest.raises(openai.InvalidWebhookSignatureError):
        unwrapped(client, received, secret)


def test_a_lost_one_never_comes(client: openai.OpenAI, sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.control.deliver_to("openai", receiver.url)
    spoil(sandbox, "webhook_lost")
    create(client)
    sandbox.control.advance(DAY_S)
    assert receiver.received == []
    assert [delivery["statuses"] for delivery in sandbox.control.deliveries()] == [[]]


def test_a_refused_one_is_tried_again_with_the_same_id(
    client: openai.OpenAI, sandbox: Sandbox, receiver: Receiver
) -> None:
    sandbox.control.deliver_to("openai", receiver.url)
    receiver.statuses = [500, 503]
    create(client)
    sandbox.control.advance(TURNAROUND_S)
    assert len(receiver.received) == 1
    for _ in range(4):
        sandbox.control.advance(HOUR_S)
    assert [delivery["statuses"] for delivery in sandbox.control.deliveries()] == [[500, 503, 200]]
    assert len({received.headers["webhook-id"] for received in receiver.received}) == 1


def test_a_receiver_that_is_not_there_is_given_up(client: openai.OpenAI, sandbox: Sandbox) -> None:
    sandbox.control.deliver_to("openai", "http://127.0.0.1:1/nobody")
    create(client)
    for _ in range(6):
        sandbox.control.advance(HOUR_S)
    (delivery,) = sandbox.control.deliveries()
    assert (delivery["statuses"], delivery["done"]) == ([None] * 4, True)
