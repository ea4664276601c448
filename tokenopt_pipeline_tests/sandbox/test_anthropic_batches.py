"""Message batches through the real SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tokenopt_pipeline.sandbox.batch_config import BatchSettings
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from .asking import MODEL, ask, client_of, shared
from .asking import results as sync_results
from .asking_batches import DAY_S, HOUR_S, create, entries, params, requests, results
from .test_recorded_shapes import assert_covers, recordings

TURNAROUND_S = HOUR_S


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    with running_sandbox(SandboxConfig(batches=BatchSettings(turnaround_s=TURNAROUND_S, cancelling_s=60))) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def client(shared_sandbox: Sandbox) -> Iterator[anthropic.Anthropic]:
    with client_of(shared_sandbox) as client:
        yield client


@pytest.fixture(autouse=True)
def forgetful(sandbox: Sandbox) -> None:
    """Every test begins with an empty sandbox."""


def counts(batch: Any) -> dict[str, int]:
    return {name: count for name, count in batch.request_counts.model_dump().items() if count}


def test_a_batch_is_in_progress_until_its_time_has_come(client: anthropic.Anthropic, sandbox: Sandbox) -> None:
    batch = create(client)
    assert batch.processing_status == "in_progress"
    assert counts(batch) == {"processing": 3}
    assert (batch.expires_at - batch.created_at).total_seconds() == DAY_S
    sandbox.control.advance(TURNAROUND_S - 60)
    waiting = client.messages.batches.retrieve(batch.id)
    # The counts stay as they are until the end, whatever has been worked off.
    assert (waiting.processing_status, counts(waiting)) == ("in_progress", {"processing": 3})
    assert waiting.results_url is None
    with pytest.raises(anthropic.AnthropicError, match="results_url"):
        client.messages.batches.results(batch.id)
    sandbox.control.advance(60)
    ended = client.messages.batches.retrieve(batch.id)
    assert (ended.processing_status, counts(ended)) == ("ended", {"succeeded": 3})
    assert ended.ended_at is not None
    assert (ended.ended_at - ended.created_at).total_seconds() == TURNAROUND_S


def test_an_item_is_answered_as_the_same_call_is(client: anthropic.Anthropic, sandbox: Sandbox) -> None:
    called = ask(client, "Unit 1 costs 1 euros.")
    batch = create(client)
    sandbox.control.advance(TURNAROUND_S)
    (found,) = [result for result in results(client, batch.id) if result.custom_id == "item-1"]
    assert entries(found) == sync_results(called)
    assert found.result.type == "succeeded"
    usage = found.result.message.usage
    assert usage.service_tier == "batch"
    assert (usage.input_tokens, usage.output_tokens) == (called.usage.input_tokens, called.usage.output_tokens)


def test_results_come_in_another_order_and_the_same_one_each_time(
    client: anthropic.Anthropic, sandbox: Sandbox
) -> None:
    batch = create(client, 30)
    sandbox.control.advance(TURNAROUND_S)
    first = [result.custom_id for result in results(client, batch.id)]
    asked = [request["custom_id"] for request in requests(30)]
    assert sorted(first) == sorted(asked)
    assert first != asked
    assert [result.custom_id for result in results(client, batch.id)] == first


def test_a_cold_prefix_is_written_by_every_request_and_read_by_those_of_later_batches(
    client: anthropic.Anthropic, sandbox: Sandbox
) -> None:
    marked = {"type": "text", "text": "rule " * 3000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    batches = [create(client, 4, system=[marked]) for _ in range(2)]
    sandbox.control.advance(TURNAROUND_S)
    for batch, (written, read) in zip(batches, ((4, 0), (0, 4)), strict=True):
        found = [result.result for result in results(client, batch.id)]
        usages = [each.message.usage for each in found if each.type == "succeeded"]
        assert sum(bool(usage.cache_creation_input_tokens) for usage in usages) == written
        assert sum(bool(usage.cache_read_input_tokens) for usage in usages) == read


def test_parameters_are_looked_at_when_the_item_is_answered(client: anthropic.Anthropic, sandbox: Sandbox) -> None:
    asked: Any = [
        {"custom_id": "good", "params": params()},
        {"custom_id": "greedy", "params": params(max_tokens=10**9)},
        {"custom_id": "nobody", "params": params(model="claude-nobody")},
        {"custom_id": "streamed", "params": params(stream=True)},
        {"custom_id": "empty", "params": params(max_tokens=0)},
    ]
    batch = client.messages.batches.create(requests=asked)
    sandbox.control.advance(TURNAROUND_S)
    assert counts(client.messages.batches.retrieve(batch.id)) == {"succeeded": 1, "errored": 4}
    found = {
        result.custom_id: result.result.error.error.type
        for result in results(client, batch.id)
        if result.result.type == "errored"
    }
    assert found == {
        "greedy": "invalid_request_error",
        "nobody": "not_found_error",
        "streamed": "invalid_request_error",
        "empty": "invalid_request_error",
    }
    assert sandbox.control.stats()["calls"] == 1  # the others are not billed


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([], "requests"),
        ([{"custom_id": "a b", "params": params()}], "requests.0.custom_id"),
        ([{"custom_id": "a" * 65, "params": params()}], "requests.0.custom_id"),
        ([{"custom_id": "a", "params": params()}] * 2, "requests.1.custom_id"),
        ([{"custom_id": "a"}], "requests.0.params"),
    ],
)
def test_a_batch_that_breaks_a_rule_is_refused_whole(
    client: anthropic.Anthropic, sandbox: Sandbox, asked: Any, said: str
) -> None:
    with pytest.raises(anthropic.BadRequestError, match=said):
        client.messages.batches.create(requests=asked)
    assert sandbox.control.created() == []


def test_too_many_requests_or_bytes_are_refused() -> None:
    config = SandboxConfig(batches=BatchSettings(max_requests=2, max_bytes=4000))
    with running_sandbox(config) as sandbox, client_of(sandbox) as client:
        with pytest.raises(anthropic.BadRequestError, match="at most 2"):
            create(client, 3)
        large: Any = [{"custom_id": "large", "params": params("x" * 4000)}]
        with pytest.raises(anthropic.APIStatusError) as refused:
            client.messages.batches.create(requests=large)
        assert refused.value.status_code == 413
        create(client, 2)


def test_a_listing_goes_back_page_by_page(client: anthropic.Anthropic, sandbox: Sandbox) -> None:
    created = [create(client, 1).id for _ in range(5)]
    page = client.messages.batches.list(limit=2)
    assert [batch.id for batch in page.data] == created[:2:-1]
    assert page.has_more
    assert [batch.id for batch in client.messages.batches.list(limit=2)] == created[::-1]
    newer = client.messages.batches.list(before_id=created[1], limit=2)
    assert [batch.id for batch in newer.data] == [created[3], created[2]]
    assert newer.has_more
    with client_of(sandbox, "another-key") as other:
        assert list(other.messages.batches.list()) == []
        with pytest.raises(anthropic.NotFoundError):
            other.messages.batches.retrieve(created[0])


def test_a_canceled_batch_keeps_what_was_done(client: anthropic.Anthropic, sandbox: Sandbox) -> None:
    batch = create(client, 4)
    sandbox.control.advance(TURNAROUND_S / 2 + 1)
    canceling = client.messages.batches.cancel(batch.id)
    assert canceling.processing_status == "canceling"
    assert canceling.cancel_initiated_at is not None
    sandbox.control.advance(60)
    ended = client.messages.batches.retrieve(batch.id)
    assert (ended.processing_status, counts(ended)) == ("ended", {"succeeded": 2, "canceled": 2})
    assert sorted(result.result.type for result in results(client, batch.id)) == ["canceled"] * 2 + ["succeeded"] * 2
    assert sandbox.control.stats()["calls"] == 2
    with pytest.raises(anthropic.BadRequestError):
        client.messages.batches.cancel(batch.id)


def test_a_batch_that_takes_longer_than_a_day_expires_with_what_was_done() -> None:
    with (
        running_sandbox(SandboxConfig(batches=BatchSettings(turnaround_s=2 * DAY_S))) as slow,
        client_of(slow) as client,
    ):
        batch = create(client, 4)
        slow.control.advance(DAY_S)
        ended = client.messages.batches.retrieve(batch.id)
        assert counts(ended) == {"succeeded": 2, "expired": 2}
        assert ended.ended_at == ended.expires_at


def test_only_an_ended_batch_is_deleted_and_then_gone(client: anthropic.Anthropic, sandbox: Sandbox) -> None:
    batch = create(client)
    with pytest.raises(anthropic.BadRequestError):
        client.messages.batches.delete(batch.id)
    sandbox.control.advance(TURNAROUND_S)
    assert client.messages.batches.delete(batch.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(batch.id)
    assert list(client.messages.batches.list()) == []
    assert sandbox.control.created("anthropic") == [batch.id]


def test_results_are_gone_after_29_days(client: anthropic.Anthropic, sandbox: Sandbox) -> None:
    batch = create(client)
    sandbox.control.advance(29 * DAY_S)
    archived = client.messages.batches.retrieve(batch.id)
    assert archived.processing_status == "ended"
    assert archived.archived_at is not None
    assert archived.results_url is None


def test_a_batch_ends_by_itself_where_the_clock_runs() -> None:
    with (
        running_sandbox(SandboxConfig(batches=BatchSettings(turnaround_s=0.05))) as sandbox,
        client_of(sandbox) as client,
    ):
        batch = create(client)
        while client.messages.batches.retrieve(batch.id).processing_status != "ended":
            pass
        assert len(results(client, batch.id)) == 3


def test_latency_and_rate_limits_are_for_those_who_wait() -> None:
    config = SandboxConfig(latency_s=5, requests_per_minute=2, batches=BatchSettings(turnaround_s=1))
    with running_sandbox(config) as sandbox, client_of(sandbox) as client:
        batch = create(client, 10)
        sandbox.control.advance(1)
        assert counts(client.messages.batches.retrieve(batch.id)) == {"succeeded": 10}
        create(client, 1)
        with pytest.raises(anthropic.RateLimitError):
            create(client, 1)


def test_batch_objects_and_results_have_the_keys_of_recorded_ones(
    client: anthropic.Anthropic, sandbox: Sandbox
) -> None:
    shared("data/wire/anthropic.jsonl.gz")
    theirs = [record for record in recordings() if "/messages/batches" in record["endpoint"]]
    assert len(theirs) == 19
    batch = create(client, 1, model=MODEL)
    sandbox.control.advance(TURNAROUND_S)
    canceled = create(client, 1)
    ours = {
        "POST /v1/messages/batches": batch,
        "GET /v1/messages/batches/{id}": client.messages.batches.retrieve(batch.id),
        "POST /v1/messages/batches/{id}/cancel": client.messages.batches.cancel(canceled.id),
    }
    for endpoint, mine in ours.items():
        bodies = [record["response_body"] for record in theirs if record["endpoint"] == endpoint]
        assert_covers(mine.model_dump(mode="json"), bodies)
        assert_covers(mine.request_counts.model_dump(), [body["request_counts"] for body in bodies])


def test_lines_of_results_have_the_keys_of_recorded_ones(client: anthropic.Anthropic, sandbox: Sandbox) -> None:
    texts = [record["response_body"] for record in recordings() if record["endpoint"].endswith("/results")]
    theirs = [json.loads(line) for text in texts if isinstance(text, str) for line in text.splitlines()]
    theirs += [text for text in texts if isinstance(text, dict)]
    assert len(theirs) > 5
    batch = create(client, 1)
    sandbox.control.advance(TURNAROUND_S)
    raw = client.messages.batches.with_raw_response.results(batch.id)
    mine = json.loads(raw.http_response.read())
    assert_covers(mine, theirs)
    assert_covers(mine["result"], [line["result"] for line in theirs])
    assert_covers(mine["result"]["message"], [line["result"]["message"] for line in theirs])
