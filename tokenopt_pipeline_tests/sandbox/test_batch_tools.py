"""Tool loops over batches: one batch per round, the same calls and the same answer as side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tokenopt_pipeline.sandbox.batch_config import BatchSettings
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from . import asking_google, asking_google_batches, asking_openai, asking_openai_batches
from .asking import ask
from .asking import results as sync_results
from .asking_batches import HOUR_S, entries, params, results
from .test_anthropic_tools import ASKED, COUNT, SEARCH, after

TURNAROUND_S = HOUR_S


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    with running_sandbox(SandboxConfig(batches=BatchSettings(turnaround_s=TURNAROUND_S))) as sandbox:
        yield sandbox


def test_a_loop_takes_a_batch_per_round_and_ends_with_the_answer_of_calls(
    sandbox: Sandbox, client: anthropic.Anthropic
) -> None:
    sandbox.control.set_tools({"rounds": 2})
    plain, messages = ask(client), [ASKED]
    for _ in range(3):
        asked: Any = [{"custom_id": "item", "params": params(messages=messages, tools=[SEARCH, COUNT])}]
        batch = client.messages.batches.create(requests=asked)
        sandbox.control.advance(TURNAROUND_S)
        (found,) = results(client, batch.id)
        assert found.result.type == "succeeded"
        if found.result.message.stop_reason == "end_turn":
            break
        messages += after(found.result.message)[1:]
    assert len(sandbox.control.created("anthropic")) == 3
    assert entries(found) == sync_results(plain)


def test_openai_calls_tools_in_a_batch(sandbox: Sandbox) -> None:
    tool = {"type": "function", "name": "search", "parameters": SEARCH["input_schema"], "strict": False}
    with asking_openai.client_of(sandbox) as client:
        item = asking_openai_batches.body("Unit 1 costs 1 euros.", tools=[tool])
        batch = asking_openai_batches.create(client, [asking_openai_batches.line("item", item)])
        sandbox.control.advance(TURNAROUND_S)
        (found,) = asking_openai_batches.content(client, client.batches.retrieve(batch.id).output_file_id)
    (call,) = [item for item in found["response"]["body"]["output"] if item["type"] == "function_call"]
    assert isinstance(json.loads(call["arguments"])["query"], str)


def test_google_calls_tools_in_a_batch(sandbox: Sandbox) -> None:
    line = asking_google_batches.line("item", "Unit 1 costs 1 euros.")
    declared = {"name": "search", "description": "Finds rules.", "parametersJsonSchema": SEARCH["input_schema"]}
    line["request"]["tools"] = [{"functionDeclarations": [declared]}]
    with asking_google.client_of(sandbox) as client:
        stored = asking_google_batches.upload(client, [line])
        assert stored.name is not None
        job = asking_google_batches.create(client, stored.name)
        sandbox.control.advance(TURNAROUND_S)
        assert job.name is not None
        (found,) = asking_google_batches.content(client, client.batches.get(name=job.name))
    parts = found["response"]["candidates"][0]["content"]["parts"]
    assert [part["functionCall"]["name"] for part in parts if "functionCall" in part] == ["search"]
