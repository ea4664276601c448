"""Recorded outputs as models: what was recorded is what the real SDKs get, and nothing else is."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google.genai import errors as google_errors
from google.genai import types

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline.sandbox.replay import recorded_calls

from . import asking, asking_chat, asking_google, asking_openai, asking_openai_batches
from .asking import pack_text, shared
from .asking_batches import DAY_S

Members = dict[str, Any]
ROOT, PRICE, BOTH, TALK = "Find the root of 9.", "What does a bolt cost?", "Root of 4 and of 16?", "Who won in 2021?"
RECORDS: list[Members] = [
    {
        "query_id": "1",
        "text": ROOT,
        "functions": {"name": "math.root"},
        "outputs": {
            "good": {"raw": [{"math_root": '{"number": 9}'}]},
            "source": {"raw": "[math.root(number=9)]"},
            "odd": {"raw": "The root is 3."},
        },
    },
    {
        "query_id": "2",
        "text": PRICE,
        "functions": [{"name": "price"}, {"name": "search"}],
        "outputs": {"good": {"raw": [{"price": '{"article": "bolt"}'}]}, "odd": {"raw": '[price(article="nut")]'}},
    },
    {
        "query_id": "3",
        "text": BOTH,
        "functions": {"name": "math.root"},
        "outputs": {"good": {"raw": [{"math_root": '{"number": 4}'}, {"math_root": '{"number": 16}'}]}},
    },
    {"query_id": "4", "text": TALK, "functions": {"name": "game"}, "outputs": {"good": {"raw": "I cannot tell."}}},
    # Asked before, with other functions to choose from.
    {
        "query_id": "5",
        "text": ROOT,
        "functions": [{"name": "math.root"}, {"name": "price"}],
        "outputs": {"good": {"raw": [{"math_root": '{"number": 9, "degree": 2}'}]}},
    },
]


@pytest.fixture(scope="module")
def replaying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    path = tmp_path_factory.mktemp("replay") / "recorded.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, RECORDS)).encode()))
    with running_sandbox(SandboxConfig(replay=path)) as sandbox:
        yield sandbox


def function(name: str) -> Members:
    return {"name": name, "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}}}


Answer = tuple[str, list[tuple[str, Members]]]
"""(text, calls)"""


def ask_anthropic(sandbox: Sandbox, model: str, prompt: str, *functions: Members) -> Answer:
    tools: Any = [{"name": each["name"], "input_schema": each["parameters"]} for each in functions] or anthropic.omit
    with asking.client_of(sandbox) as client:
        said = client.messages.create(
            model=model, max_tokens=500, messages=[{"role": "user", "content": prompt}], tools=tools
        )
    return asking.said(said), [(block.name, block.input) for block in said.content if block.type == "tool_use"]


def ask_openai(sandbox: Sandbox, model: str, prompt: str, *functions: Members) -> Answer:
    tools: Any = [{"type": "function", "strict": False, **each} for each in functions]
    with asking_openai.client_of(sandbox) as client:
        said = client.responses.create(model=model, input=prompt, tools=tools)
    calls = [(item.name, json.loads(item.arguments)) for item in said.output if item.type == "function_call"]
    return said.output_text, calls


def ask_chat(sandbox: Sandbox, model: str, prompt: str, *functions: Members) -> Answer:
    tools: Any = [{"type": "function", "function": each} for each in functions] or openai.omit
    with asking_chat.client_of(sandbox) as client:
        said = client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}], tools=tools)
    message = said.choices[0].message
    called: list[Any] = message.tool_calls or []
    return message.content or "", [(call.function.name, json.loads(call.function.arguments)) for call in called]


def ask_google(sandbox: Sandbox, model: str, prompt: str, *functions: Members) -> Answer:
    declared = [
        types.FunctionDeclaration(name=each["name"], parameters_json_schema=each["parameters"]) for each in functions
    ]
    client = asking_google.client_of(sandbox)
    said = client.models.generate_content(
        model=model,
        contents=prompt,
        config=types.GenerateContentConfig(tools=[types.Tool(function_declarations=declared)] if declared else None),
    )
    parts = (said.candidates or [types.Candidate()])[0].content.parts or []  # type: ignore[union-attr]  # never blocked
    calls = [(str(p.function_call.name), dict(p.function_call.args or {})) for p in parts if p.function_call]
    return "".join(part.text or "" for part in parts), calls


ASK: dict[str, Callable[..., Answer]] = {
    "anthropic": ask_anthropic,
    "openai": ask_openai,
    "custom": ask_chat,
    "google": ask_google,
}
each_wire = pytest.mark.parametrize("wire", ASK)
REFUSED = (anthropic.BadRequestError, openai.BadRequestError, google_errors.ClientError)


@each_wire
def test_a_recorded_call_is_called_again_under_the_name_it_is_declared_by(wire: str, replaying: Sandbox) -> None:
    for model in ("replay/good", "replay/source"):
        assert ASK[wire](replaying, model, ROOT, function("math_root")) == ("", [("math_root", {"number": 9})])
    assert ASK[wire](replaying, "replay/odd", ROOT, function("math_root")) == ("The root is 3.", [])


@each_wire
def test_of_two_recordings_of_one_question_the_one_with_these_functions_counts(wire: str, replaying: Sandbox) -> None:
    (called,) = ASK[wire](replaying, "replay/good", ROOT, function("math_root"), function("price"))[1]
    assert called == ("math_root", {"number": 9, "degree": 2})


@each_wire
def test_a_packs_results_are_what_was_recorded_of_each_block(wire: str, replaying: Sandbox) -> None:
    text, calls = ASK[wire](replaying, "replay/good", pack_text(PRICE, f"  {ROOT}", BOTH, TALK))
    assert not calls
    assert json.loads(text) == {
        "results": [
            {"n": 1, "article": "bolt"},
            {"n": 2, "number": 9},
            # Two calls where one was asked for are an error that somebody has to see.
            {
                "n": 3,
                "calls": [
                    {"name": "math_root", "arguments": {"number": 4}},
                    {"name": "math_root", "arguments": {"number": 16}},
                ],
            },
        ]
    }


@each_wire
def test_words_that_were_recorded_are_the_answer_where_their_block_stands_alone(wire: str, replaying: Sandbox) -> None:
    assert ASK[wire](replaying, "replay/good", pack_text(TALK)) == ("I cannot tell.", [])
    assert ASK[wire](replaying, "replay/good", TALK) == ("I cannot tell.", [])


@each_wire
@pytest.mark.parametrize(
    ("model", "prompt", "words"),
    [
        pytest.param("replay/good", "Something else.", "nobody recorded an answer to 'Something else.'", id="a prompt"),
        pytest.param("replay/good", pack_text(ROOT, "What?"), "nobody recorded an answer to 'What?'", id="a block"),
        pytest.param("replay/source", PRICE, "recorded are: good, odd", id="a model"),
    ],
)
def test_what_nobody_recorded_is_refused_and_costs_nothing(
    wire: str, model: str, prompt: str, words: str, replaying: Sandbox
) -> None:
    replaying.control.reset()
    with pytest.raises(REFUSED) as refused:
        ASK[wire](replaying, model, prompt)
    assert words in str(refused.value)
    stats = replaying.control.stats()
    assert (stats["calls"], stats["by_status"]) == (0, {"400": 1})


@each_wire
def test_without_recordings_their_models_are_refused(wire: str, sandbox: Sandbox) -> None:
    with pytest.raises(REFUSED, match="start the sandbox with --replay FILE"):
        ASK[wire](sandbox, "replay/good", ROOT)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text("{", encoding="utf-8")
    for name in ("broken.jsonl", "absent.jsonl"):
        cannot = pytest.raises(REFUSED, match=f"the recordings in {name} cannot be read")
        with running_sandbox(SandboxConfig(replay=tmp_path / name)) as sandbox, cannot:
            ask_openai(sandbox, "replay/good", ROOT)


def test_a_cut_answer_says_so(replaying: Sandbox) -> None:
    with asking.client_of(replaying) as client:
        said = client.messages.create(
            model="replay/good", max_tokens=2, messages=[{"role": "user", "content": pack_text(ROOT)}]
        )
    assert said.stop_reason == "max_tokens"
    assert said.usage.output_tokens == 2


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("I cannot tell.", id="words"),
        pytest.param("[f(1)]", id="a nameless argument"),
        pytest.param("[f(a=b)]", id="no literal"),
        pytest.param("[f(a={1})]", id="no JSON"),
        pytest.param("[f(**x)]", id="unpacked"),
        pytest.param([{"f": "{"}], id="broken JSON"),
        pytest.param([{"f": "[]"}], id="a list for arguments"),
        pytest.param(["words"], id="a list of words"),
    ],
)
def test_what_is_no_call_is_not_read_as_one(raw: Any) -> None:
    assert recorded_calls(raw) is None


def test_the_shared_recordings_are_read_as_calls_that_were_judged_right() -> None:
    """Of the outputs somebody judged right, what is read has the values somebody called right."""
    with gzip.open(shared("data/routing/bfcl_replay.jsonl.gz"), "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    read: Counter[bool] = Counter()
    right: Counter[bool] = Counter()
    for row in rows:
        for output in row["outputs"].values():
            calls = recorded_calls(output["raw"])
            read[calls is not None] += 1
            if row["task"] == "bfcl/simple" and output["correct"]:
                (gold,) = row["gold"].values()
                right[calls is not None and len(calls) == 1 and fits(calls[0][1], gold)] += 1
    # The others are words, which is right where no function applies, and cut or faulty calls.
    assert read == {True: 8_544, False: 1_312}
    # The others wrote a formula with other signs, which their judge lets pass.
    assert right == {True: 2_601, False: 23}


def fits(arguments: Members, gold: Members) -> bool:
    return all(
        name in gold and (isinstance(value, list | dict) or any(alike(value, each) for each in gold[name]))
        for name, value in arguments.items()
    )


def alike(value: Any, allowed: Any) -> bool:
    return bool(value == allowed) or str(value).lower() == str(allowed).lower()


def test_a_shared_recording_is_replayed_on_every_wire() -> None:
    with running_sandbox(SandboxConfig(replay=shared("data/routing/bfcl_replay.jsonl.gz"))) as sandbox:
        for ask in ASK.values():
            text, _ = ask(
                sandbox, "replay/gpt-4o-2024-08-06-FC", pack_text("Calculate the factorial of 5 using math functions.")
            )
            assert json.loads(text) == {"results": [{"n": 1, "number": 5}]}


def test_recordings_are_replayed_in_batches(replaying: Sandbox) -> None:
    body = {"model": "replay/good", "input": pack_text(ROOT)}
    with asking_openai.client_of(replaying) as client:
        batch = asking_openai_batches.create(client, [asking_openai_batches.line("one", body)])
        replaying.control.advance(DAY_S - 60)
        (answer,) = asking_openai_batches.content(client, client.batches.retrieve(batch.id).output_file_id)
    (message,) = answer["response"]["body"]["output"]
    assert json.loads(message["content"][0]["text"]) == {"results": [{"n": 1, "number": 9}]}
