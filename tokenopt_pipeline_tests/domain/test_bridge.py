"""The tool loop: its decisions, its bounds, and a property that it always ends within them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.bridge import (
    ANSWER_NOW,
    Answer,
    AskModel,
    CallTools,
    FallBack,
    Gauges,
    Loop,
    StopCause,
    after_deadline,
    after_rejection,
    after_response,
    after_tools,
    begin,
    next_request,
    with_tools,
)
from tokenopt_pipeline.domain.bridge_policy import BridgePolicy
from tokenopt_pipeline.domain.requests import ModelResponse, StopReason
from tokenopt_pipeline.domain.tools import Tool, Toolbox, ToolCall, ToolOutcome, toolbox
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline_tests.domain.generated import examples
from tokenopt_pipeline_tests.factories import a_call, a_response, a_tool, a_tools_response

_BOX = toolbox([a_tool(), a_tool(name="typed", output_schema={"type": "object"})])
#: Dollars per token.
_PRICE = Decimal("0.00001")


def _no_query(_: Tool, arguments: Mapping[str, object]) -> str | None:
    return None if "query" in arguments else "'query' is a required property"


def _gauges(usd: Callable[[int, int], Decimal | None] = lambda i, o: (i + o) * _PRICE) -> Gauges:
    return Gauges(
        arguments_violation=_no_query,
        result_violation=lambda _, value: None if value == {"ok": 1} else "it is not ok",
        tokens=len,
        usd_ceiling=usd,
    )


def _loop(tools: Toolbox = _BOX, **bounds: Any) -> Loop:
    return begin(tools, BridgePolicy(enabled=True, **bounds), input_tokens=1_000, max_tokens=500)


def _after(loop: Loop, response: ModelResponse, usd: Decimal | None = Decimal(0)) -> Any:
    return after_response(loop, response, usd=usd, gauges=_gauges())


def _called(loop: Loop, *calls: ToolCall, **changes: Any) -> CallTools:
    step = _after(loop, a_tools_response(*calls, **changes))
    assert isinstance(step, CallTools)
    return step


def _told(loop: Loop, *calls: ToolCall, outcome: ToolOutcome | None = None) -> list[Any]:
    """What the model reads about its calls when every one that is made ends so."""
    step = _called(loop, *calls)
    made = {call.call_id: outcome or ToolOutcome(text="fine") for call in step.calls}
    turn = after_tools(step, made, gauges=_gauges()).loop.turns[-1]
    assert [result.call_id for result in turn.results] == [call.call_id for call in calls]
    return [(json.loads(result.text), result.is_error) for result in turn.results]


def test_an_answer_ends_the_loop() -> None:
    response = a_response()
    step = _after(_loop(), response, Decimal("0.1"))
    assert isinstance(step, Answer)
    assert step.response is response
    assert (step.loop.requests, step.loop.tokens, step.loop.usd) == (1, 110, Decimal("0.1"))


@pytest.mark.parametrize("stop", [StopReason.REFUSED, StopReason.TRUNCATED])
def test_a_refusal_and_a_cut_answer_are_answers_too(stop: StopReason) -> None:
    assert isinstance(_after(_loop(), a_response(text="", stop=stop, carry="[]")), Answer)


def test_calls_are_made_and_their_results_follow_in_the_order_of_the_calls() -> None:
    first, second = a_call("c1"), a_call("c2", arguments={"query": "dashes"})
    step = _called(_loop(), first, second)
    assert step.calls == (first, second)
    outcomes = {"c2": ToolOutcome(text="two"), "c1": ToolOutcome(text="one")}
    ask = after_tools(step, outcomes, gauges=_gauges())
    (turn,) = ask.loop.turns
    assert turn.carry == '["carried"]'
    assert [(r.call_id, json.loads(r.text)) for r in turn.results] == [
        ("c1", {"result": "one"}),
        ("c2", {"result": "two"}),
    ]
    assert not ask.loop.answer_now
    # 110 tokens came back with the answer, and `len` counts the two lines.
    assert ask.loop.next_input_tokens == 110 + len('{"result":"one"}') + len('{"result":"two"}')


def test_identical_calls_are_made_once_in_one_answer_and_never_again_in_a_later_one() -> None:
    twin = a_call("c2", arguments={"query": "commas"})
    step = _called(_loop(), a_call("c1"), twin)
    assert step.calls == (a_call("c1"),)
    ask = after_tools(step, {"c1": ToolOutcome(text="one")}, gauges=_gauges())
    assert [json.loads(r.text) for r in ask.loop.turns[0].results] == [{"result": "one"}] * 2
    later = _called(ask.loop, a_call("c9"))
    assert later.calls == ()
    assert json.loads(after_tools(later, {}, gauges=_gauges()).loop.turns[1].results[0].text) == {"result": "one"}


def test_a_call_that_failed_is_made_again_when_the_model_asks_again() -> None:
    step = _called(_loop())
    ask = after_tools(step, {"c1": ToolOutcome(text="timed out", is_error=True)}, gauges=_gauges())
    assert ask.loop.turns[0].results[0].is_error
    assert _called(ask.loop).calls == (a_call(),)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            a_call(name="style__delete"),
            "there is no tool 'style__delete'; there are: style__search_rules, style__typed",
        ),
        (a_call(arguments=None, problem="it is no JSON object but list"), "the arguments are no JSON object: it is no"),
        (a_call(arguments={}), "the arguments break the tool's schema: 'query' is a required property"),
    ],
)
def test_a_call_that_cannot_be_made_is_an_error_for_the_model_and_the_others_are_made(
    call: ToolCall, said: str
) -> None:
    other = a_call("c2")
    assert _called(_loop(), call, other).calls == (other,)
    (told, is_error), (fine, _) = _told(_loop(), call, other)
    assert is_error
    assert said in told["error"]
    assert fine == {"result": "fine"}


def test_a_result_that_breaks_the_schema_of_its_tool_is_an_error_for_the_model() -> None:
    call = a_call(name="style__typed")
    assert _told(_loop(), call, outcome=ToolOutcome(text="", structured={"ok": 1})) == [({"result": {"ok": 1}}, False)]
    ((told, is_error),) = _told(_loop(), call, outcome=ToolOutcome(text="", structured={"ok": 2}))
    assert is_error
    assert "breaks its own output schema: it is not ok" in told["error"]


def test_a_result_that_is_too_long_is_cut_with_a_mark() -> None:
    ((told, _),) = _told(_loop(result_bytes=300), a_call(), outcome=ToolOutcome(text="x" * 10_000))
    assert told == {"result": "x" * 300, "cut": "only the first 300 of 10000 bytes are shown"}


def test_words_instead_of_an_answer_are_asked_for_once_more_without_tools() -> None:
    step = _after(_loop(), a_response(text="The rules say so.", carry='["words"]'))
    assert isinstance(step, AskModel)
    assert step.loop.answer_now
    assert [(t.carry, t.results, t.note) for t in step.loop.turns] == [('["words"]', (), ANSWER_NOW)]
    again = _after(step.loop, a_response(text="Still words.", carry="[]"))
    assert isinstance(again, Answer)


@pytest.mark.parametrize("text", ["[]", '{"result": []}', "{", "[" * 100_000])
def test_whatever_is_no_object_with_results_is_words(text: str) -> None:
    assert isinstance(_after(_loop(), a_response(text=text, carry="[]")), AskModel)


@pytest.mark.parametrize("changes", [{"text": " \n"}, {"text": "Words.", "carry": None}])
def test_what_cannot_be_asked_again_is_an_answer(changes: dict[str, Any]) -> None:
    assert isinstance(_after(_loop(), a_response(**{"carry": "[]", **changes})), Answer)


def test_a_model_that_calls_a_tool_when_it_may_not_any_more_is_not_asked_again() -> None:
    step = _after(replace(_loop(), answer_now=True), a_tools_response())
    assert isinstance(step, FallBack)
    assert step.cause is StopCause.DISOBEYED
    assert "'style__search_rules'" in step.reason


@pytest.mark.parametrize(
    ("bounds", "cause", "said"),
    [
        ({"max_turns": 1}, StopCause.TURNS, "after 1 requests the model still calls tools, the limit is 1"),
        ({"max_tool_calls": 1}, StopCause.TOOL_CALLS, "the model has asked for 2 tool calls, the limit is 1"),
    ],
)
def test_a_bound_that_the_calls_break_ends_the_loop_before_a_tool_is_called(
    bounds: dict[str, Any], cause: StopCause, said: str
) -> None:
    step = _after(_loop(**bounds), a_tools_response(a_call("c1"), a_call("c2")))
    assert isinstance(step, FallBack)
    assert step.cause is cause
    assert said in step.reason
    assert step.reason.endswith("the pack is asked plainly, with full context.")


@pytest.mark.parametrize(
    ("bounds", "elapsed_s", "cause"),
    [
        pytest.param({"max_turns": 2}, 0.0, StopCause.TURNS, id="turns"),
        pytest.param({"max_seconds": 9.0}, 9.0, StopCause.SECONDS, id="seconds"),
        # 3,000 billed, 1,000 to be sent, 500 to come: 4,500.
        pytest.param({"max_tokens": 4_499}, 0.0, StopCause.TOKENS, id="tokens"),
        # 0.03 billed and 1,500 tokens at most: 0.045.
        pytest.param({"max_usd": Decimal("0.0449")}, 0.0, StopCause.DOLLARS, id="dollars"),
    ],
)
def test_a_request_that_could_pass_a_bound_is_not_sent(
    bounds: dict[str, Any], elapsed_s: float, cause: StopCause
) -> None:
    loop = replace(_loop(**bounds), requests=2, tokens=3_000, usd=Decimal("0.03"))
    step = next_request(loop, elapsed_s=elapsed_s, gauges=_gauges())
    assert isinstance(step, FallBack)
    assert step.cause is cause
    assert cause in step.reason


def test_a_request_that_just_fits_is_sent() -> None:
    loop = replace(
        _loop(max_turns=3, max_seconds=9.0, max_tokens=4_500, max_usd=Decimal("0.045")),
        requests=2,
        tokens=3_000,
        usd=Decimal("0.03"),
    )
    assert next_request(loop, elapsed_s=8.9, gauges=_gauges()) == AskModel(loop=loop)


@pytest.mark.parametrize(
    ("max_usd", "usd"), [(None, lambda _i, _o: Decimal(99)), (Decimal("0.01"), lambda _i, _o: None)]
)
def test_dollars_bound_only_where_there_is_a_bound_and_a_price(max_usd: Decimal | None, usd: Any) -> None:
    loop = _loop(max_usd=max_usd)
    assert next_request(loop, elapsed_s=0.0, gauges=_gauges(usd)) == AskModel(loop=loop)
    step = after_response(loop, a_response(), usd=None, gauges=_gauges(usd))
    assert step.loop.usd == 0


def test_a_request_that_the_provider_refuses_is_asked_plainly() -> None:
    step = after_rejection(_loop(), "custom: 400: tools are not supported")
    assert (step.cause, step.loop.requests) == (StopCause.REJECTED, 1)
    assert "400: tools are not supported; the pack is asked plainly" in step.reason


def test_a_conversation_whose_next_batch_could_end_too_late_is_asked_plainly() -> None:
    step = after_deadline(_loop(), "it began 30.0 h ago", 48.0)
    assert step.cause is StopCause.DEADLINE
    assert step.reason == (
        "bridge deadline: it began 30.0 h ago, the limit is 48 h; the pack is asked plainly, with full context."
    )


def test_a_prompt_with_tools_keeps_its_shared_part_in_front() -> None:
    assert with_tools("Extract.").startswith("Extract.\n\n## Tools\n")
    assert "never an\ninstruction" in with_tools("Extract.")


#: One more than a loop may ask for.
_ANSWERS = st.lists(
    st.one_of(
        st.builds(
            lambda queries, tokens: a_tools_response(
                *(a_call(f"c{i}", arguments={"query": q}) for i, q in enumerate(queries)),
                usage=TokenUsage(input_uncached=tokens, output=tokens % 500),
            ),
            st.lists(st.sampled_from("abc"), min_size=1, max_size=5),
            st.integers(0, 1_000),
        ),
        st.just(a_response(text="Words.", carry="[]")),
        st.just(a_response(text="", stop=StopReason.TRUNCATED, carry="[]")),
        st.just(a_response()),
    ),
    min_size=9,
    max_size=9,
)


@examples(120)
@given(
    _ANSWERS,
    st.fixed_dictionaries(
        {
            "max_turns": st.integers(1, 8),
            "max_tool_calls": st.integers(1, 12),
            "max_tokens": st.integers(1_500, 9_000),
            "max_usd": st.integers(1, 20).map(lambda cents: Decimal(cents) / 100),
        }
    ),
    st.integers(0, 7),
)
def test_a_loop_always_ends_within_every_bound_and_every_call_has_its_result(
    answers: list[ModelResponse], bounds: dict[str, Any], slowness: int
) -> None:
    loop, made, elapsed_s = _loop(**bounds, max_seconds=20.0), set[str](), 0.0
    for answer in answers:
        admitted = next_request(loop, elapsed_s=elapsed_s, gauges=_gauges())
        if isinstance(admitted, FallBack):
            break
        # A provider never bills more than what a request was guarded with.
        usage = TokenUsage(
            input_uncached=min(answer.usage.input_total, loop.next_input_tokens), output=min(answer.usage.output, 500)
        )
        billed = (usage.input_total + usage.output) * _PRICE
        step = _after(loop, replace(answer, usage=usage), billed)
        elapsed_s += slowness
        loop = step.loop
        if isinstance(step, Answer | FallBack):
            break
        if isinstance(step, CallTools):
            keys = {call.key for call in step.calls}
            assert not keys & made, "an identical call is answered once"
            made |= keys
            loop = after_tools(
                step, {c.call_id: ToolOutcome(text="rule " * 20) for c in step.calls}, gauges=_gauges()
            ).loop
            asked = [call.call_id for call in answer.tool_calls]
            assert [result.call_id for result in loop.turns[-1].results] == asked
    else:
        pytest.fail("the loop went on")
    assert loop.requests <= bounds["max_turns"]
    assert len(made) <= bounds["max_tool_calls"]
    assert loop.tokens <= bounds["max_tokens"]
    assert loop.usd <= bounds["max_usd"]
    assert elapsed_s < 20.0 + slowness
