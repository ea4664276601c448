"""What goes wrong with batches on purpose, as a caller meets it through the real SDKs."""

from __future__ import annotations

import json
import urllib.error
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import errors

from tokenopt_pipeline.sandbox.batch_config import BatchSettings
from tokenopt_pipeline.sandbox.batch_faults import BatchFault, BatchFaultDraw, BatchFaultPlan, Occasion
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.config_reading import ConfigRefused
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from . import asking_batches, asking_google, asking_google_batches, asking_openai, asking_openai_batches
from .asking import client_of
from .asking_batches import DAY_S, HOUR_S, results

TURNAROUND_S = HOUR_S
PROVIDERS = ("anthropic", "openai", "google")


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    with running_sandbox(SandboxConfig(batches=BatchSettings(turnaround_s=TURNAROUND_S))) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def forgetful(sandbox: Sandbox) -> None:
    """Every test begins with an empty sandbox."""


@pytest.fixture(scope="module")
def client(shared_sandbox: Sandbox) -> Iterator[anthropic.Anthropic]:
    with client_of(shared_sandbox) as client:
        yield client


@pytest.fixture(scope="module")
def gpt(shared_sandbox: Sandbox) -> Iterator[openai.OpenAI]:
    with asking_openai.client_of(shared_sandbox) as client:
        yield client


@pytest.fixture(scope="module")
def gemini(shared_sandbox: Sandbox) -> Iterator[genai.Client]:
    with asking_google.client_of(shared_sandbox) as client:
        yield client


@pytest.fixture
def creates(client: anthropic.Anthropic, gpt: openai.OpenAI, gemini: genai.Client) -> dict[str, Callable[[], Any]]:
    """A create of ten items per provider."""
    return {
        "anthropic": lambda: asking_batches.create(client, 10),
        "openai": lambda: asking_openai_batches.create(gpt, asking_openai_batches.lines(10), metadata={"sha": "abc"}),
        "google": lambda: asking_google_batches.create(gemini, asking_google_batches.inlined(10), name="abc"),
    }


@pytest.fixture
def listed(client: anthropic.Anthropic, gpt: openai.OpenAI, gemini: genai.Client) -> dict[str, Callable[[], list[str]]]:
    """The ids each provider lists, newest first."""
    return {
        "anthropic": lambda: [batch.id for batch in client.messages.batches.list()],
        "openai": lambda: [batch.id for batch in gpt.batches.list()],
        "google": lambda: [str(job.name) for job in gemini.batches.list()],
    }


def spoil(sandbox: Sandbox, *faults: str, **plan: Any) -> None:
    """The first occasion of each fault is spoilt."""
    sandbox.control.set_faults({"batches": {"scripted": [{"fault": fault, "nth": 1} for fault in faults], **plan}})


LOST = (anthropic.APIConnectionError, openai.APIConnectionError, httpx2.TransportError)
FAILED = (anthropic.InternalServerError, openai.InternalServerError, errors.ServerError)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("fault", "raised", "accepted"),
    [
        ("create_500", FAILED, False),
        ("create_reset", LOST, False),
        ("create_500_after_accept", FAILED, True),
        ("create_reset_after_accept", LOST, True),
    ],
)
def test_a_create_whose_answer_is_lost_may_have_been_accepted_and_is_then_listed(
    *,
    sandbox: Sandbox,
    creates: dict[str, Callable[[], Any]],
    listed: dict[str, Callable[[], list[str]]],
    provider: str,
    fault: str,
    raised: tuple[type[Exception], ...],
    accepted: bool,
) -> None:
    spoil(sandbox, fault)
    with pytest.raises(raised):
        creates[provider]()
    assert listed[provider]() == sandbox.control.created(provider)
    assert len(sandbox.control.created()) == accepted
    creates[provider]()  # a second try is another batch: no provider knows that it is the same
    assert len(sandbox.control.created(provider)) == 1 + accepted
    sandbox.control.advance(TURNAROUND_S)
    assert sandbox.control.stats()["calls"] == 10 * (1 + accepted)


