"""Every number a run obeys is checked against its bounds, and a policy knows where its values came from."""

from __future__ import annotations

import json
from dataclasses import fields
from decimal import Decimal
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.policy import Policy, defaults_document, resolve, snapshot
from tokenopt_pipeline.domain.routing import RoutingPolicy
from tokenopt_pipeline.domain.tiers import TIERS
from tokenopt_pipeline.domain.tool_servers import ToolServer
from tokenopt_pipeline_tests.domain.generated import examples

_SERVERS = {"files": {"command": "npx", "tools": ["read"]}}
# Others that must move along, because some keys bound each other.
_ROOMY: dict[str, dict[str, object]] = {
    "bridge.enabled": {"servers": _SERVERS},
    "packing.pack_size": {"pack_size_max": 100},
    "packing.pack_size_max": {"pack_size": 1, "text_heavy_max_pack_size": 1},
    "packing.text_heavy_max_pack_size": {"pack_size_max": 100},
    "packing.context_window_tokens": {"output_reserve_tokens": 256, "overhead_tokens": 0},
    "packing.output_reserve_tokens": {"context_window_tokens": 2_000_000},
    "packing.per_block_output_tokens": {"max_output_tokens": 65_536},
}
_WHOLE_NUMBERS: list[tuple[str, float, float]] = [
    ("packing.pack_size", 1, 100),
    ("packing.pack_size_max", 1, 100),
    ("packing.small_max_pack_size", 1, 100),
    ("packing.mid_max_pack_size", 1, 100),
    ("packing.large_max_pack_size", 1, 100),
    ("packing.text_heavy_max_pack_size", 1, 100),
    ("packing.context_window_tokens", 1_024, 2_000_000),
    ("packing.output_reserve_tokens", 256, 200_000),
    ("packing.overhead_tokens", 0, 50_000),
    ("packing.max_output_tokens", 256, 65_536),
    ("packing.per_block_output_tokens", 1, 65_536),
    ("packing.single_block_output_tokens", 1, 65_536),
    ("retries.max_attempts", 1, 10),
    ("retries.transient_tries", 1, 100),
    ("calls.concurrency", 1, 256),
    ("run.shard_blocks", 1, 100_000),
    ("retrieval.k", 1, 50),
    ("retrieval.budget_tokens", 100, 100_000),
    ("retrieval.chunk_tokens", 50, 2_000),
    ("retrieval.min_probes", 1, 10_000),
    ("bridge.max_turns", 1, 50),
    ("bridge.max_tool_calls", 1, 1_000),
    ("bridge.max_tokens", 1_000, 10_000_000),
    ("bridge.result_bytes", 256, 1_048_576),
    ("batches.min_packs", 1, 100_000),
    ("batches.rounds", 1, 10),
]
_NUMBERS: list[tuple[str, float, float]] = [
    ("caching.implicit_hit_share", 0.0, 1.0),
    ("packing.overflow_probability", 0.0001, 0.5),
    ("retries.max_extra_share", 0.0, 10.0),
    ("retries.backoff_base_s", 0.0, 60.0),
    ("retries.backoff_ceiling_s", 0.0, 3_600.0),
    ("calls.timeout_s", 1.0, 3_600.0),
    ("retrieval.recall_gate", 0.0, 1.0),
    ("retrieval.min_score", 0.0, 1.0),
    ("retrieval.min_margin", 0.0, 1.0),
    ("bridge.max_seconds", 1.0, 3_600.0),
    ("bridge.start_timeout_s", 0.1, 300.0),
    ("bridge.call_timeout_s", 0.1, 600.0),
    ("batches.deadline_h", 0.0, 720.0),
    ("batches.price_share", 0.0, 1.0),
    ("batches.cold_hit_share", 0.0, 1.0),
    ("batches.primed_hit_share", 0.0, 1.0),
]
_SWITCHES = [
    "caching.enabled",
    "caching.keep_prefixes",
    "packing.enabled",
    "prefilter.enabled",
    "prefilter.figure_without_text",
    "prefilter.short_heading",
    "prefilter.table_without_field",
    "prefilter.code_without_field",
    "prefilter.divider",
    "prefilter.page_furniture",
    "reuse.enabled",
    "run.allow_unknown_price",
    "retrieval.enabled",
    "bridge.enabled",
    "batches.finish_sync",
    "batches.prime",
]

_OTHERS = ["run.budget_usd", "retrieval.embedder", "packing.output_form"]


