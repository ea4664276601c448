"""OpenAI's files and batches through the real SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tokenopt_pipeline.sandbox.batch_config import BatchSettings
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from . import asking_openai
from .asking import pack_text
from .asking_batches import DAY_S, HOUR_S
from .asking_openai import EARLIER_MODEL, client_of
from .asking_openai_batches import body, content, create, line, lines, upload
from .test_openai_recorded_shapes import dumped, recorded
from .test_recorded_shapes import assert_covers

TURNAROUND_S = HOUR_S


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    with running_sandbox(SandboxConfig(batches=BatchSettings(turnaround_s=TURNAROUND_S, cancelling_s=60))) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def forgetful(sandbox: Sandbox) -> None:
    """Every test begins with an empty sandbox."""


@pytest.fixture(scope="module")
def client(shared_sandbox: Sandbox) -> Iterator[openai.OpenAI]:
    with client_of(shared_sandbox) as client:
        yield client


def counts(batch: Any) -> tuple[int, int, int]:
    assert batch.request_counts is not None
    return batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed


def test_a_file_is_kept_shown_listed_read_and_deleted(client: openai.OpenAI) -> None:
    stored = client.files.create(
        file=("mine.jsonl", b'{"a": 1}\n{"b": 2}\n'),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (stored.filename, stored.bytes, stored.purpose) == ("mine.jsonl", 18, "batch")
    assert stored.expires_at == stored.created_at + 3600
    assert client.files.retrieve(stored.id) == stored
    assert client.files.content(stored.id).content == b'{"a": 1}\n{"b": 2}\n'
    other = upload(client, lines(1))
    assert [file.id for file in client.files.list(purpose="batch")] == [other, stored.id]
    assert [file.id for file in client.files.list(limit=1, after=other)] == [stored.id]
    assert client.files.delete(stored.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.content(stored.id)


def test_a_file_is_gone_when_its_time_is_over(client: openai.OpenAI, sandbox: Sandbox) -> None:
    stored = upload(client, lines(1))
    sandbox.control.advance(30 * DAY_S)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(stored)


def test_a_batch_goes_through_its_statuses(client: openai.OpenAI, sandbox: Sandbox) -> None:
    batch = create(client, lines(10), metadata={"run": "r1", "chunk": "7"})
    assert (batch.status, counts(batch), batch.metadata) == ("validating", (0, 0, 0), {"run": "r1", "chunk": "7"})
    assert batch.expires_at == batch.created_at + DAY_S
    seen = []
    for _ in range(10):
        sandbox.control.advance(TURNAROUND_S / 10)
        found = client.batches.retrieve(batch.id)
        seen.append((found.status, counts(found)))
        assert (found.output_file_id is not None) == (found.status == "completed")
    assert [status for status, _ in seen] == ["in_progress"] * 8 + ["finalizing", "completed"]
    assert [done for _, (_, done, _) in seen] == list(range(1, 11))
    assert found.completed_at == batch.created_at + TURNAROUND_S
    assert (found.error_file_id, found.errors) == (None, None)
    assert found.model == asking_openai.MODEL


def test_an_item_is_answered_as_the_same_call_is(client: openai.OpenAI, sandbox: Sandbox) -> None:
    called = asking_openai.ask(client, "Unit 1 costs 1 euros.")
    batch = create(client, lines(3))
    sandbox.control.advance(TURNAROUND_S)
    ended = client.batches.retrieve(batch.id)
    found = {each["custom_id"]: each for each in content(client, ended.output_file_id)}
    assert sorted(found) == ["item-0", "item-1", "item-2"]
    answer = found["item-1"]
    assert (answer["error"], answer["response"]["status_code"]) == (None, 200)
    assert answer["response"]["body"]["output"][-1]["content"][0]["text"] == called.output_text
    assert called.usage is not None
    assert answer["response"]["body"]["usage"]["output_tokens"] == called.usage.output_tokens
    assert ended.usage is not None
    assert ended.usage.total_tokens == sum(each["response"]["body"]["usage"]["total_tokens"] for each in found.values())


def test_chat_completions_are_answered_too(client: openai.OpenAI, sandbox: Sandbox) -> None:
    schema = {name: value for name, value in asking_openai.text_format()["format"].items() if name != "type"}
    asked = {
        "model": EARLIER_MODEL,
        "messages": [{"role": "user", "content": pack_text("Unit 1 costs 1 euros.")}],
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    url = "/v1/chat/completions"
    batch = create(client, [line("a", asked, url)], endpoint=url)
    sandbox.control.advance(TURNAROUND_S)
    (found,) = content(client, client.batches.retrieve(batch.id).output_file_id)
    called = asking_openai.ask(client, "Unit 1 costs 1 euros.")
    answer = found["response"]["body"]["choices"][0]["message"]["content"]
    assert json.loads(answer)["results"] == asking_openai.results(called)


def test_results_come_in_another_order(client: openai.OpenAI, sandbox: Sandbox) -> None:
    batch = create(client, lines(30))
    sandbox.control.advance(TURNAROUND_S)
    found = [each["custom_id"] for each in content(client, client.batches.retrieve(batch.id).output_file_id)]
    asked = [f"item-{n}" for n in range(30)]
    assert sorted(found) == sorted(asked)
    assert found != asked


def test_an_item_that_is_refused_lands_in_the_error_file(client: openai.OpenAI, sandbox: Sandbox) -> None:
    batch = create(
        client, [*lines(1), line("greedy", body("x", max_output_tokens=1)), line("s", body("x", stream=True))]
    )
    sandbox.control.advance(TURNAROUND_S)
    ended = client.batches.retrieve(batch.id)
    assert (ended.status, counts(ended)) == ("completed", (3, 1, 2))
    found = {each["custom_id"]: each for each in content(client, ended.error_file_id)}
    assert found["greedy"]["error"] is None
    assert found["greedy"]["response"]["status_code"] == 400
    assert found["greedy"]["response"]["body"]["error"]["code"] == "integer_below_min_value"
    assert found["s"]["response"]["body"]["error"]["param"] == "stream"


GOOD = lines(1)[0]


@pytest.mark.parametrize(
    ("asked", "code", "number"),
    [
        (b"", "empty_file", None),
        (json.dumps(GOOD).encode() + b"\n{oops}", "invalid_json_line", 2),
        ([GOOD, GOOD], "duplicate_custom_id", 2),
        ([GOOD, {**GOOD, "custom_id": "b", "url": "/v1/embeddings"}], "url_mismatch", 2),
        ([GOOD, {**GOOD, "custom_id": "b", "method": "GET"}], "invalid_method", 2),
        ([GOOD, {**GOOD, "custom_id": ""}], "missing_required_parameter", 2),
        ([GOOD, line("b", body("x", model=EARLIER_MODEL))], "model_mismatch", 2),
        ([line("b", body("x", model="gpt-nobody"))], "model_not_found", 1),
    ],
)
def test_one_bad_line_fails_the_whole_batch_while_validating(
    client: openai.OpenAI, sandbox: Sandbox, asked: Any, code: str, number: int | None
) -> None:
    batch = create(client, asked)
    assert batch.status == "validating"
    sandbox.control.advance(TURNAROUND_S / 10)
    failed = client.batches.retrieve(batch.id)
    assert failed.status == "failed"
    assert failed.failed_at == batch.created_at + TURNAROUND_S / 10
    assert failed.errors is not None
    assert failed.errors.data is not None
    assert [(error.code, error.line) for error in failed.errors.data] == [(code, number)]
    assert (failed.output_file_id, failed.error_file_id) == (None, None)
    assert sandbox.control.stats()["calls"] == 0


def test_a_file_of_too_many_requests_fails() -> None:
    config = SandboxConfig(batches=BatchSettings(turnaround_s=1, max_requests=2))
    with running_sandbox(config) as sandbox, client_of(sandbox) as client:
        batch = create(client, lines(3))
        sandbox.control.advance(1)
        failed = client.batches.retrieve(batch.id)
        assert failed.errors is not None
        assert [error.code for error in failed.errors.data or []] == ["too_many_tasks"]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"completion_window": "1h"}, "completion_window"),
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"x": "y" * 513}}, "metadata.x"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 60}}, "output_expires_after"),
        ({"extra_body": {"priority": 1}}, "priority"),
    ],
)
def test_a_create_that_breaks_a_rule_is_refused(client: openai.OpenAI, sandbox: Sandbox, more: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        create(client, lines(1), **more)
    assert refused.value.param == param
    assert sandbox.control.created() == []


def test_a_listing_finds_a_batch_by_its_metadata(client: openai.OpenAI, sandbox: Sandbox) -> None:
    created = [create(client, lines(1), metadata={"chunk": str(n)}).id for n in range(5)]
    page = client.batches.list(limit=2)
    assert [batch.id for batch in page.data] == created[:2:-1]
    listed = {batch.id: batch.metadata for batch in client.batches.list(limit=2)}
    assert [listed[batch_id] for batch_id in created] == [{"chunk": str(n)} for n in range(5)]
    with client_of(sandbox, "another-key") as other:
        assert list(other.batches.list()) == []
        with pytest.raises(openai.NotFoundError):
            other.batches.retrieve(created[0])
        with pytest.raises(openai.BadRequestError):
            other.batches.create(
                input_file_id=client.batches.retrieve(created[0]).input_file_id,
                endpoint="/v1/responses",
                completion_window="24h",
            )


def test_a_cancelled_batch_keeps_what_was_done(client: openai.OpenAI, sandbox: Sandbox) -> None:
    batch = create(client, lines(4))
    sandbox.control.advance(TURNAROUND_S / 2 + 1)
    assert client.batches.cancel(batch.id).status == "cancelling"
    sandbox.control.advance(60)
    ended = client.batches.retrieve(batch.id)
    assert (ended.status, counts(ended)) == ("cancelled", (4, 2, 0))
    assert len(content(client, ended.output_file_id)) == 2
    errors = content(client, ended.error_file_id)
    assert [(each["response"], each["error"]["code"]) for each in errors] == [(None, "batch_cancelled")] * 2
    with pytest.raises(openai.BadRequestError):
        client.batches.cancel(batch.id)


def test_a_batch_cancelled_while_validating_has_no_files(client: openai.OpenAI, sandbox: Sandbox) -> None:
    batch = create(client, lines(4))
    client.batches.cancel(batch.id)
    sandbox.control.advance(60)
    ended = client.batches.retrieve(batch.id)
    assert (ended.status, counts(ended)) == ("cancelled", (0, 0, 0))
    assert (ended.output_file_id, ended.error_file_id) == (None, None)


def test_a_batch_that_takes_longer_than_a_day_expires_with_what_was_done() -> None:
    config = SandboxConfig(batches=BatchSettings(turnaround_s=2 * DAY_S))
    with running_sandbox(config) as sandbox, client_of(sandbox) as client:
        batch = create(client, lines(4))
        sandbox.control.advance(DAY_S)
        ended = client.batches.retrieve(batch.id)
        assert (ended.status, ended.expired_at) == ("expired", ended.expires_at)
        assert len(content(client, ended.output_file_id)) == 2
        errors = content(client, ended.error_file_id)
        assert [(each["response"], each["error"]["code"]) for each in errors] == [(None, "batch_expired")] * 2


def test_output_files_live_as_long_as_was_asked(client: openai.OpenAI, sandbox: Sandbox) -> None:
    batch = create(client, lines(1), output_expires_after={"anchor": "created_at", "seconds": 7200})
    sandbox.control.advance(TURNAROUND_S)
    output = client.batches.retrieve(batch.id).output_file_id
    assert output is not None
    assert client.files.retrieve(output).purpose == "batch_output"
    sandbox.control.advance(7200)
    with pytest.raises(openai.NotFoundError):
        client.files.content(output)


def test_files_and_batches_have_the_keys_of_recorded_ones(client: openai.OpenAI, sandbox: Sandbox) -> None:
    batch = create(client, lines(1), metadata={"run": "r1"})
    sandbox.control.advance(TURNAROUND_S)
    ended = client.batches.retrieve(batch.id)
    assert_covers(dumped(batch), recorded("POST /v1/batches"))
    theirs = recorded("GET /v1/batches/{batch}")
    assert_covers(dumped(ended), [body for body in theirs if body["status"] == "completed"])
    assert_covers(dumped(client.batches.list()), recorded("GET /v1/batches"))
    assert_covers(dumped(client.files.retrieve(batch.input_file_id)), recorded("GET /v1/files/{file}"))
    (mine,) = content(client, ended.output_file_id)
    outputs = [
        json.loads(found)
        for text in recorded("GET /v1/files/{file}/content", kind="jsonl")
        for found in text.splitlines()
        if "batch_req" in found
    ]
    assert outputs
    assert_covers(mine, outputs)
    assert_covers(mine["response"], [each["response"] for each in outputs])
    canceled = client.batches.cancel(create(client, lines(1), metadata={"run": "r1"}).id)
    assert_covers(dumped(canceled), recorded("POST /v1/batches/{batch}/cancel"))
    assert_covers(dumped(client.files.delete(batch.input_file_id)), recorded("DELETE /v1/files/{file}"))