def test_an_adopted_batch_has_what_its_caller_attached(
    sandbox: Sandbox, creates: dict[str, Callable[[], Any]], gpt: openai.OpenAI, gemini: genai.Client
) -> None:
    for provider in ("openai", "google"):
        spoil(sandbox, "create_reset_after_accept")
        with pytest.raises(LOST):
            creates[provider]()
    assert [batch.metadata for batch in gpt.batches.list()] == [{"sha": "abc"}]
    assert [job.display_name for job in gemini.batches.list()] == ["abc"]


def test_an_upload_whose_answer_is_lost_leaves_a_file(sandbox: Sandbox, gpt: openai.OpenAI) -> None:
    spoil(sandbox, "upload_reset_after_accept")
    with pytest.raises(openai.APIConnectionError):
        asking_openai_batches.upload(gpt, asking_openai_batches.lines(1))
    assert len(list(gpt.files.list())) == 1
    spoil(sandbox, "upload_500")
    with pytest.raises(openai.InternalServerError):
        asking_openai_batches.upload(gpt, asking_openai_batches.lines(1))
    assert len(list(gpt.files.list())) == 1


ITEM_FAULTS = ("item_missing", "item_duplicated", "item_unknown", "item_errored", "item_expired")


def spoil_items(sandbox: Sandbox) -> None:
    """One item of every kind of trouble, `item-0` to `item-4`."""
    scripted: list[Any] = [{"fault": fault, "when_id_contains": f"item-{n}"} for n, fault in enumerate(ITEM_FAULTS)]
    sandbox.control.set_faults({"batches": {"scripted": scripted}})


def test_items_go_missing_come_twice_were_never_asked_for_fail_and_expire_at_anthropic(
    sandbox: Sandbox, client: anthropic.Anthropic
) -> None:
    spoil_items(sandbox)
    batch = asking_batches.create(client, 10)
    sandbox.control.advance(TURNAROUND_S)
    assert client.messages.batches.retrieve(batch.id).processing_status == "in_progress"
    sandbox.control.advance(DAY_S)  # an item expires when its batch does
    ended = client.messages.batches.retrieve(batch.id)
    assert (ended.request_counts.succeeded, ended.request_counts.errored, ended.request_counts.expired) == (8, 1, 1)
    found = [(result.custom_id, result.result.type) for result in results(client, batch.id)]
    assert len(found) == 11
    kinds = dict(found)
    assert "item-0" not in kinds
    assert Counter(name for name, _ in found)["item-1"] == 2
    assert sum(name.startswith("unknown-") for name in kinds) == 1
    assert (kinds["item-3"], kinds["item-4"], kinds["item-5"]) == ("errored", "expired", "succeeded")


def test_items_go_missing_come_twice_were_never_asked_for_fail_and_expire_at_openai(
    sandbox: Sandbox, gpt: openai.OpenAI
) -> None:
    spoil_items(sandbox)
    batch = asking_openai_batches.create(gpt, asking_openai_batches.lines(10))
    sandbox.control.advance(DAY_S)
    ended = gpt.batches.retrieve(batch.id)
    assert ended.status == "expired"
    good = [each["custom_id"] for each in asking_openai_batches.content(gpt, ended.output_file_id)]
    bad = {each["custom_id"]: each for each in asking_openai_batches.content(gpt, ended.error_file_id)}
    assert len(good) == 9
    assert Counter(good)["item-1"] == 2
    assert sum(name.startswith("unknown-") for name in good) == 1
    assert bad["item-3"]["response"]["status_code"] == 500
    assert bad["item-4"]["error"]["code"] == "batch_expired"


