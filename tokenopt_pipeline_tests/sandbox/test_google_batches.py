"""Google's files and batches through the real SDK."""

from __future__ import annotations

import gzip
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tokenopt_pipeline.sandbox.batch_config import BatchSettings
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from . import asking_google
from .asking import shared
from .asking_batches import DAY_S, HOUR_S
from .asking_google import client_of
from .asking_google_batches import content, create, inlined, line, lines, upload
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
def google(shared_sandbox: Sandbox) -> Iterator[genai.Client]:
    with client_of(shared_sandbox) as client:
        yield client


def raw(sandbox: Sandbox, name: str) -> dict[str, Any]:
    """The operation as the wire has it; the SDK drops counts and errors."""
    request = urllib.request.Request(f"{sandbox.google_url}/v1beta/{name}", headers={"x-goog-api-key": "sandbox"})
    with urllib.request.urlopen(request, timeout=10) as response:
        found: dict[str, Any] = json.load(response)
    return found


def responses(job: types.BatchJob) -> list[types.InlinedResponse]:
    assert job.dest is not None
    assert job.dest.inlined_responses is not None
    return job.dest.inlined_responses


def test_an_inline_batch_ends_with_answers_in_the_order_of_its_requests(google: genai.Client, sandbox: Sandbox) -> None:
    called = asking_google.ask(google, "Unit 1 costs 1 euros.")
    job = create(google, inlined(3))
    assert (job.state, job.display_name) == (types.JobState.JOB_STATE_PENDING, "r1-7")
    assert job.name is not None
    sandbox.control.advance(TURNAROUND_S / 2)
    assert google.batches.get(name=job.name).state is types.JobState.JOB_STATE_RUNNING
    assert raw(sandbox, job.name)["metadata"]["batchStats"] == {
        "requestCount": "3",
        "pendingRequestCount": "2",
        "successfulRequestCount": "1",
    }
    sandbox.control.advance(TURNAROUND_S / 2)
    ended = google.batches.get(name=job.name)
    assert ended.state is types.JobState.JOB_STATE_SUCCEEDED
    assert [each.metadata for each in responses(ended)] == [{"custom_id": f"item-{n}"} for n in range(3)]
    answer = responses(ended)[1].response
    assert answer is not None
    assert answer.text == called.text
    assert answer.usage_metadata is not None
    assert called.usage_metadata is not None
    assert answer.usage_metadata.total_token_count == called.usage_metadata.total_token_count


def test_a_batch_from_a_file_ends_with_a_file(google: genai.Client, sandbox: Sandbox) -> None:
    stored = upload(google, lines(3))
    assert stored.name is not None
    job = create(google, stored.name)
    sandbox.control.advance(TURNAROUND_S)
    assert job.name is not None
    found = content(google, google.batches.get(name=job.name))
    assert [each["key"] for each in found] == ["item-0", "item-1", "item-2"]
    called = asking_google.ask(google, "Unit 2 costs 2 euros.")
    assert found[2]["response"]["candidates"][0]["content"]["parts"][0]["text"] == called.text


def test_a_file_is_uploaded_in_pieces_shown_listed_and_deleted(google: genai.Client, sandbox: Sandbox) -> None:
    large = b"".join(json.dumps({"key": str(n), "request": "x" * 1000}).encode() + b"\n" for n in range(9000))
    assert len(large) > 8 * 1024 * 1024  # more than one piece
    stored = upload(google, large)
    assert (stored.display_name, stored.size_bytes, stored.mime_type) == ("input", len(large), "application/jsonl")
    assert stored.source is types.FileSource.UPLOADED
    other = upload(google, lines(1), name="files/mine", display_name="other")
    assert other.name == "files/mine"
    assert stored.name is not None
    assert [file.name for file in google.files.list(config={"page_size": 1})] == ["files/mine", stored.name]
    assert google.files.get(name=stored.name).expiration_time is not None
    with pytest.raises(errors.ClientError):
        google.files.download(file=stored.name)  # only what the API made can be downloaded
    google.files.delete(name=stored.name)
    with pytest.raises(errors.ClientError) as gone:
        google.files.get(name=stored.name)
    assert gone.value.code == 403
    sandbox.control.advance(2 * DAY_S)
    assert list(google.files.list()) == []


def test_an_item_that_is_refused_has_an_error_and_the_batch_succeeds(google: genai.Client, sandbox: Sandbox) -> None:
    job = create(google, [*inlined(1), *inlined(1, max_output_tokens=10**9)])
    stored = upload(
        google, "\n".join([json.dumps(lines(1)[0]), "{oops", json.dumps(line("x", "y", topK="z", foo=1))]).encode()
    )
    assert stored.name is not None
    filed = create(google, stored.name)
    sandbox.control.advance(TURNAROUND_S)
    assert job.name is not None
    assert filed.name is not None
    ended = google.batches.get(name=job.name)
    assert ended.state is types.JobState.JOB_STATE_SUCCEEDED
    good, bad = responses(ended)
    assert good.error is None
    assert bad.error is not None
    assert (bad.error.code, bad.response, bad.metadata) == (3, None, {"custom_id": "item-0"})
    assert raw(sandbox, job.name)["metadata"]["batchStats"] == {
        "requestCount": "2",
        "successfulRequestCount": "1",
        "failedRequestCount": "1",
    }
    found = content(google, google.batches.get(name=filed.name))
    assert [sorted(each) for each in found] == [["key", "response"], ["error", "key"], ["error", "key"]]
    assert {each["error"]["code"] for each in found[1:]} == {3}


