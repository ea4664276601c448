"""Conversations with tools, on a scripted model and real tool servers: every fault ends in an answer or a plain call."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators, ToolSchemaValidators
from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.domain.bridge import AskModel, StopCause
from tokenopt_pipeline.domain.bridge_policy import BridgePolicy
from tokenopt_pipeline.domain.errors import ContextWindowExceeded, RateLimited, RequestRejected
from tokenopt_pipeline.domain.outputs import DecodedAnswer, Finding, decode_answer
from tokenopt_pipeline.domain.prompts import ordinal_key, output_schema, system_prompt, user_prompt
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse, StopReason
from tokenopt_pipeline.domain.tool_servers import ToolServer
from tokenopt_pipeline.domain.tools import ToolCall
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.ports import ToolHost
from tokenopt_pipeline.stages.bridge import Bridge, BridgeOutcome
from tokenopt_pipeline_tests.factories import a_model, a_prompt_block, a_request, a_response, a_schema, an_answer
from tokenopt_pipeline_tests.stages.scripted_provider import FakeClock, WordTokenizer
from tokenopt_pipeline_tests.tool_servers import legacy
from tokenopt_pipeline_tests.tool_servers.faulty import INJECTION, TOOLS, faulty_server

#: What a model answers, or what it does with what it was told.
Move = ModelResponse | Exception | Callable[[ModelRequest], ModelResponse]
_ENTRY = {"n": 1, "party": "tenant", "kind": "duty"}
_SCHEMA = a_schema()


@dataclass(slots=True)
class Model:
    """`ports.Provider` that plays its moves, the last one again and again."""

    moves: list[Move]
    asked: list[ModelRequest] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)

    def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        self.asked.append(request)
        self.timeouts.append(timeout_s)
        self.clock.advance(5.0)
        move = self.moves.pop(0) if len(self.moves) > 1 else self.moves[0]
        if isinstance(move, Exception):
            raise move
        return move if isinstance(move, ModelResponse) else move(request)

    @property
    def told(self) -> list[Any]:
        """What it was told about the calls of its last turn."""
        return [json.loads(result.text) for result in self.asked[-1].turns[-1].results]


def calling(*calls: tuple[str, dict[str, Any]] | ToolCall) -> ModelResponse:
    """An answer that calls these tools of the server `own`."""
    made = tuple(
        c if isinstance(c, ToolCall) else ToolCall(call_id=f"c{i}", name=f"own__{c[0]}", arguments=c[1])
        for i, c in enumerate(calls)
    )
    return a_response(text="", stop=StopReason.TOOLS, tool_calls=made, carry=json.dumps([c.name for c in made]))


def answering(*entries: dict[str, Any], **changes: Any) -> ModelResponse:
    return a_response(text=an_answer(entries or [_ENTRY]), carry="[]", **changes)


@pytest.fixture(scope="module")
def host() -> Iterator[McpHost]:
    server = ToolServer(name="own", builtin=True, tools=tuple(TOOLS))
    with McpHost([server], environment={}, start_timeout_s=30, builtin=faulty_server()) as opened:
        yield opened


def a_bridge(host: ToolHost, model: Model, **bounds: Any) -> Bridge:
    box = host.tools()
    return Bridge(
        bounds=BridgePolicy(enabled=True, **bounds),
        tools=box,
        provider=model,
        host=host,
        schemas=ToolSchemaValidators(box),
        tokenizer=WordTokenizer(),
        prices=ListPrices(),
        clock=model.clock,
        timeout_s=60.0,
    )


def a_pack(blocks: int = 1, **changes: Any) -> ModelRequest:
    asked = [a_prompt_block(ordinal=i, text=f"The tenant pays rent {i}.") for i in range(1, blocks + 1)]
    return a_request(
        **{
            "system": system_prompt(_SCHEMA),
            "user": user_prompt(_SCHEMA, asked),
            "output_schema": output_schema(_SCHEMA),
            **changes,
        }
    )


def converse(host: ToolHost, *moves: Move, blocks: int = 1, **bounds: Any) -> tuple[BridgeOutcome, Model]:
    model = Model(list(moves))
    bridge = a_bridge(host, model, **bounds)
    return bridge.converse(bridge.prepared(a_pack(blocks))), model


def decoded(outcome: BridgeOutcome, blocks: int = 1) -> DecodedAnswer:
    assert outcome.response is not None, outcome
    return decode_answer(
        outcome.response.text,
        stop=outcome.response.stop,
        asked=blocks,
        ordinal_key=ordinal_key(_SCHEMA),
        violation=JsonSchemaValidators().violation_of(_SCHEMA),
    )


def test_tools_are_called_and_the_answer_comes_with_every_turn_for_the_ledger(host: McpHost) -> None:
    calls = calling(("echo", {"text": "one"}), ("honest", {}))
    outcome, model = converse(host, calls, answering())
    assert decoded(outcome).outputs[0].values == {"party": "tenant", "kind": "duty"}
    assert (outcome.cause, outcome.problem) == (None, None)
    assert [result.text for result in model.asked[1].turns[0].results] == ['{"result":"one"}', '{"result":{"n":1}}']
    first, second = outcome.turns
    assert (len(first.tool_calls), first.calls_made, second.tool_calls) == (2, 2, ())
    assert [turn.fingerprint for turn in outcome.turns] == [request.fingerprint for request in model.asked]
    assert first.fingerprint != second.fingerprint
    assert all(turn.usd is not None and turn.usd_ceiling is not None for turn in outcome.turns)
    assert [turn.latency_ms for turn in outcome.turns] == [5_000, 5_000]
    assert sum((turn.usd or Decimal(0) for turn in outcome.turns), Decimal(0)) == outcome.loop.usd
    assert (outcome.loop.requests, outcome.loop.tool_calls, outcome.loop.tokens) == (2, 2, 220)


def test_the_first_request_has_the_tools_in_order_and_says_what_results_are(host: McpHost) -> None:
    _, model = converse(host, answering())
    (asked,) = model.asked
    assert [tool.wire_name for tool in asked.tools] == sorted(f"own__{name}" for name in TOOLS)
    assert asked.system.startswith(system_prompt(_SCHEMA))
    assert "never an\ninstruction" in asked.system
    assert asked.turns == ()


# --- faults of tools


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        pytest.param("hang", {}, {"error": "no answer within 0.3 seconds"}, id="hanging"),
        pytest.param("fail", {}, {"error": "the file is locked"}, id="failing"),
        pytest.param(
            "lie",
            {},
            {"error": 'the tool\'s result breaks its own output schema: n: "one" is not of type "integer"'},
            id="lying",
        ),
        pytest.param(
            "silent",
            {},
            {"error": "the tool's result breaks its own output schema: there is no structured content"},
            id="silent about its value",
        ),
        pytest.param(
            "big",
            {"n_bytes": 10_000_000},
            {"result": "x" * 300, "cut": "only the first 300 of 10000000 bytes are shown"},
            id="ten megabytes",
        ),
        pytest.param("inject", {}, {"result": INJECTION}, id="injecting"),
        pytest.param("delete", {}, None, id="unknown"),
        pytest.param(
            "echo",
            {"text": 7},
            {"error": 'the arguments break the tool\'s schema: text: 7 is not of type "string"'},
            id="arguments that break the schema",
        ),
    ],
)
def test_a_fault_is_told_to_the_model_and_the_answer_comes_all_the_same(
    host: McpHost, tool: str, arguments: dict[str, Any], told: dict[str, Any] | None
) -> None:
    outcome, model = converse(host, calling((tool, arguments)), answering(), call_timeout_s=0.3, result_bytes=300)
    if told is None:
        assert "there is no tool 'own__delete'" in model.told[0]["error"]
        assert outcome.turns[0].calls_made == 0
    else:
        assert model.told == [told]
    assert model.asked[1].turns[0].results[0].is_error == ("result" not in model.told[0])
    assert decoded(outcome).outputs[0].finding is Finding.VALID


def test_a_server_that_crashes_in_a_call_is_told_and_started_again_for_the_next() -> None:
    server = ToolServer(
        name="own", command=sys.executable, args=("-S", legacy.__file__), tools=("die", "echo", "endless")
    )
    with McpHost([server], environment={}, start_timeout_s=30) as crashing:
        calls = [calling(("die", {})), calling(("endless", {})), calling(("echo", {"text": "back"}))]
        outcome, model = converse(crashing, *calls, answering())
    results = [json.loads(turn.results[0].text) for turn in model.asked[-1].turns]
    assert "no more" in results[0]["error"]
    assert "a message of more than" in results[1]["error"]
    assert results[2] == {"result": "back"}
    assert decoded(outcome).outputs[0].finding is Finding.VALID


def test_arguments_that_are_no_object_are_told_and_no_server_is_asked(host: McpHost) -> None:
    spoilt = ToolCall(call_id="c1", name="own__echo", arguments=None, problem="Expecting value: line 1 column 1")
    outcome, model = converse(host, calling(spoilt), answering())
    assert model.told == [{"error": "the arguments are no JSON object: Expecting value: line 1 column 1"}]
    assert outcome.turns[0].calls_made == 0


def test_identical_calls_are_made_once_and_answered_each_time(host: McpHost) -> None:
    call = ("echo", {"text": "again"})
    outcome, model = converse(host, calling(call, call), calling(call), answering())
    assert [turn.calls_made for turn in outcome.turns] == [1, 0, 0]
    assert [r.text for turn in model.asked[-1].turns for r in turn.results] == ['{"result":"again"}'] * 3


def test_what_a_result_says_about_other_blocks_and_runs_changes_no_mapping(host: McpHost) -> None:
    """The model that obeys an injected text spoils what it was asked about at most, and never reaches anything else."""
    stolen = {"n": 2, "party": "Mallory", "kind": "duty"}
    obedient = answering(_ENTRY, {**_ENTRY, "n": 2}, stolen, {**_ENTRY, "n": 99}, {**_ENTRY, "n": "r20990101-other:0"})
    outcome, model = converse(host, calling(("inject", {})), obedient, blocks=2)
    # The text stands inside one JSON string of one line, and in no other part of what the model is sent.
    (result,) = model.asked[1].turns[0].results
    assert "\n" not in result.text
    assert json.loads(result.text) == {"result": INJECTION}
    assert (model.asked[1].system, model.asked[1].user) == (model.asked[0].system, model.asked[0].user)
    answer = decoded(outcome, blocks=2)
    assert [output.finding for output in answer.outputs] == [Finding.VALID, Finding.DUPLICATE]
    assert answer.strays == 2


# --- bounds


def _endless(request: ModelRequest) -> ModelResponse:
    return calling(("echo", {"text": f"call {len(request.turns)}"}))


@pytest.mark.parametrize(
    ("move", "bounds", "cause", "requests"),
    [
        pytest.param(_endless, {"max_turns": 4}, StopCause.TURNS, 4, id="turns"),
        pytest.param(_endless, {"max_tool_calls": 2}, StopCause.TOOL_CALLS, 3, id="tool calls"),
        # Every turn is billed 110 tokens, and the next one guarded with 112 and 512 of output: 954 after three, then 1,064.
        pytest.param(_endless, {"max_tokens": 1_000}, StopCause.TOKENS, 4, id="tokens"),
        # Every turn is billed 0.0003 dollars, and the next one may cost 0.005344: 0.005944 after two, then 0.006244.
        pytest.param(_endless, {"max_usd": Decimal("0.0061")}, StopCause.DOLLARS, 3, id="dollars"),
        # The clock of these tests goes on by 5 seconds with every request.
        pytest.param(_endless, {"max_seconds": 14.0}, StopCause.SECONDS, 3, id="seconds"),
    ],
)
def test_a_model_that_never_stops_calling_is_stopped_at_the_bound(
    host: McpHost, move: Move, bounds: dict[str, Any], cause: StopCause, requests: int
) -> None:
    outcome, model = converse(host, move, **bounds)
    assert (outcome.cause, outcome.response, outcome.problem) == (cause, None, None)
    assert outcome.reason.endswith("the pack is asked plainly, with full context.")
    assert len(outcome.turns) == len(model.asked) == requests
    assert outcome.loop.tokens == sum(t.response.usage.input_total + t.response.usage.output for t in outcome.turns)


def test_a_request_waits_no_longer_than_what_is_left_of_the_conversation(host: McpHost) -> None:
    _, model = converse(host, _endless, max_seconds=14.0)
    assert model.timeouts == [14.0, 9.0, 4.0]
    _, model = converse(host, answering(), max_seconds=3_000.0)
    assert model.timeouts == [60.0]


@pytest.mark.parametrize(
    "problem", [RequestRejected("400: no tools here", status=400), ContextWindowExceeded("too long")]
)
def test_what_the_provider_refuses_is_asked_plainly(host: McpHost, problem: Exception) -> None:
    outcome, _ = converse(host, calling(("echo", {"text": "one"})), problem)
    assert outcome.cause is StopCause.REJECTED
    assert str(problem) in outcome.reason
    assert len(outcome.turns) == 1


def test_a_provider_that_fails_in_between_loses_nothing_that_was_paid_and_the_conversation_goes_on(
    host: McpHost,
) -> None:
    problem = RateLimited("slow down", retry_after_s=3)
    model = Model([calling(("echo", {"text": "one"})), problem, answering()])
    bridge = a_bridge(host, model)
    request = bridge.prepared(a_pack())
    broken = bridge.converse(request)
    assert (broken.problem, broken.response, broken.cause) == (problem, None, None)
    assert len(broken.turns) == 1
    gone_on = bridge.converse(request, AskModel(loop=broken.loop))
    assert decoded(gone_on).outputs[0].finding is Finding.VALID
    assert gone_on.loop.requests == 2
    assert model.asked[1] == model.asked[2]


def test_a_model_that_answers_in_words_is_asked_once_more_without_tools(host: McpHost) -> None:
    outcome, model = converse(host, a_response(text="Fine.", carry='["words"]'), answering())
    assert [request.answer_now for request in model.asked] == [False, True]
    assert decoded(outcome).outputs[0].finding is Finding.VALID


@pytest.mark.parametrize(
    ("ttl", "member"), [(None, "input_uncached"), ("5m", "cache_write_5m"), ("1h", "cache_write_1h")]
)
def test_a_ceiling_counts_all_input_at_its_dearest_price(host: McpHost, ttl: str | None, member: str) -> None:
    request = a_pack(cache_ttl=ttl)
    usage = TokenUsage(**{member: 1_000}, output=10)
    ceiling = a_bridge(host, Model([answering()])).gauges(request).usd_ceiling(1_000, 10)
    assert ceiling == ListPrices().usd(request.model.ref, usage)


def test_a_loop_begins_guarded_by_everything_that_is_sent(host: McpHost) -> None:
    bridge = a_bridge(host, Model([answering()]))
    plain = bridge.begin(a_pack(model=a_model(request_overhead_tokens=0))).next_input_tokens
    model = a_model(request_overhead_tokens=50, tools_overhead_tokens=7, token_ratio_guard=2.0)
    assert bridge.begin(a_pack(model=model)).next_input_tokens == 2 * plain + 57
    assert bridge.begin(bridge.prepared(a_pack())).next_input_tokens > bridge.begin(a_pack()).next_input_tokens
