"""Function calling on generateContent, through the real SDK and past its types: calls, responses, signatures, refusals."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from tokenopt_pipeline.sandbox.in_process import Sandbox

from .asking import TEXTS, pack_schema, pack_text
from .asking_google import EARLIER_MODEL, MODEL, ask, client_of, results
from .asking_openai import ENTRY

Members = dict[str, Any]
SEARCH: Members = {
    "name": "search",
    "description": "Finds rules.",
    "parameters_json_schema": {
        "type": "object",
        "properties": {"query_text": {"type": "string"}},
        "required": ["query_text"],
    },
}
COUNT: Members = {
    "name": "count",
    "parameters": {"type": "OBJECT", "properties": {"how_many": {"type": "INTEGER"}}, "required": ["how_many"]},
}
TOOLS: list[Members] = [{"functionDeclarations": [SEARCH, COUNT]}]
ASKED: Members = {"role": "user", "parts": [{"text": pack_text(*TEXTS)}]}


@pytest.fixture
def client(sandbox: Sandbox) -> genai.Client:
    return client_of(sandbox)


def post(
    sandbox: Sandbox, contents: list[Members], *, model: str = MODEL, key: str = "sandbox", **more: Any
) -> Members:
    """The whole response to a request that the SDK's types have not touched."""
    body = {"contents": contents, "tools": TOOLS, **more}
    url = f"{sandbox.google_url}/v1beta/models/{model}:generateContent"
    answer: Members = httpx2.post(url, headers={"x-goog-api-key": key}, json=body, timeout=20).json()
    return answer


def content(answer: Members) -> Members:
    """The answer as it is passed back."""
    found: Members = answer["candidates"][0]["content"]
    return found


def told(answer: Members) -> Members:
    """A response for every call."""
    called = [part["functionCall"] for part in content(answer)["parts"] if "functionCall" in part]
    return {
        "role": "user",
        "parts": [
            {"functionResponse": {**{key: call[key] for key in ("id", "name") if key in call}, "response": {"x": 1}}}
            for call in called
        ],
    }


def test_functions_are_called_side_by_side_over_rounds_and_then_the_answer_is_the_one_without(
    sandbox: Sandbox, client: genai.Client
) -> None:
    sandbox.control.set_tools({"rounds": 2, "parallel": 2})
    plain = ask(client)
    tools = [types.Tool(function_declarations=[types.FunctionDeclaration(**each) for each in (SEARCH, COUNT)])]
    contents: list[Any] = [types.Content(role="user", parts=[types.Part(text=pack_text(*TEXTS))])]
    config: Members = {
        "response_mime_type": "application/json",
        "response_json_schema": pack_schema(ENTRY),
        "automatic_function_calling": types.AutomaticFunctionCallingConfig(disable=True),
        "tools": tools,
    }
    for _ in range(2):
        response = client.models.generate_content(
            model=MODEL, contents=contents, config=types.GenerateContentConfig(**config)
        )
        assert response.candidates is not None
        assert response.candidates[0].finish_reason == types.FinishReason.STOP
        called = response.function_calls
        assert called is not None
        assert [call.name for call in called] == ["search", "count"]
        assert isinstance((called[1].args or {})["how_many"], int)
        # The SDK writes signatures in the other alphabet of base64.
        contents.append(response.candidates[0].content)
        contents.append(
            types.Content(
                role="user",
                parts=[
                    types.Part(
                        function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "3"})
                    )
                    for call in called
                ],
            )
        )
    answer = client.models.generate_content(
        model=MODEL, contents=contents, config=types.GenerateContentConfig(**config)
    )
    assert not answer.function_calls
    assert results(answer) == results(plain)
    assert sandbox.control.stats()["tool_calls"] == 4


def test_the_first_call_of_a_step_is_signed_and_the_others_are_not(sandbox: Sandbox) -> None:
    sandbox.control.set_tools({"parallel": 2})
    first, second = content(post(sandbox, [ASKED]))["parts"]
    assert set(first) == {"functionCall", "thoughtSignature"}
    assert set(second) == {"functionCall"}
    assert first["functionCall"]["id"] != second["functionCall"]["id"]


def test_turns_cost_what_they_say(sandbox: Sandbox) -> None:
    answer = post(sandbox, [ASKED])
    contents = [ASKED, content(answer), told(answer)]
    counts = [post(sandbox, contents[:end])["usageMetadata"]["promptTokenCount"] for end in (1, 3)]
    called, response = (parts["parts"][0] for parts in contents[1:])
    said = [*called["functionCall"]["args"].values(), *response["functionResponse"]["response"].values()]
    assert counts[1] - counts[0] >= len("".join(map(str, said))) // 4
    assert answer["usageMetadata"]["candidatesTokenCount"] > 0


