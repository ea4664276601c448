"""Calls as providers send them: arguments are an object or the model is told why not; ids tell calls apart."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.adapters.tool_reading import carried, carried_back, distinct, tool_call
from tokenopt_pipeline_tests.domain.generated import JSON_VALUES, PLAIN_TEXT, examples
from tokenopt_pipeline_tests.factories import a_call


@examples(40)
@given(st.dictionaries(PLAIN_TEXT, JSON_VALUES, max_size=4))
def test_an_object_and_its_text_give_the_same_arguments(arguments: dict[str, object]) -> None:
    assert tool_call("c1", "t", arguments).arguments == arguments
    assert tool_call("c1", "t", json.dumps(arguments)).arguments == arguments


@pytest.mark.parametrize("nothing", [None, "", "  \n", "{}", {}])
def test_nothing_is_no_argument(nothing: object) -> None:
    assert tool_call("c1", "t", nothing).arguments == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("[1]", "it is list, not an object"),
        ('"text"', "it is str, not an object"),
        ("null", "it is NoneType, not an object"),
        ([1], "it is list, not an object"),
        (7, "it is int, not an object"),
        ('{"a": 1', "Expecting"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": 1, "a": 2}', "a member stands twice"),
        ("[" * 100_000, "recursion"),
        ({"a": float("inf")}, "Out of range"),
        ({"a": "\ud800"}, "surrogates not allowed"),
    ],
)
def test_what_is_no_object_is_said_to_the_model_and_is_no_error_of_the_call(arguments: object, said: str) -> None:
    call = tool_call("c1", "t", arguments)
    assert call.arguments is None
    assert said in call.problem


@pytest.mark.parametrize(("call_id", "name"), [(None, "t"), ("", "t"), (7, "t"), ("c1", None), ("c1", "")])
def test_a_call_that_nobody_could_answer_is_no_answer(call_id: object, name: object) -> None:
    with pytest.raises(ValueError, match="without an id or a name"):
        tool_call(call_id, name, {})


def test_two_calls_under_one_id_are_no_answer() -> None:
    assert distinct([a_call("c1"), a_call("c2")]) == (a_call("c1"), a_call("c2"))
    with pytest.raises(ValueError, match="two tools under one id"):
        distinct([a_call("c1"), a_call("c1", arguments={})])


@examples(40)
@given(JSON_VALUES)
def test_an_answer_is_passed_back_as_it_came(value: object) -> None:
    assert carried_back(carried(value)) == value


@pytest.mark.parametrize("value", [float("nan"), "\udfff"])
def test_what_no_request_can_say_is_no_answer(value: object) -> None:
    with pytest.raises(ValueError):
        carried([value])