# Sections whose keys have tests of their own.
_NAMED = ("routing", "providers", "models")


def _set(name: str, value: object) -> object:
    """What the key holds after a file has set it."""
    section, key = name.split(".")
    policy = resolve([("file", {section: {**_ROOMY.get(name, {}), key: value}})]).policy
    return getattr(getattr(policy, section), key)


def _refusal(*layers: dict[str, Any]) -> str:
    with pytest.raises(PolicyInvalid) as refusal:
        resolve([(f"layer{i}", layer) for i, layer in enumerate(layers)])
    return str(refusal.value)


def test_the_tables_above_name_every_key_but_dollars_servers_and_those_that_people_name() -> None:
    named = {name for name, _, _ in _WHOLE_NUMBERS + _NUMBERS} | {*_SWITCHES, *_OTHERS}
    named |= {"bridge.max_usd", "bridge.servers"}
    sections = {f.name: getattr(Policy(), f.name) for f in fields(Policy) if f.name not in _NAMED}
    assert named == {f"{section}.{f.name}" for section, value in sections.items() for f in fields(value)}


@pytest.mark.parametrize(("name", "low", "high"), _WHOLE_NUMBERS + _NUMBERS)
def test_values_at_the_bounds_are_taken(name: str, low: float, high: float) -> None:
    assert _set(name, low) == low
    assert _set(name, high) == high


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, low, high in _WHOLE_NUMBERS for value in (low - 1, high + 1, float(low), True, "9", None)]
    + [
        (name, value)
        for name, low, high in _NUMBERS
        for value in (low - 0.001, high + 0.001, float("nan"), float("inf"), True, "9", None)
    ]
    + [(name, value) for name in _SWITCHES for value in (0, 1, "true", None)],
)
def test_values_outside_the_bounds_or_of_another_kind_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        _set(name, value)
    assert str(refusal.value).startswith(f"file: {name} = {value!r}, allowed ")


@pytest.mark.parametrize(
    "name", ["auto", "none", "minilm", "openai/text-embedding-3-small", "custom/org/model-v1:768", "google/m:1"]
)
def test_embedders_are_named_by_vendor_and_model(name: str) -> None:
    assert _set("retrieval.embedder", name) == name


@pytest.mark.parametrize("name", ["", "openai", "openai/", "custom/m:0", "custom/m:12345", "other/m", 3, None, True])
def test_what_names_no_embedder_is_refused(name: object) -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        _set("retrieval.embedder", name)
    assert str(refusal.value).startswith(f"file: retrieval.embedder = {name!r}, allowed ")


@pytest.mark.parametrize("name", _SWITCHES)
def test_switches_take_true_and_false(name: str) -> None:
    assert [_set(name, True), _set(name, False)] == [True, False]


def test_a_refusal_states_the_bounds() -> None:
    assert "allowed 1 to 100" in _refusal({"packing": {"pack_size": 101}})
    assert "allowed a whole number from 1 to 100" in _refusal({"packing": {"pack_size": 9.5}})
    assert "allowed a number from 0.0 to 60.0" in _refusal({"retries": {"backoff_base_s": "1"}})
    assert "allowed true or false" in _refusal({"caching": {"enabled": 1}})


@pytest.mark.parametrize("value", [None, 0.01, "0.01", 1, 1_000_000, "1e6", Decimal("2.50")])
def test_a_budget_is_null_or_dollars_exactly_as_written(value: object) -> None:
    assert _set("run.budget_usd", value) == (None if value is None else Decimal(str(value)))


@pytest.mark.parametrize(
    "value", [0, -1, "-0.01", "1000000.01", True, False, "much", "", "NaN", "sNaN", float("inf"), [1], {}]
)
def test_another_budget_is_refused_by_name(value: object) -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        _set("run.budget_usd", value)
    assert f"run.budget_usd = {value!r}" in str(refusal.value)


def test_the_dollars_of_a_conversation_are_checked_as_the_budget_is() -> None:
    assert [_set("bridge.max_usd", value) for value in (None, "0.10", 1_000)] == [None, Decimal("0.1"), Decimal(1_000)]
    for value in (0, "1000.01", True):
        assert "bridge.max_usd = " in _refusal({"bridge": {"max_usd": value}})


def test_tool_servers_are_taken_by_name_and_their_slips_are_told_with_the_layer() -> None:
    assert _set("bridge.servers", _SERVERS) == (ToolServer(name="files", command="npx", tools=("read",)),)
    assert _refusal({"bridge": {"servers": {"files": {"tools": ["read"]}}}}).startswith("layer0: bridge.servers.files")