def test_items_go_missing_come_twice_were_never_asked_for_and_fail_at_google(
    sandbox: Sandbox, gemini: genai.Client
) -> None:
    spoil_items(sandbox)
    stored = asking_google_batches.upload(gemini, asking_google_batches.lines(10))
    assert stored.name is not None
    job = asking_google_batches.create(gemini, stored.name)
    sandbox.control.advance(TURNAROUND_S)  # no item of Google's expires alone
    assert job.name is not None
    found = asking_google_batches.content(gemini, gemini.batches.get(name=job.name))
    keys = [each["key"] for each in found]
    assert keys[:2] == ["item-1", "item-1"]
    assert sum(key.startswith("unknown-") for key in keys) == 1
    assert {each["key"]: each["error"]["code"] for each in found if "error" in each} == {"item-3": 13, "item-4": 13}


def test_answers_are_spoilt_in_batches_as_in_calls_but_what_passes_is_waited_out(
    sandbox: Sandbox, client: anthropic.Anthropic
) -> None:
    faults = ("malformed", "truncate", "server_error_500", "rate_limit_429", "connection_reset", "overloaded_529")
    sandbox.control.set_faults({"scripted": [{"nth_request": n, "fault": fault} for n, fault in enumerate(faults, 1)]})
    batch = asking_batches.create(client, 10)
    sandbox.control.advance(TURNAROUND_S)
    found = {result.custom_id: result.result for result in results(client, batch.id)}
    (bad,) = [name for name, result in found.items() if result.type == "errored"]
    assert bad == "item-2"
    reasons = {name: result.message.stop_reason for name, result in found.items() if result.type == "succeeded"}
    assert reasons["item-1"] == "max_tokens"
    assert reasons["item-3"] == reasons["item-4"] == reasons["item-5"] == "end_turn"


@pytest.mark.parametrize("fault", ["batch_failed", "batch_expired"])
def test_a_whole_batch_comes_to_nothing(
    *,
    sandbox: Sandbox,
    client: anthropic.Anthropic,
    gpt: openai.OpenAI,
    gemini: genai.Client,
    creates: dict[str, Callable[[], Any]],
    fault: str,
) -> None:
    sandbox.control.set_faults({"batches": {"scripted": [{"fault": fault, "nth": 1, "times": None}]}})
    claude_id, gpt_id, gemini_id = creates["anthropic"]().id, creates["openai"]().id, creates["google"]().name
    sandbox.control.advance(2 * DAY_S)
    counts = client.messages.batches.retrieve(claude_id).request_counts
    assert (counts.errored, counts.expired) == ((10, 0) if fault == "batch_failed" else (0, 10))
    batch = gpt.batches.retrieve(gpt_id)
    assert f"batch_{batch.status}" == fault
    assert batch.output_file_id is None
    if fault == "batch_failed":
        assert batch.errors is not None
        assert [error.code for error in batch.errors.data or []] == ["token_limit_exceeded"]
    else:
        assert len(asking_openai_batches.content(gpt, batch.error_file_id)) == 10
    job = gemini.batches.get(name=gemini_id)
    assert f"JOB_STATE_{fault.removeprefix('batch_').upper()}" == job.state
    assert job.dest is None
    assert sandbox.control.stats()["calls"] == 0


@pytest.mark.parametrize(
    "fault", ["results_cut", "results_gzipped", "results_empty", "results_foreign", "results_garbled"]
)
def test_a_download_is_spoilt_once_and_whole_the_second_time(
    sandbox: Sandbox, gpt: openai.OpenAI, creates: dict[str, Callable[[], Any]], fault: str
) -> None:
    batch_id = creates["openai"]().id
    sandbox.control.advance(TURNAROUND_S)
    output = gpt.batches.retrieve(batch_id).output_file_id
    assert output is not None
    whole = gpt.files.content(output).content
    spoil(sandbox, fault)
    if fault == "results_cut":
        with pytest.raises(openai.APIConnectionError):
            gpt.files.content(output)
    else:
        spoilt = gpt.files.content(output).content
        expected = {"results_gzipped": b"\x1f\x8b", "results_empty": b"", "results_foreign": b'{"id":"batch_req_'}
        assert spoilt != whole
        assert spoilt.startswith(expected.get(fault, whole[:100]))
        assert (b'"item-' in spoilt) == (fault == "results_garbled")
    assert gpt.files.content(output).content == whole