def test_an_explicit_cache_is_read_by_every_item(google: genai.Client, sandbox: Sandbox) -> None:
    cache = google.caches.create(
        model=asking_google.MODEL,
        config=types.CreateCachedContentConfig(system_instruction="rule " * 5000, ttl="7200s"),
    )
    job = create(google, inlined(2, cached_content=cache.name))
    sandbox.control.advance(TURNAROUND_S)
    assert job.name is not None
    for each in responses(google.batches.get(name=job.name)):
        assert each.response is not None
        assert each.response.usage_metadata is not None
        assert (each.response.usage_metadata.cached_content_token_count or 0) > 4096


@pytest.mark.parametrize(
    ("days", "turnaround_days", "state"), [(2, 3, "EXPIRED"), (1, 3, "RUNNING"), (1, 1, "SUCCEEDED")]
)
def test_a_batch_expires_after_two_days_and_nothing_is_kept(days: int, turnaround_days: int, state: str) -> None:
    config = SandboxConfig(batches=BatchSettings(turnaround_s=turnaround_days * DAY_S))
    with running_sandbox(config) as sandbox, client_of(sandbox) as client:
        job = create(client, inlined(4))
        sandbox.control.advance(days * DAY_S)
        assert job.name is not None
        ended = client.batches.get(name=job.name)
        assert ended.state == f"JOB_STATE_{state}"
        assert (ended.dest is not None) == (state == "SUCCEEDED")
        assert raw(sandbox, job.name).get("error", {}).get("code") == (4 if state == "EXPIRED" else None)


def test_a_cancelled_batch_keeps_nothing(google: genai.Client, sandbox: Sandbox) -> None:
    job = create(google, inlined(4))
    assert job.name is not None
    sandbox.control.advance(TURNAROUND_S / 2)
    google.batches.cancel(name=job.name)
    sandbox.control.advance(60)
    ended = google.batches.get(name=job.name)
    assert ended.state is types.JobState.JOB_STATE_CANCELLED
    assert ended.dest is None
    with pytest.raises(errors.ClientError):
        google.batches.cancel(name=job.name)


def test_a_deleted_batch_is_gone(google: genai.Client, sandbox: Sandbox) -> None:
    job = create(google, inlined(1))
    assert job.name is not None
    google.batches.delete(name=job.name)
    with pytest.raises(errors.ClientError) as gone:
        google.batches.get(name=job.name)
    assert gone.value.code == 404
    assert sandbox.control.created("google") == [job.name]
    sandbox.control.advance(TURNAROUND_S)
    assert sandbox.control.stats()["calls"] == 0


def test_a_listing_finds_a_batch_by_its_display_name(google: genai.Client, sandbox: Sandbox) -> None:
    created = [create(google, inlined(1), name=f"r1-{n}").name for n in range(5)]
    listed = [(job.name, job.display_name) for job in google.batches.list(config={"page_size": 2})]
    assert listed == [(name, f"r1-{n}") for n, name in enumerate(created)][::-1]
    with client_of(sandbox, "another-key") as other:
        assert list(other.batches.list()) == []


def test_what_breaks_a_rule_is_refused() -> None:
    config = SandboxConfig(batches=BatchSettings(turnaround_s=60, max_bytes=4000, max_active=1))
    with running_sandbox(config) as sandbox, client_of(sandbox) as client:
        with pytest.raises(errors.ClientError, match="payload size"):
            create(client, inlined(10))
        with pytest.raises(errors.ClientError, match="no requests"):
            create(client, [])
        with pytest.raises(errors.ClientError) as unknown:
            create(client, "files/nobody")
        assert unknown.value.code == 403
        with pytest.raises(errors.ClientError) as missing:
            client.batches.create(model="gemini-nobody", src=inlined(1))
        assert missing.value.code == 404
        create(client, inlined(1))
        with pytest.raises(errors.ClientError) as full:
            create(client, inlined(1))
        assert full.value.code == 429
        sandbox.control.advance(60)
        create(client, inlined(1))
        assert len(sandbox.control.created()) == 2


def test_operations_have_the_keys_of_the_recorded_ones(google: genai.Client, sandbox: Sandbox) -> None:
    with gzip.open(shared("data/wire/google.jsonl.gz"), "rt", encoding="utf-8") as recordings:
        records = [json.loads(record) for record in recordings]
    bodies = [record["response_body"] for record in records if "batch" in record["tags"]]
    running, ended = (
        [body for body in bodies if body["metadata"]["state"] == f"BATCH_STATE_{state}"]
        for state in ("RUNNING", "SUCCEEDED")
    )
    job = create(google, inlined(2))
    assert job.name is not None
    sandbox.control.advance(TURNAROUND_S / 4)
    mine = raw(sandbox, job.name)
    assert_covers(mine, running)
    assert_covers(mine["metadata"], [body["metadata"] for body in running])
    sandbox.control.advance(TURNAROUND_S)
    mine = raw(sandbox, job.name)
    assert_covers(mine, ended)
    assert_covers(mine["metadata"], [body["metadata"] for body in ended])
    assert_covers(mine["response"], [body["response"] for body in ended])
    theirs = [each for body in ended for each in body["response"]["inlinedResponses"]["inlinedResponses"]]
    assert_covers(mine["response"]["inlinedResponses"]["inlinedResponses"][0], theirs)