def test_a_bridge_without_a_server_is_refused() -> None:
    assert _refusal({"bridge": {"enabled": True}}).startswith("layer0: bridge.enabled = True, allowed with a server")


def test_one_amount_has_one_hash_however_it_is_spelled() -> None:
    spellings: list[Any] = [1, 1.0, "1", "1.00", "1e0", Decimal("1.0")]
    assert len({resolve([("file", {"run": {"budget_usd": s}})]).policy_hash for s in spellings}) == 1
    assert _set("retries.backoff_base_s", 1) == 1.0
    waits: list[Any] = [1, 1.0]
    assert len({resolve([("file", {"retries": {"backoff_base_s": w}})]).policy_hash for w in waits}) == 1


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        pytest.param({"packs": {}}, ["unknown section 'packs'", "packing", "routing"], id="section"),
        pytest.param({"packing": {"size": 1}}, ["unknown key packing.size", "pack_size"], id="key"),
        pytest.param({"packing": {7: 1}}, ["unknown key packing.7"], id="a number for a key"),
        pytest.param({"routing": {"tier": "mid"}}, ["unknown key routing.tier", "default_tier"], id="routing key"),
        pytest.param({"packing": [1]}, ["packing", "mapping", "[1]"], id="a list for a section"),
        pytest.param({"routing": "a/b"}, ["routing", "mapping", "'a/b'"], id="text for a section"),
    ],
)
def test_what_is_not_known_is_refused_beside_what_is(layer: dict[str, Any], words: list[str]) -> None:
    message = _refusal(layer)
    assert message.startswith("layer0: ")
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    ("packing", "words"),
    [
        pytest.param({"pack_size": 41}, ["pack_size = 41", "pack_size_max = 40"], id="pack_size"),
        pytest.param({"pack_size_max": 5, "text_heavy_max_pack_size": 5}, ["pack_size = 16", "= 5"], id="maximum"),
        pytest.param({"pack_size": 5, "pack_size_max": 5}, ["text_heavy_max_pack_size = 6", "= 5"], id="text heavy"),
        pytest.param({"per_block_output_tokens": 8_193}, ["= 8193", "max_output_tokens = 8192"], id="per block"),
        # 20,000 + 2,000 kept free of input.
        pytest.param(
            {"context_window_tokens": 22_000}, ["= 22000", "below packing.context_window_tokens"], id="window"
        ),
        pytest.param({"output_reserve_tokens": 198_000}, ["= 200000", "= 200000"], id="reserve"),
    ],
)
def test_keys_that_contradict_each_other_are_refused_naming_the_layer_that_made_them(
    packing: dict[str, Any], words: list[str]
) -> None:
    message = _refusal({"packing": packing})
    assert message.startswith("layer0: packing.")
    assert all(word in message for word in words)


def test_keys_that_just_fit_together_are_taken() -> None:
    packing = {"pack_size": 40, "per_block_output_tokens": 8_192, "context_window_tokens": 22_001}
    assert resolve([("file", {"packing": packing})]).policy.packing.pack_size == 40


def test_the_last_layer_that_says_something_wins_and_sources_name_it() -> None:
    resolved = resolve(
        [
            ("file", {"packing": {"pack_size": 5, "max_output_tokens": 4_096}, "caching": {"enabled": False}}),
            ("schema", {"packing": {"pack_size": 4}}),
            ("command line", {"packing": {"pack_size": 3}, "run": {"budget_usd": "2"}}),
        ]
    )
    packing = resolved.policy.packing
    assert (packing.pack_size, packing.max_output_tokens, packing.text_heavy_max_pack_size) == (3, 4_096, 6)
    assert resolved.sources == {
        "packing.pack_size": "command line",
        "packing.max_output_tokens": "file",
        "caching.enabled": "file",
        "run.budget_usd": "command line",
    }


def test_no_layer_at_all_gives_the_defaults() -> None:
    resolved = resolve([])
    assert (resolved.policy, resolved.sources) == (Policy(), {})


def _one_model(ref: str) -> RoutingPolicy:
    return RoutingPolicy(models=dict.fromkeys(TIERS, (ref,)))