def test_a_cut_stream_of_results_gives_the_lines_before_the_cut(
    sandbox: Sandbox, client: anthropic.Anthropic, creates: dict[str, Callable[[], Any]]
) -> None:
    batch_id = creates["anthropic"]().id
    sandbox.control.advance(TURNAROUND_S)
    spoil(sandbox, "results_cut")
    found: list[str] = []
    stream = client.messages.batches.results(batch_id)
    with pytest.raises((httpx2.RemoteProtocolError, json.JSONDecodeError)):
        found.extend(result.custom_id for result in stream)
    assert 0 < len(found) < 10
    assert len(results(client, batch_id)) == 10


def test_googles_file_is_cut_too(sandbox: Sandbox, gemini: genai.Client) -> None:
    stored = asking_google_batches.upload(gemini, asking_google_batches.lines(10))
    assert stored.name is not None
    job = asking_google_batches.create(gemini, stored.name)
    assert job.name is not None
    sandbox.control.advance(TURNAROUND_S)
    spoil(sandbox, "results_cut")
    with pytest.raises(httpx2.RemoteProtocolError):
        asking_google_batches.content(gemini, gemini.batches.get(name=job.name))
    assert len(asking_google_batches.content(gemini, gemini.batches.get(name=job.name))) == 10


def test_a_huge_download_goes_on_with_items_nobody_asked_for(
    sandbox: Sandbox, client: anthropic.Anthropic, creates: dict[str, Callable[[], Any]]
) -> None:
    batch_id = creates["anthropic"]().id
    sandbox.control.advance(TURNAROUND_S)
    spoil(sandbox, "results_huge", huge_bytes=1_000_000)
    found = [result.custom_id for result in results(client, batch_id)]
    assert len(found) > 500
    assert sum(name.startswith("item-") for name in found) == 10


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_listing_can_be_empty_or_name_a_batch_twice(
    sandbox: Sandbox,
    creates: dict[str, Callable[[], Any]],
    listed: dict[str, Callable[[], list[str]]],
    provider: str,
) -> None:
    creates[provider]()
    (batch_id,) = sandbox.control.created()
    spoil(sandbox, "list_empty")
    assert [listed[provider](), listed[provider]()] == [[], [batch_id]]
    spoil(sandbox, "list_repeated")
    assert [listed[provider](), listed[provider]()] == [[batch_id, batch_id], [batch_id]]


def test_a_status_can_step_back(
    sandbox: Sandbox,
    client: anthropic.Anthropic,
    gpt: openai.OpenAI,
    gemini: genai.Client,
    creates: dict[str, Callable[[], Any]],
) -> None:
    claude_id, gpt_id, gemini_id = creates["anthropic"]().id, creates["openai"]().id, creates["google"]().name
    sandbox.control.advance(TURNAROUND_S)
    looks: dict[str, Callable[[], Any]] = {
        "anthropic": lambda: client.messages.batches.retrieve(claude_id).processing_status,
        "openai": lambda: gpt.batches.retrieve(gpt_id).status,
        "google": lambda: gemini.batches.get(name=gemini_id).state,
    }
    seen = {}
    for provider, look in looks.items():
        sandbox.control.set_faults({"batches": {"scripted": [{"fault": "status_steps_back", "nth": 2}]}})
        seen[provider] = [look(), look(), look()]
    assert seen == {
        "anthropic": ["ended", "in_progress", "ended"],
        "openai": ["completed", "finalizing", "completed"],
        "google": ["JOB_STATE_SUCCEEDED", "JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"],
    }


