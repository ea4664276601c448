"""Routes follow from declared rules, with a reason a person can check."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.routing import (
    TIERS,
    ModelRef,
    RoutingPolicy,
    RoutingRule,
    choose_route,
    default_model,
    models_in_use,
    parse_model_ref,
    parse_routing,
)

_SHORT_CAPTIONS = {"id": "short", "tier": "small", "block_types": ["caption", "heading"], "max_block_tokens": 60}
_TABLES = {"id": "tables", "tier": "large", "block_types": ["table"]}
_LEGAL = {"default_tier": "mid", "rules": [_SHORT_CAPTIONS, _TABLES]}


def _routing(**members: Any) -> RoutingPolicy:
    return parse_routing(members, {f"routing.{key}": "file" for key in members})


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
    route = choose_route(_routing(**_LEGAL), block_type=block_type, n_tokens=n_tokens, mode="sync")
    assert (route.rule_id, route.tier, route.mode) == (rule_id, tier, "sync")
    assert str(route.model) == RoutingPolicy().models[tier][0]


def test_the_first_rule_that_matches_wins() -> None:
    policy = _routing(rules=[{"id": "all", "tier": "small"}, _TABLES])
    assert choose_route(policy, block_type=BlockType.TABLE, n_tokens=1, mode="sync").rule_id == "all"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (_SHORT_CAPTIONS, ["Rule short", "tier small", "caption, heading", "at most 60 tokens"]),
        ({"id": "any", "tier": "large"}, ["Rule any", "tier large", "no condition"]),
        ({"id": "brief", "tier": "small", "max_block_tokens": 9}, ["Rule brief", "at most 9 tokens"]),
        (_TABLES, ["No rule matches", "default tier mid"]),
    ],
)
def test_the_reason_states_rule_conditions_and_model(rule: dict[str, Any], words: list[str]) -> None:
    route = choose_route(_routing(rules=[rule]), block_type=BlockType.CAPTION, n_tokens=5, mode="async")
    assert all(word in route.reason for word in [*words, str(route.model)])
    assert route.mode == "async"


def test_a_rule_without_conditions_matches_everything() -> None:
    assert all(RoutingRule(id="any", tier="mid").matches(t, n) for t in BlockType for n in (0, 10**9))


def test_the_models_in_use_are_those_the_rules_can_reach_each_once_in_a_stable_order() -> None:
    models = {"small": "a/s", "mid": ["a/m", "a/unused"], "large": "a/l"}
    policy = _routing(models=models, rules=[_TABLES, {**_TABLES, "id": "more"}])
    assert [str(ref) for ref in models_in_use(policy)] == ["a/l", "a/m"]
    assert [str(ref) for ref in models_in_use(_routing(model="a/b"))] == ["a/b"]


def test_the_default_model_is_the_preferred_one_of_the_default_tier() -> None:
    assert str(default_model(_routing(default_tier="large", models={"large": ["a/l", "a/x"]}))) == "a/l"


def test_one_model_stands_for_every_tier_without_rules() -> None:
    assert _routing(model="a/b") == RoutingPolicy(models=dict.fromkeys(TIERS, ("a/b",)))


def test_tiers_that_are_not_declared_keep_their_models() -> None:
    policy = _routing(models={"small": ["a/s", "b/s"]})
    assert policy.models == {**RoutingPolicy().models, "small": ("a/s", "b/s")}


def test_rules_are_kept_in_order_with_their_conditions() -> None:
    assert _routing(**_LEGAL).rules == (
        RoutingRule(id="short", tier="small", block_types=("caption", "heading"), max_block_tokens=60),
        RoutingRule(id="tables", tier="large", block_types=("table",)),
    )


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


@pytest.mark.parametrize(
    ("members", "words"),
    [
        pytest.param({"model": 5}, ["routing.model", "5"], id="a number for a model"),
        pytest.param({"model": "sonnet"}, ["routing.model", "'sonnet'"], id="half a model"),
        pytest.param({"model": "a/b", "rules": []}, ["routing.model", "routing.rules"], id="a model beside rules"),
        pytest.param({"models": ["a/b"]}, ["routing.models"], id="models in a list"),
        pytest.param({"models": {"huge": "a/b"}}, ["routing.models", "'huge'", "small, mid, large"], id="unknown tier"),
        pytest.param({"models": {"mid": []}}, ["routing.models.mid"], id="no models"),
        pytest.param({"models": {"mid": 5}}, ["routing.models.mid"], id="a number for models"),
        pytest.param({"models": {"mid": ["a/b", 5]}}, ["routing.models.mid"], id="a number among models"),
        pytest.param({"models": {"mid": "sonnet"}}, ["routing.models.mid", "'sonnet'"], id="half a model in a tier"),
        pytest.param({"default_tier": "huge"}, ["routing.default_tier", "'huge'"], id="unknown default"),
        pytest.param({"default_tier": ["mid"]}, ["routing.default_tier", "['mid']"], id="default in a list"),
        pytest.param({"rules": {}}, ["routing.rules"], id="rules in a mapping"),
        pytest.param({"rules": [_TABLES, 5]}, ["routing.rules[1]"], id="a number for a rule"),
        pytest.param({"rules": [{**_TABLES, "if": 1}]}, ["routing.rules[0]", "'if'", "tier"], id="unknown member"),
        pytest.param({"rules": [{"tier": "mid"}]}, ["routing.rules[0].id"], id="no id"),
        pytest.param({"rules": [{**_TABLES, "id": ""}]}, ["routing.rules[0].id"], id="an empty id"),
        pytest.param({"rules": [{**_TABLES, "id": "default"}]}, ["routing.rules[0].id"], id="the id of no rule"),
        pytest.param({"rules": [{**_TABLES, "tier": "huge"}]}, ["routing.rules[0].tier", "'huge'"], id="rule's tier"),
        pytest.param({"rules": [{**_TABLES, "block_types": "table"}]}, ["routing.rules[0].block_types"], id="no list"),
        pytest.param({"rules": [{**_TABLES, "block_types": ["poem"]}]}, ["block_types", "poem"], id="unknown type"),
        pytest.param({"rules": [{**_TABLES, "block_types": [["x"]]}]}, ["block_types", "['x']"], id="type in a list"),
        *[
            pytest.param(
                {"rules": [{**_TABLES, "max_block_tokens": value}]},
                ["routing.rules[0].max_block_tokens", repr(value)],
                id=f"limit {value!r}",
            )
            for value in (0, True, 1.5, "9")
        ],
        pytest.param({"rules": [_TABLES, _TABLES]}, ["routing.rules", "id"], id="two rules of one id"),
    ],
)
def test_a_routing_that_cannot_be_followed_is_refused_naming_layer_and_key(
    members: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        _routing(**members)
    assert str(refusal.value).startswith("file: ")
    assert all(word in str(refusal.value) for word in words)


def test_a_key_whose_layer_is_unknown_is_the_policy_s() -> None:
    with pytest.raises(PolicyInvalid, match=r"^policy: routing\.rules"):
        parse_routing({"rules": 5}, {})


def test_a_rule_for_no_block_type_at_all_is_refused() -> None:
    with pytest.raises(PolicyInvalid, match="non-empty"):
        parse_routing({"rules": [{"id": "r", "tier": "mid", "block_types": []}]}, {})