@pytest.mark.parametrize(
    ("layers", "routing", "sources"),
    [
        pytest.param(
            [{"models": {"mid": "a/m"}, "default_tier": "small"}, {"model": "a/b"}],
            _one_model("a/b"),
            {"routing.model": "layer1"},
            id="a model replaces a table",
        ),
        pytest.param(
            [{"model": "a/b"}, {"models": {"mid": "a/m"}}],
            RoutingPolicy(models={**RoutingPolicy().models, "mid": ("a/m",)}),
            {"routing.models": "layer1"},
            id="a table replaces a model",
        ),
        pytest.param(
            [{"model": "a/b"}, {"model": "a/c"}],
            _one_model("a/c"),
            {"routing.model": "layer1"},
            id="a model replaces a model",
        ),
        pytest.param(
            [{"default_tier": "large"}, {"models": {"mid": "a/m"}}],
            RoutingPolicy(default_tier="large", models={**RoutingPolicy().models, "mid": ("a/m",)}),
            {"routing.default_tier": "layer0", "routing.models": "layer1"},
            id="a table adds to a table",
        ),
        pytest.param(
            [{"model": "a/b"}, {}], _one_model("a/b"), {"routing.model": "layer0"}, id="an empty section says nothing"
        ),
    ],
)
def test_a_model_and_a_routing_table_replace_each_other(
    layers: list[dict[str, Any]], routing: RoutingPolicy, sources: dict[str, str]
) -> None:
    resolved = resolve([(f"layer{i}", {"routing": layer}) for i, layer in enumerate(layers)])
    assert (resolved.policy.routing, resolved.sources) == (routing, sources)


def test_a_layer_that_says_both_a_model_and_a_table_is_refused() -> None:
    assert _refusal({"routing": {"model": "a/b", "default_tier": "mid"}}).startswith("layer0: routing.model")


@st.composite
def _policies(draw: st.DrawFn) -> Policy:
    packing = {"pack_size": draw(st.integers(1, 40)), "overhead_tokens": draw(st.integers(0, 50_000))}
    budget = draw(st.none() | st.decimals(min_value="0.01", max_value=1_000_000, places=4))
    calls = {"timeout_s": draw(st.floats(1.0, 3_600.0))}
    rule = {
        "id": "r",
        "tier": draw(st.sampled_from(TIERS)),
        "block_types": draw(st.none() | st.just(["table", "figure"])),
        "max_block_tokens": draw(st.none() | st.integers(1, 9)),
        "tasks": draw(st.none() | st.just(["contracts"])),
        "escalate_on": draw(st.none() | st.lists(st.sampled_from(["schema", "check:total"]))),
    }
    passes: dict[str, Any] = {"id": "p", "two_pass": {"simple": "small", "complex": "large"}, "languages": ["de"]}
    table = {
        "source": "s",
        "models": {"mid": "m"},
        "tasks": [{"task": "t", "n": 3, "tiers": {"mid": {"quality": 1, "usd": 0}}}],
    }
    routing: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"model": "a/b"},
                {"rules": [rule, passes]},
                {"models": {"mid": ["a/b", "a/c"]}, "fallback": {"max_hops": 1, "allowed_providers": ["a"]}},
                {"escalation": {"enabled": True, "second_opinion": "a/s"}, "measured": table},
            ]
        )
    )
    server = {"command": "npx", "args": ["-y"], "env": ["HOME"], "tools": draw(st.sampled_from([["a"], ["b", "a"]]))}
    bridge = {"enabled": True, "servers": {"files": server}, "max_usd": draw(st.none() | st.just("0.10"))}
    layer = {
        "packing": packing,
        "run": {"budget_usd": budget},
        "calls": calls,
        "routing": routing,
        **draw(st.sampled_from([{}, {"bridge": bridge}])),
    }
    return resolve([("file", layer)]).policy


@examples(60)
@given(_policies())
def test_a_snapshot_survives_json_and_gives_the_policy_again(policy: Policy) -> None:
    stored = json.loads(json.dumps(snapshot(policy)))
    assert resolve([("snapshot", stored)]).policy == policy
    assert resolve([("snapshot", snapshot(policy))]).policy == policy


