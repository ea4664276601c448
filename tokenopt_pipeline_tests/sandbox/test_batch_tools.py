"""Tools in batches, one batch per round: a batch's items are answered by the handlers that answer calls."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from .asking import TEXTS, ask, client_of, pack_text, results
from .asking_batches import DAY_S, params
from .asking_openai import client_of as openai_client
from .asking_openai_batches import content, create, line
from .test_anthropic_tools import ASKED, SEARCH, after, calls
from .test_replay import RECORDS, ROOT

Members = dict[str, Any]


@pytest.fixture(scope="module")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    path = tmp_path_factory.mktemp("replay") / "recorded.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, RECORDS)).encode()))
    with running_sandbox(SandboxConfig(replay=path)) as sandbox:
        yield sandbox


def test_one_batch_per_round_leads_to_the_answer_a_call_gives(sandbox: Sandbox) -> None:
    def answered(messages: list[Members]) -> Any:
        asked: Any = [{"custom_id": "one", "params": params(messages=messages, tools=[SEARCH])}]
        batch = client.messages.batches.create(requests=asked)
        sandbox.control.advance(DAY_S - 60)
        (result,) = client.messages.batches.results(batch.id)
        assert result.result.type == "succeeded", result
        return result.result.message

    with client_of(sandbox) as client:
        first = answered([ASKED])
        assert [call.name for call in calls(first)] == ["search"]
        last = answered(after(first))
        assert results(last) == results(ask(client, *TEXTS))


def test_recordings_are_replayed_in_batches(sandbox: Sandbox) -> None:
    body = {"model": "replay/good", "input": pack_text(ROOT)}
    with openai_client(sandbox) as client:
        batch = create(client, [line("one", body)])
        sandbox.control.advance(DAY_S - 60)
        (answer,) = content(client, client.batches.retrieve(batch.id).output_file_id)
    (message,) = answer["response"]["body"]["output"]
    assert json.loads(message["content"][0]["text"]) == {"results": [{"n": 1, "number": 9}]}