def refusal(sandbox: Sandbox, contents: list[Members], **more: Any) -> str:
    error = post(sandbox, contents, **more)["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    return str(error["message"])


def test_signatures_come_back_as_they_were(sandbox: Sandbox) -> None:
    answer = post(sandbox, [ASKED])
    (part,), responses = content(answer)["parts"], told(answer)

    def turns(**changed: Any) -> list[Members]:
        return [ASKED, {"role": "model", "parts": [{**part, **changed}]}, responses]

    unsigned = {"role": "model", "parts": [{"functionCall": part["functionCall"]}]}
    missing = refusal(sandbox, [ASKED, unsigned, responses])
    assert missing.startswith("Function call is missing a thought_signature in functionCall parts.")
    assert "`default_api:search` , position 2." in missing
    assert refusal(sandbox, turns(thoughtSignature="AAAA")) == "Corrupted thought signature."
    other = {**part["functionCall"], "args": {"query_text": "another"}}
    assert refusal(sandbox, turns(functionCall=other)) == "Corrupted thought signature."
    assert refusal(sandbox, turns(), key="another") == "Corrupted thought signature."
    for fine in (turns(), turns(thoughtSignature="skip_thought_signature_validator")):
        assert content(post(sandbox, fine))["parts"][0]["text"]


def test_only_the_current_turn_has_to_be_signed(sandbox: Sandbox) -> None:
    answer = post(sandbox, [ASKED])
    unsigned = {"role": "model", "parts": [{"functionCall": content(answer)["parts"][0]["functionCall"]}]}
    earlier = [ASKED, unsigned, told(answer), {"role": "model", "parts": [{"text": "Done."}]}, ASKED]
    assert "candidates" in post(sandbox, earlier)


def test_an_earlier_model_gives_no_ids_and_asks_for_no_signature(sandbox: Sandbox) -> None:
    answer = post(sandbox, [ASKED], model=EARLIER_MODEL)
    call = content(answer)["parts"][0]["functionCall"]
    assert set(call) == {"name", "args"}
    unsigned = {"role": "model", "parts": [{"functionCall": call}]}
    assert "candidates" in post(sandbox, [ASKED, unsigned, told(answer)], model=EARLIER_MODEL)
    json_mode = {"generationConfig": {"responseMimeType": "application/json"}}
    assert "response mime type: 'application/json' is unsupported" in refusal(
        sandbox, [ASKED], model=EARLIER_MODEL, **json_mode
    )


def test_every_call_wants_its_response_right_after_it(sandbox: Sandbox) -> None:
    sandbox.control.set_tools({"parallel": 2})
    answer = post(sandbox, [ASKED])
    called, responses = content(answer), told(answer)
    first, second = responses["parts"]
    counts = "Please ensure that the number of function response parts is equal to the number of function call parts"
    for contents in (
        [ASKED, called, {"role": "user", "parts": [first]}],
        [ASKED, called, {"role": "user", "parts": [{"text": "?"}]}],
        [ASKED, called],
    ):
        assert refusal(sandbox, contents).startswith(counts)
    assert "immediately after a function call turn" in refusal(sandbox, [responses])
    assert "immediately after a user turn" in refusal(
        sandbox, [ASKED, {"role": "model", "parts": [{"text": "Hm"}]}, called, responses]
    )
    response = second["functionResponse"]

    def changed(**members: Any) -> list[Members]:
        return [ASKED, called, {"role": "user", "parts": [first, {"functionResponse": {**response, **members}}]}]

    assert "Name cannot be empty" in refusal(sandbox, changed(name=""))
    assert "no function call of the turn before is called nobody" in refusal(sandbox, changed(name="nobody"))
    assert "with this id" in refusal(sandbox, changed(id="foreign"))
    assert "response is not specified" in refusal(sandbox, changed(response="3"))


def test_a_mode_binds_the_model(sandbox: Sandbox) -> None:
    def called(**config: Any) -> list[str]:
        answer = post(sandbox, [ASKED], toolConfig={"functionCallingConfig": config})
        return [part["functionCall"]["name"] for part in content(answer)["parts"] if "functionCall" in part]

    assert called(mode="NONE") == []
    assert called(mode="ANY", allowedFunctionNames=["count"]) == ["count"]
    sandbox.control.set_tools({"rounds": 0})
    assert called(mode="AUTO") == []
    assert called(mode="ANY") == ["search"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        pytest.param(
            {"tools": [{"functionDeclarations": [{"name": "1st"}]}]},
            "tools[0].function_declarations[0].name: [FIELD_INVALID] Invalid function name.",
            id="name",
        ),
        pytest.param(
            {"tools": [{"functionDeclarations": [SEARCH, SEARCH]}]}, "Duplicate function declaration", id="twice"
        ),
        pytest.param(
            {"tools": [{"functionDeclarations": [{**SEARCH, "parameters": {"type": "OBJECT"}}]}]},
            "only one of parameters",
            id="both dialects",
        ),
        pytest.param(
            {"tools": [{"functionDeclarations": [{"name": "a", "parametersJsonSchema": {"type": "strin"}}]}]},
            "not a valid JSON Schema",
            id="schema",
        ),
        pytest.param(
            {"toolConfig": {"functionCallingConfig": {"mode": "MAYBE"}}}, "function_calling_config.mode", id="mode"
        ),
        pytest.param(
            {"toolConfig": {"functionCallingConfig": {"allowedFunctionNames": ["search"]}}},
            "only when function calling mode is ANY",
            id="allowed without ANY",
        ),
        pytest.param(
            {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["nobody"]}}},
            "not among function_declarations",
            id="absent",
        ),
        pytest.param(
            {"tools": [], "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}},
            "set without function_declarations",
            id="no tools",
        ),
    ],
)
def test_declarations_and_modes_are_checked(sandbox: Sandbox, more: Members, words: str) -> None:
    assert words in refusal(sandbox, [ASKED], **more)


def test_the_sdk_raises_what_is_refused(sandbox: Sandbox, client: genai.Client) -> None:
    declared = [types.Tool(function_declarations=[types.FunctionDeclaration(name="1st")])]
    with pytest.raises(errors.ClientError, match="Invalid function name"):
        ask(client, tools=declared)


def test_a_call_nobody_can_make_and_arguments_nobody_takes_are_sent_all_the_same(sandbox: Sandbox) -> None:
    sandbox.control.set_tools({"parallel": 2, "tools": ["nobody", "count"], "arguments": {"count": "{oops"}})
    unknown, broken = (part["functionCall"] for part in content(post(sandbox, [ASKED]))["parts"])
    assert (unknown["name"], unknown["args"]) == ("nobody", {})
    assert broken["args"] == {"INVALID_JSON": "{oops"}
