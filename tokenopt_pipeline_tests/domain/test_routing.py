"""Routes follow from declared rules over declared facts, with a reason a person can check."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.languages import LANGUAGES
from tokenopt_pipeline.domain.places import Places
from tokenopt_pipeline.domain.routing import (
    ModelRef,
    RouteFacts,
    RouteTable,
    RoutingPolicy,
    RoutingRule,
    SchemaFacts,
    choose_route,
    default_model,
    matching_rule,
    models_in_use,
    models_reachable,
    parse_model_ref,
    schema_facts,
    token_steps,
)
from tokenopt_pipeline.domain.routing_section import parse_routing
from tokenopt_pipeline.domain.tiers import TIERS
from tokenopt_pipeline_tests.domain.generated import examples
from tokenopt_pipeline_tests.factories import a_schema

_SHORT_CAPTIONS = {"id": "short", "tier": "small", "block_types": ["caption", "heading"], "max_block_tokens": 60}
_TABLES = {"id": "tables", "tier": "large", "block_types": ["table"]}
_LEGAL = {"default_tier": "mid", "rules": [_SHORT_CAPTIONS, _TABLES]}


def _routing(**members: Any) -> RoutingPolicy:
    return parse_routing(members, Places())


def _facts(block_type: BlockType = BlockType.PARAGRAPH, n_tokens: int = 5, **schema: Any) -> RouteFacts:
    language = schema.pop("language", "en")
    return RouteFacts(block_type=block_type, n_tokens=n_tokens, language=language, schema=SchemaFacts(**schema))


@pytest.mark.parametrize(
    ("block_type", "n_tokens", "rule_id", "tier"),
    [
        pytest.param(BlockType.CAPTION, 60, "short", "small", id="both conditions, inclusive"),
        pytest.param(BlockType.CAPTION, 61, "default", "mid", id="one token too long"),
        pytest.param(BlockType.PARAGRAPH, 1, "default", "mid", id="another type"),
        pytest.param(BlockType.TABLE, 10**6, "tables", "large", id="any length"),
    ],
)
def test_a_rule_takes_the_blocks_that_meet_all_its_conditions(
    block_type: BlockType, n_tokens: int, rule_id: str, tier: str
) -> None:
    route = choose_route(_routing(**_LEGAL), _facts(block_type, n_tokens), mode="sync")
    assert (route.rule_id, route.tier, route.mode) == (rule_id, tier, "sync")
    assert str(route.model) == RoutingPolicy().models[tier][0]


@pytest.mark.parametrize(
    ("condition", "met", "unmet"),
    [
        ({"tasks": ["invoices"]}, _facts(task="invoices"), _facts(task="contracts")),
        ({"languages": ["de", "fr"]}, _facts(language="fr"), _facts(language="en")),
        ({"field_kinds": ["date", "array"]}, _facts(field_kinds=frozenset({"array", "enum"})), _facts()),
        ({"retrieval": ["critical"]}, _facts(retrieval="critical"), _facts(retrieval="eligible")),
        ({"min_block_tokens": 9}, _facts(n_tokens=9), _facts(n_tokens=8)),
        ({"min_complexity": 12}, _facts(complexity=12), _facts(complexity=11)),
        ({"max_complexity": 12}, _facts(complexity=12), _facts(complexity=13)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_every_declared_input_can_be_a_condition(condition: dict[str, Any], met: RouteFacts, unmet: RouteFacts) -> None:
    policy = _routing(rules=[{"id": "r", "tier": "large", **condition}])
    rule = matching_rule(policy, met)
    assert rule is not None
    assert matching_rule(policy, unmet) is None
    assert str(next(iter(condition.values()))).strip("[]'").split("'")[0] in rule.why


def test_the_first_rule_that_matches_wins() -> None:
    policy = _routing(rules=[{"id": "all", "tier": "small"}, _TABLES])
    assert choose_route(policy, _facts(BlockType.TABLE), mode="sync").rule_id == "all"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (_SHORT_CAPTIONS, ["Rule short", "tier small", "caption, heading", "at most 60 tokens"]),
        ({"id": "any", "tier": "large"}, ["Rule any", "tier large", "no condition"]),
        ({"id": "brief", "tier": "small", "max_block_tokens": 9}, ["Rule brief", "at most 9 tokens"]),
        ({"id": "two", "two_pass": {}}, ["Rule two", "tier small say", "simple (tier small)", "complex (tier mid)"]),
        (_TABLES, ["No rule matches", "default tier mid"]),
    ],
)
def test_the_reason_is_one_sentence_with_rule_conditions_and_model(rule: dict[str, Any], words: list[str]) -> None:
    route = choose_route(_routing(rules=[rule]), _facts(BlockType.CAPTION), mode="async")
    assert all(word in route.reason for word in [*words, str(route.model)])
    assert route.reason.endswith(".")
    assert route.mode == "async"


def test_a_rule_without_conditions_matches_everything() -> None:
    rule = RoutingRule(id="any", tier="mid")
    assert all(rule.matches(_facts(t, n)) for t in BlockType for n in (0, 10**9))


def test_facts_of_a_schema_are_its_task_shape_and_need_of_retrieval() -> None:
    schema = a_schema(task="clauses", retrieval="critical")
    assert schema_facts(schema) == SchemaFacts(
        task="clauses", complexity=2, field_kinds=frozenset({"free_text", "enum"}), retrieval="critical"
    )
    assert schema_facts(a_schema()).task == "obligations"


_RULES = st.lists(
    st.fixed_dictionaries(
        {"tier": st.sampled_from(TIERS)},
        optional={
            "min_block_tokens": st.integers(1, 20),
            "block_types": st.lists(st.sampled_from(list(BlockType)), min_size=1, max_size=3),
            "languages": st.lists(st.sampled_from(LANGUAGES), min_size=1, max_size=3),
            "max_complexity": st.integers(1, 4),
        },
    ),
    max_size=4,
)


@examples(60)
@given(_RULES, st.lists(st.tuples(st.sampled_from(list(BlockType)), st.integers(0, 25), st.sampled_from(LANGUAGES))))
def test_a_table_of_routes_says_of_every_block_what_the_rules_say(
    rules: list[dict[str, Any]], blocks: list[tuple[BlockType, int, str]]
) -> None:
    policy = _routing(rules=[{"id": f"r{i}", **rule} for i, rule in enumerate(rules)])
    schema = a_schema()
    table = RouteTable(policy, schema, mode="sync")
    for block_type, n_tokens, language in blocks:
        facts = RouteFacts(block_type=block_type, n_tokens=n_tokens, language=language, schema=schema_facts(schema))
        assert table.route(block_type=block_type, n_tokens=n_tokens, language=language) == choose_route(
            policy, facts, mode="sync"
        )


def test_a_million_blocks_cost_seconds() -> None:
    rules = [{"id": f"r{i}", "tier": "small", "max_block_tokens": i + 1, "tasks": ["none"]} for i in range(30)]
    table = RouteTable(_routing(rules=rules), a_schema(), mode="sync")
    started = time.process_time()
    for i in range(100_000):
        table.route(block_type=BlockType.PARAGRAPH, n_tokens=i % 400, language="en")
    assert time.process_time() - started < 1.5


def test_lengths_are_told_apart_where_some_rule_does() -> None:
    rules = [{"id": "a", "tier": "mid", "min_block_tokens": 9}, {"id": "b", "tier": "mid", "max_block_tokens": 60}]
    assert token_steps(_routing(rules=rules)) == [9, 61]


def test_the_models_in_use_are_those_the_rules_can_reach_each_once_in_a_stable_order() -> None:
    models = {"small": "a/s", "mid": ["a/m", "a/unused"], "large": "a/l"}
    policy = _routing(models=models, rules=[_TABLES, {**_TABLES, "id": "more"}])
    assert [str(ref) for ref in models_in_use(policy)] == ["a/l", "a/m"]
    assert [str(ref) for ref in models_in_use(_routing(model="a/b"))] == ["a/b"]


@pytest.mark.parametrize(
    ("members", "reachable"),
    [
        pytest.param({}, ["a/m", "b/m"], id="the default tier and its fallback"),
        pytest.param({"fallback": {"max_hops": 0}}, ["a/m"], id="no fallback"),
        pytest.param({"rules": [{"id": "t", "two_pass": {}}]}, ["a/m", "b/m", "a/s"], id="two passes"),
        pytest.param(
            {"default_tier": "small", "escalation": {"enabled": True, "second_opinion": "c/s"}},
            ["a/s", "a/m", "b/m", "c/s"],
            id="escalation",
        ),
        pytest.param({"escalation": {"enabled": False, "second_opinion": "c/s"}}, ["a/m", "b/m"], id="escalation off"),
    ],
)
def test_the_models_reachable_include_fallbacks_escalation_and_first_passes(
    members: dict[str, Any], reachable: list[str]
) -> None:
    policy = _routing(models={"small": "a/s", "mid": ["a/m", "b/m"], "large": "a/l"}, **members)
    assert [str(ref) for ref in models_reachable(policy)] == reachable


def test_the_default_model_is_the_preferred_one_of_the_default_tier() -> None:
    assert str(default_model(_routing(default_tier="large", models={"large": ["a/l", "a/x"]}))) == "a/l"


@pytest.mark.parametrize("text", ["a/b", "a/b/c", "custom/models/x:1"])
def test_a_model_is_written_provider_slash_model(text: str) -> None:
    assert str(parse_model_ref(text)) == text
    assert parse_model_ref("a/b/c") == ModelRef(provider="a", model="b/c")


@pytest.mark.parametrize("text", ["", "sonnet", "/sonnet", "anthropic/"])
def test_half_a_model_name_is_refused_by_name(text: str) -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        parse_model_ref(text)
    assert repr(text) in str(refusal.value)
    assert "provider/model" in str(refusal.value)
