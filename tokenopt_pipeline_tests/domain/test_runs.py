"""Shards cover a run's blocks exactly once; digests say what makes two runs ask the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.knowledge import Knowledge, RunReference
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.runs import RunKind, ShardSpan, answer_recipe, inputs_digest, shard_key, shard_spans
from tokenopt_pipeline_tests.domain.generated import examples
from tokenopt_pipeline_tests.factories import a_model, a_policy, a_schema


@examples(150)
@given(st.integers(0, 300), st.integers(1, 40))
def test_spans_cover_every_block_once_in_order_and_none_is_too_large(n_blocks: int, shard_blocks: int) -> None:
    spans = list(shard_spans(n_blocks, shard_blocks))
    assert [i for span in spans for i in range(span.first, span.end)] == list(range(n_blocks))
    assert [span.shard_no for span in spans] == list(range(len(spans)))
    assert all(1 <= span.end - span.first <= shard_blocks for span in spans)


@pytest.mark.parametrize(
    ("n_blocks", "spans"),
    [
        (0, []),
        (1, [(0, 0, 1)]),
        (10, [(0, 0, 10)]),
        (11, [(0, 0, 10), (1, 10, 11)]),
        (20, [(0, 0, 10), (1, 10, 20)]),
    ],
)
def test_a_shard_is_full_before_the_next_begins(n_blocks: int, spans: list[tuple[int, int, int]]) -> None:
    expected = [ShardSpan(shard_no=number, first=first, end=end) for number, first, end in spans]
    assert list(shard_spans(n_blocks, 10)) == expected


def test_the_keys_of_a_run_sort_in_shard_order() -> None:
    assert shard_key("r1", 7) == "r1-000007"
    keys = [shard_key("r1", number) for number in (0, 9, 10, 99, 100, 999_999)]
    assert sorted(keys) == keys


def _digest(**changes: Any) -> str:
    parts = {
        "collection": "c",
        "document_ids": ["d1", "d2"],
        "schema": a_schema(),
        "policy": a_policy(),
        "mode": "sync",
        "kind": RunKind.SIMULATED,
        **changes,
    }
    return inputs_digest(
        parts["collection"],
        parts["document_ids"],
        parts["schema"],
        parts["policy"],
        mode=parts["mode"],
        kind=parts["kind"],
    )


def test_runs_of_equal_inputs_have_equal_digests() -> None:
    assert _digest() == _digest(document_ids=("d1", "d2"))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"collection": "other"}, id="collection"),
        pytest.param({"document_ids": ["d2", "d1"]}, id="order of documents"),
        pytest.param({"document_ids": ["d1"]}, id="documents"),
        pytest.param({"schema": a_schema(retrieval="critical")}, id="schema"),
        pytest.param({"policy": a_policy(packing={"pack_size": 9})}, id="policy"),
        pytest.param({"mode": "async"}, id="mode"),
        pytest.param({"kind": RunKind.LIVE}, id="kind"),
    ],
)
def test_each_input_changes_the_digest(changes: dict[str, Any]) -> None:
    assert _digest(**changes) != _digest()


def test_answers_may_be_shared_when_only_how_they_are_asked_for_differs() -> None:
    recipe = answer_recipe(a_schema(), a_policy(), RunKind.LIVE, [a_model()])
    assert answer_recipe(a_schema(ref="other"), a_policy(packing={"pack_size": 3}), RunKind.LIVE, [a_model()]) == recipe
    assert answer_recipe(a_schema(), a_policy(run={"budget_usd": 1}), RunKind.LIVE, [a_model()]) == recipe
    table = {"source": "s", "models": {}, "tasks": []}
    assert answer_recipe(a_schema(), a_policy(routing={"measured": table}), RunKind.LIVE, [a_model()]) == recipe


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(answer_recipe(a_schema(retrieval="critical"), a_policy(), RunKind.LIVE, [a_model()]), id="schema"),
        pytest.param(
            answer_recipe(a_schema(), a_policy(routing={"model": "a/b"}), RunKind.LIVE, [a_model()]), id="model"
        ),
        pytest.param(
            answer_recipe(a_schema(), a_policy(), RunKind.LIVE, [a_model(output_method="tool")]), id="how it is asked"
        ),
        pytest.param(answer_recipe(a_schema(), a_policy(), RunKind.SIMULATED, [a_model()]), id="kind"),
        pytest.param(
            answer_recipe(a_schema(), a_policy(packing={"output_form": "plain"}), RunKind.LIVE, [a_model()]), id="form"
        ),
    ],
)
def test_answers_are_not_shared_over_schemas_models_kinds_or_forms(other: str) -> None:
    assert other != answer_recipe(a_schema(), a_policy(), RunKind.LIVE, [a_model()])


def test_answers_of_another_server_under_the_same_name_are_other_answers() -> None:
    def recipe(url: str, **model: object) -> str:
        policy = a_policy(
            providers={"local": {"base_url": url}}, routing={"model": "local/llama"}, models={"local/llama": model}
        )
        spec = a_model(ref=ModelRef(provider="local", model="llama"))
        return answer_recipe(a_schema(), policy, RunKind.LIVE, [spec])

    one = recipe("http://127.0.0.1:1/v1", context_tokens=4_096)
    assert one != recipe("http://127.0.0.1:2/v1", context_tokens=4_096)
    assert one == recipe("http://127.0.0.1:1/v1", context_tokens=8_192)


def _knowing(index: str | None = "r1", sources: str = "s1") -> Knowledge:
    reference = RunReference(name="style", sources_digest=sources, n_tokens=9, text_id="t", index_recipe=index)
    return Knowledge(references=(reference,))


def test_a_run_whose_references_have_changed_is_another_run_with_other_answers() -> None:
    schema = a_schema(retrieval="eligible", references=["style"])

    def both(knowledge: Knowledge, **retrieval: object) -> tuple[str, str]:
        policy = a_policy(retrieval=retrieval)
        recipe = answer_recipe(schema, policy, RunKind.LIVE, [a_model()], knowledge)
        return inputs_digest("c", ["d"], schema, policy, mode="sync", kind=RunKind.LIVE, knowledge=knowledge), recipe

    known = both(_knowing())
    for other in (both(_knowing("r2")), both(_knowing(None)), both(_knowing(sources="s2")), both(_knowing(), k=9)):
        assert other[0] != known[0]
        assert other[1] != known[1]


def test_how_references_are_searched_changes_no_answer_that_has_them_whole() -> None:
    schema = a_schema(retrieval="critical", references=["style"])
    recipes = [
        answer_recipe(schema, a_policy(retrieval={"k": k}), RunKind.LIVE, [a_model()], _knowing()) for k in (8, 9)
    ]
    assert recipes[0] == recipes[1] != answer_recipe(schema, a_policy(), RunKind.LIVE, [a_model()])


def test_answers_that_tools_may_have_helped_with_are_shared_only_under_the_same_bridge() -> None:
    def recipe(**bridge: object) -> str:
        servers = {"own": {"builtin": True, "tools": ["get_block_batch"]}}
        policy = a_policy(bridge={"servers": servers, **bridge})
        return answer_recipe(a_schema(), policy, RunKind.LIVE, [a_model()])

    assert recipe() == recipe(max_turns=3) == answer_recipe(a_schema(), a_policy(), RunKind.LIVE, [a_model()])
    assert len({recipe(), recipe(enabled=True), recipe(enabled=True, max_turns=3)}) == 3