def test_the_hash_ignores_layers_and_the_order_of_keys_but_no_value() -> None:
    one = resolve([("a", {"packing": {"pack_size": 5, "max_output_tokens": 4_096}, "calls": {"concurrency": 2}})])
    layers: list[tuple[str, dict[str, Any]]] = [
        ("b", {"calls": {"concurrency": 2}}),
        ("c", {"packing": {"max_output_tokens": 4_096, "pack_size": 5}}),
    ]
    assert resolve(layers).policy_hash == one.policy_hash
    hashes = [
        resolve([("a", {name.split(".")[0]: {name.split(".")[1]: value}})]).policy_hash
        for name, value in [
            ("packing.pack_size", 9),
            ("caching.enabled", False),
            ("prefilter.divider", False),
            ("reuse.enabled", False),
            ("retries.max_attempts", 2),
            ("calls.concurrency", 9),
            ("run.budget_usd", 1),
            ("routing.model", "a/b"),
            ("bridge.servers", _SERVERS),
        ]
    ]
    assert len({*hashes, one.policy_hash, resolve([]).policy_hash}) == len(hashes) + 2


def test_a_default_that_is_stated_does_not_change_the_hash() -> None:
    assert resolve([("file", {"packing": {"pack_size": 16}})]).policy_hash == resolve([]).policy_hash


def test_the_defaults_document_is_yaml_of_every_key_that_resolves_to_the_defaults() -> None:
    document = yaml.safe_load(defaults_document())
    assert resolve([("file", document)]).policy == Policy()
    names = {f"{section}.{key}" for section, members in document.items() for key in members}
    assert names == {f"{section}.{key}" for section, members in snapshot(Policy()).items() for key in members}


def test_every_line_of_the_defaults_document_that_sets_a_number_states_its_bounds() -> None:
    lines = defaults_document().splitlines()
    for name, low, high in _WHOLE_NUMBERS + _NUMBERS:
        (line,) = [text for text in lines if text.startswith(f"  {name.split('.')[1]}: ")]
        assert line.endswith(f"({low} to {high})")


@pytest.mark.parametrize(
    ("document", "lines", "said"),
    [
        pytest.param({"pakcing": {}}, {"pakcing": 3}, "f.yaml:3: unknown section 'pakcing'", id="section"),
        pytest.param({"packing": 5}, {"packing": 2}, "f.yaml:2: packing must be a mapping", id="no section"),
        pytest.param({"packing": {"size": 1}}, {"packing.size": 4}, "f.yaml:4: unknown key packing.size", id="key"),
        pytest.param(
            {"retries": {"max_attempts": 99}},
            {"retries": 6, "retries.max_attempts": 7},
            "f.yaml:7: retries.max_attempts = 99",
            id="value",
        ),
        pytest.param({"run": {"budget_usd": "much"}}, {"run.budget_usd": 9}, "f.yaml:9: run.budget_usd", id="budget"),
        pytest.param(
            {"packing": {"pack_size": 41}}, {"packing.pack_size": 5}, "f.yaml:5: packing.pack_size = 41", id="together"
        ),
        pytest.param(
            {"routing": {"rules": [{"id": "a", "tier": "huge"}]}},
            {"routing.rules[0].tier": 8},
            "f.yaml:8: routing.rules[0].tier = 'huge'",
            id="rule",
        ),
    ],
)
def test_a_refusal_names_the_line_where_it_is_known(document: dict[str, Any], lines: dict[str, int], said: str) -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        resolve([("f.yaml", document)], lines={"f.yaml": lines})
    assert str(refusal.value).startswith(said)


def test_a_section_of_which_every_key_was_deleted_changes_nothing() -> None:
    assert resolve([("file", {"packing": None})]) == resolve([])


def test_servers_and_models_are_frozen_and_hashed_with_the_rest() -> None:
    layer: dict[str, Any] = {
        "providers": {"local": {"base_url": "http://127.0.0.1:8000/v1", "api_key_env": "LOCAL_KEY"}},
        "models": {"local/llama": {"context_tokens": 8_192, "price": {"input": 0, "output": "0.5"}}},
    }
    resolved = resolve([("file", layer)])
    document = json.loads(json.dumps(snapshot(resolved.policy)))
    assert resolve([("snapshot", document)]).policy == resolved.policy
    assert resolved.policy_hash != resolve([]).policy_hash
    dearer = {**layer, "models": {"local/llama": {"context_tokens": 8_192, "price": {"input": 0, "output": 1}}}}
    assert resolved.policy_hash != resolve([("file", dearer)]).policy_hash
    assert resolved.sources == {"providers.local": "file", "models.local/llama": "file"}


def test_a_later_layer_replaces_what_an_earlier_one_says_of_a_model() -> None:
    one, other = {"context_tokens": 4_096}, {"max_output_tokens": 100}
    resolved = resolve([("a", {"models": {"openai/x": one}}), ("b", {"models": {"openai/x": other}})])
    assert resolved.policy.models["openai/x"].fields == other