def test_the_same_seed_spoils_the_same_items(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    def outcomes(seed: int) -> list[tuple[str, str]]:
        rates: Any = {"item_missing": 0.2, "item_errored": 0.2}
        sandbox.control.set_faults({"batches": {"seed": seed, "rates": rates}})
        batch = asking_batches.create(client, 40)
        sandbox.control.advance(TURNAROUND_S)
        return [(result.custom_id, result.result.type) for result in results(client, batch.id)]

    first = outcomes(1)
    assert 20 < len(first) < 40
    assert {kind for _, kind in first} == {"succeeded", "errored"}
    assert outcomes(1) == first
    assert outcomes(2) != first


def test_what_was_drawn_is_counted(sandbox: Sandbox, creates: dict[str, Callable[[], Any]]) -> None:
    sandbox.control.set_faults({"batches": {"scripted": [{"fault": "item_errored", "nth": 1, "times": 3}]}})
    creates["google"]()
    sandbox.control.advance(TURNAROUND_S)
    assert sandbox.control.stats()["batches"] == {
        "created": {"google": 1},
        "items": {"errored": 3, "succeeded": 7},
        "faults": {"item_errored": 3},
    }


def test_a_reset_forgets_batches_files_time_and_deliveries(
    sandbox: Sandbox,
    creates: dict[str, Callable[[], Any]],
    listed: dict[str, Callable[[], list[str]]],
    gpt: openai.OpenAI,
) -> None:
    creates["openai"]()
    sandbox.control.deliver_to("openai", "http://127.0.0.1:1/nobody")
    sandbox.control.advance(TURNAROUND_S)
    sandbox.control.reset()
    assert listed["openai"]() == []
    assert list(gpt.files.list()) == []
    assert sandbox.control.created() == []
    assert sandbox.control.deliveries() == []


@pytest.mark.parametrize(
    "plan",
    [
        {"rates": {"item_missing": 0.6, "item_errored": 0.6}},
        {"rates": {"no_such_fault": 0.1}},
        {"scripted": [{"fault": "item_missing"}]},
        {"scripted": [{"fault": "item_missing", "nth": 1, "when_id_contains": "x"}]},
        {"scripted": [{"fault": "item_missing", "nth": 0}]},
        {"scripted": [{"fault": "item_missing", "nth": 1, "times": 0}]},
        {"late_s": -1},
        {"surprise": 1},
    ],
)
def test_a_plan_that_is_not_understood_is_refused(sandbox: Sandbox, plan: Any) -> None:
    with pytest.raises(ConfigRefused):
        BatchFaultPlan.from_json(plan)
    with pytest.raises(urllib.error.HTTPError):
        sandbox.control.set_faults({"batches": plan})


def test_rates_of_one_occasion_leave_the_others_alone() -> None:
    draw = BatchFaultDraw(BatchFaultPlan(rates={BatchFault.ITEM_MISSING: 1.0, BatchFault.LIST_EMPTY: 0.5}))
    assert draw.decide(Occasion.CREATE, b"x", "") is None
    assert {draw.decide(Occasion.ITEM, str(n).encode(), "") for n in range(5)} == {BatchFault.ITEM_MISSING}
    assert {draw.decide(Occasion.LIST, b"same", "") for _ in range(20)} == {None, BatchFault.LIST_EMPTY}


@pytest.mark.parametrize(
    "settings", [{"turnaround_s": -1}, {"window_s": 0}, {"max_requests": 0}, {"max_requests": 1.5}, {"surprise": 1}]
)
def test_settings_out_of_bounds_are_refused(settings: Any) -> None:
    with pytest.raises(ConfigRefused):
        SandboxConfig.from_json({"batches": settings})


@pytest.mark.parametrize("seconds", [-1, "soon"])
def test_time_only_goes_forward(sandbox: Sandbox, seconds: Any) -> None:
    with pytest.raises(urllib.error.HTTPError):
        sandbox.control.advance(seconds)
