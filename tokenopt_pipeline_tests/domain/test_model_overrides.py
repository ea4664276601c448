"""What a policy says of models goes before what the tables say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.model_overrides import ModelOverride, parse_models
from tokenopt_pipeline.domain.places import Places
from tokenopt_pipeline_tests.factories import a_model


def parsed(name: str = "local/llama", /, **members: Any) -> ModelOverride:
    return parse_models({name: members}, Places(), servers=("local",))[name]


def test_what_is_not_said_stays_as_the_table_has_it() -> None:
    changed = parsed(context_tokens=32_768, max_output_tokens=4_096).applied_to(a_model())
    assert changed == a_model(context_tokens=32_768, max_output_tokens=4_096)


def test_thinking_is_written_as_a_mapping_and_sent_as_canonical_json() -> None:
    override = parsed(thinking={"b": 1, "a": [True]}, output_method="tool", token_ratio=1, token_ratio_guard=2)
    changed = override.applied_to(a_model())
    assert (changed.thinking, changed.output_method) == ('{"a":[true],"b":1}', "tool")
    assert (changed.token_ratio, changed.token_ratio_guard) == (1.0, 2.0)
    assert parsed(thinking=None).applied_to(a_model(thinking="{}")).thinking is None


@pytest.mark.parametrize(
    "members",
    [
        {"context_tokens": 4_096, "thinking": {"effort": "none"}},
        {"price": {"input": 1, "output": 2}},
        {"thinking": None, "price": {"input": "0.1", "output": 0}},
    ],
)
def test_an_override_is_read_back_from_its_document(members: dict[str, Any]) -> None:
    override = parsed(**members)
    document = json.loads(json.dumps(override.document()))
    assert parsed(**document) == override


def test_values_that_do_not_go_together_are_refused_with_both() -> None:
    with pytest.raises(PolicyInvalid, match=r"max_output_tokens = 9000, allowed up to context_tokens = 8000"):
        parsed(context_tokens=8_000, max_output_tokens=9_000).applied_to(a_model())
    with pytest.raises(PolicyInvalid, match=r"token_ratio = 1.5, allowed up to token_ratio_guard = 1.0"):
        parsed(token_ratio=1.5).applied_to(a_model())


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("llama", {"context_tokens": 4_096}, "write provider/model"),
        (
            "nobody/llama",
            {"context_tokens": 4_096},
            "provider 'nobody' is unknown; known: anthropic, openai, google, local",
        ),
        ("local/llama", {}, "must be a mapping with some of context_tokens"),
        ("local/llama", 7, "must be a mapping with some of context_tokens"),
        ("local/llama", {"window": 1}, "unknown key 'window'"),
        ("local/llama", {"context_tokens": 1}, "context_tokens = 1, allowed a whole number from 1024 to 10000000"),
        ("local/llama", {"context_tokens": 4096.5}, "context_tokens = 4096.5, allowed a whole number"),
        ("local/llama", {"context_tokens": True}, "context_tokens = True"),
        ("local/llama", {"token_ratio": "1"}, "token_ratio = '1', allowed a number from 0.1 to 10.0"),
        ("local/llama", {"output_method": "grammar"}, "output_method = 'grammar', allowed json_schema or tool"),
        ("local/llama", {"thinking": "low"}, "thinking = 'low', allowed null or the members"),
        ("local/llama", {"thinking": {"a": float("nan")}}, "thinking cannot be said in JSON"),
        ("local/llama", {"price": 1}, "price = 1, allowed a mapping"),
    ],
)
def test_what_is_no_override_is_refused_in_one_line(name: str, value: Any, told: str) -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        parse_models({name: value}, Places(sources={f"models.{name}": "file"}), servers=("local",))
    assert str(refusal.value).startswith("file: ")
    assert told in str(refusal.value)
