"""The routing section is read key by key; whatever cannot be followed is refused with its place."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.escalation import EscalationPolicy
from tokenopt_pipeline.domain.fallbacks import FallbackPolicy
from tokenopt_pipeline.domain.places import Places
from tokenopt_pipeline.domain.routing import RoutingPolicy, RoutingRule, TwoPass
from tokenopt_pipeline.domain.routing_section import ROUTING_KEYS, parse_routing
from tokenopt_pipeline.domain.tiers import TIERS

_TABLES = {"id": "tables", "tier": "large", "block_types": ["table"]}


def _routing(**members: Any) -> RoutingPolicy:
    return parse_routing(members, Places(sources={f"routing.{key}": "file" for key in members}))


def test_nothing_said_gives_the_defaults() -> None:
    assert _routing() == RoutingPolicy()
    assert _routing(fallback=None, escalation=None, measured=None) == RoutingPolicy()


def test_one_model_stands_for_every_tier_without_rules() -> None:
    assert _routing(model="a/b") == RoutingPolicy(models=dict.fromkeys(TIERS, ("a/b",)))


def test_tiers_that_are_not_declared_keep_their_models() -> None:
    policy = _routing(models={"small": ["a/s", "b/s"]})
    assert policy.models == {**RoutingPolicy().models, "small": ("a/s", "b/s")}


def test_rules_are_kept_in_order_with_their_conditions() -> None:
    everything: dict[str, Any] = {
        "id": "all",
        "tier": "small",
        "tasks": ["t"],
        "block_types": ["caption"],
        "languages": ["de"],
        "field_kinds": ["enum"],
        "retrieval": ["none"],
        "min_block_tokens": 2,
        "max_block_tokens": 60,
        "min_complexity": 1,
        "max_complexity": 9,
        "escalate_on": ["schema", "check", "check:total"],
    }
    expected: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in everything.items()}
    assert _routing(rules=[everything, _TABLES]).rules == (
        RoutingRule(**expected),
        RoutingRule(id="tables", tier="large", block_types=("table",)),
    )


def test_an_empty_list_of_doubts_means_that_none_escalates() -> None:
    assert _routing(rules=[{**_TABLES, "escalate_on": []}]).rules[0].escalate_on == ()
    assert _routing(rules=[{**_TABLES, "escalate_on": None}]).rules[0].escalate_on is None


def test_a_two_pass_rule_s_tier_is_that_of_complex_blocks() -> None:
    (rule,) = _routing(rules=[{"id": "r", "two_pass": {"simple": "mid", "complex": "large"}}]).rules
    assert (rule.tier, rule.two_pass) == ("large", TwoPass(classifier="small", simple="mid", complex="large"))


def test_fallback_and_escalation_take_every_setting() -> None:
    policy = _routing(
        fallback={"max_hops": 1, "allowed_providers": ["anthropic"], "cross_provider": False},
        escalation={"enabled": True, "doubts": ["schema"], "max_steps": 2, "second_opinion": "google/gemini-4-flash"},
    )
    assert policy.fallback == FallbackPolicy(max_hops=1, allowed_providers=("anthropic",), cross_provider=False)
    assert policy.escalation == EscalationPolicy(
        enabled=True, doubts=("schema",), max_steps=2, second_opinion="google/gemini-4-flash"
    )
    assert _routing(escalation={"enabled": True}).escalation == EscalationPolicy(enabled=True)


def _rule(**changes: Any) -> dict[str, Any]:
    return {"rules": [{**_TABLES, **changes}]}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        pytest.param({"model": 5}, ["routing.model", "5"], id="a number for a model"),
        pytest.param({"model": "sonnet"}, ["routing.model", "'sonnet'"], id="half a model"),
        pytest.param({"model": "a/b", "rules": []}, ["routing.model", "routing.rules"], id="a model beside rules"),
        pytest.param({"models": ["a/b"]}, ["routing.models"], id="models in a list"),
        pytest.param({"models": {"huge": "a/b"}}, ["models.huge", "'huge'", "small, mid, large"], id="unknown tier"),
        pytest.param({"models": {"mid": []}}, ["routing.models.mid"], id="no models"),
        pytest.param({"models": {"mid": 5}}, ["routing.models.mid"], id="a number for models"),
        pytest.param({"models": {"mid": ["a/b", 5]}}, ["routing.models.mid"], id="a number among models"),
        pytest.param({"models": {"mid": "sonnet"}}, ["models.mid[0]", "'sonnet'"], id="half a model in a tier"),
        pytest.param({"models": {"mid": ["a/b", "a/b"]}}, ["models.mid", "twice"], id="a model twice"),
        pytest.param({"default_tier": "huge"}, ["routing.default_tier", "'huge'"], id="unknown default"),
        pytest.param({"default_tier": ["mid"]}, ["routing.default_tier", "['mid']"], id="default in a list"),
        pytest.param({"rules": {}}, ["routing.rules"], id="rules in a mapping"),
        pytest.param({"rules": [_TABLES, 5]}, ["routing.rules[1]"], id="a number for a rule"),
        pytest.param(_rule(**{"if": 1}), ["routing.rules[0].if", "'if'", "tier"], id="unknown member"),
        pytest.param({"rules": [{"tier": "mid"}]}, ["routing.rules[0].id"], id="no id"),
        pytest.param(_rule(id=""), ["routing.rules[0].id"], id="an empty id"),
        pytest.param(_rule(id="default"), ["routing.rules[0].id"], id="the id of no rule"),
        pytest.param(_rule(tier="huge"), ["routing.rules[0].tier", "'huge'"], id="rule's tier"),
        pytest.param({"rules": [{"id": "r"}]}, ["routing.rules[0].tier", "None"], id="no tier"),
        pytest.param(_rule(block_types="table"), ["routing.rules[0].block_types"], id="no list"),
        pytest.param(_rule(block_types=[]), ["block_types", "non-empty"], id="for no block type at all"),
        pytest.param(_rule(block_types=["poem"]), ["block_types", "poem", "paragraph"], id="unknown type"),
        pytest.param(_rule(block_types=[["x"]]), ["block_types", "['x']"], id="type in a list"),
        pytest.param(_rule(languages=["tlh"]), ["languages = 'tlh'", "en"], id="unknown language"),
        pytest.param(_rule(field_kinds=["blob"]), ["field_kinds = 'blob'", "free_text"], id="unknown kind"),
        pytest.param(_rule(retrieval=["much"]), ["retrieval = 'much'", "critical"], id="unknown retrieval"),
        pytest.param(_rule(tasks=[""]), ["tasks"], id="a task without a name"),
        *[
            pytest.param(_rule(max_block_tokens=value), ["max_block_tokens", repr(value)], id=f"limit {value!r}")
            for value in (0, True, 1.5, "9")
        ],
        pytest.param(_rule(min_block_tokens=9, max_block_tokens=8), ["min_block_tokens = 9", "= 8"], id="no length"),
        pytest.param(_rule(min_complexity=9, max_complexity=8), ["min_complexity = 9", "= 8"], id="no complexity"),
        pytest.param(_rule(escalate_on=["mood"]), ["escalate_on = 'mood'", "schema"], id="unknown doubt"),
        pytest.param(_rule(escalate_on="schema"), ["escalate_on = 'schema'", "list"], id="one doubt"),
        pytest.param(_rule(two_pass=1), ["two_pass", "mapping"], id="two_pass of a number"),
        pytest.param(_rule(two_pass={"fast": "mid"}), ["two_pass.fast", "classifier"], id="two_pass of a slip"),
        pytest.param(_rule(two_pass={"simple": "huge"}), ["two_pass.simple = 'huge'"], id="two_pass of no tier"),
        pytest.param(_rule(two_pass={"simple": "mid"}), ["two_pass", "both mid"], id="two passes to one tier"),
        pytest.param(_rule(two_pass={}), ["tier = 'large'", "two_pass.complex = 'mid'"], id="a tier beside two_pass"),
        pytest.param({"rules": [_TABLES, _TABLES]}, ["routing.rules[1].id", "'tables'", "twice"], id="two of one id"),
        pytest.param({"fallback": 1}, ["routing.fallback", "mapping"], id="fallback of a number"),
        pytest.param({"fallback": {"hops": 1}}, ["fallback.hops", "max_hops"], id="fallback of a slip"),
        pytest.param({"fallback": {"max_hops": 6}}, ["fallback.max_hops = 6", "0 to 5"], id="too many hops"),
        pytest.param({"fallback": {"cross_provider": 1}}, ["cross_provider = 1", "true or false"], id="no switch"),
        pytest.param({"fallback": {"allowed_providers": []}}, ["allowed_providers", "names"], id="no provider"),
        pytest.param({"escalation": {"max_steps": 3}}, ["escalation.max_steps = 3", "1 to 2"], id="too many steps"),
        pytest.param({"escalation": {"second_opinion": 5}}, ["second_opinion = 5"], id="a number for an opinion"),
        pytest.param({"escalation": {"second_opinion": "x"}}, ["second_opinion 'x'"], id="half an opinion"),
        pytest.param({"escalation": {"doubts": [5]}}, ["escalation.doubts = 5"], id="a number for a doubt"),
        pytest.param({"measured": 5}, ["routing.measured", "mapping"], id="a number for a table"),
    ],
)
def test_a_routing_that_cannot_be_followed_is_refused_naming_layer_and_key(
    members: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        _routing(**members)
    assert str(refusal.value).startswith("file: ")
    assert all(word in str(refusal.value) for word in words), str(refusal.value)


def test_a_key_whose_layer_is_unknown_is_the_policy_s() -> None:
    with pytest.raises(PolicyInvalid, match=r"^policy: routing\.rules"):
        parse_routing({"rules": 5}, Places())


def test_the_keys_are_those_of_the_policy_and_the_short_form() -> None:
    assert {*RoutingPolicy.__dataclass_fields__, "model"} == ROUTING_KEYS
