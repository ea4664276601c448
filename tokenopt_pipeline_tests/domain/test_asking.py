"""A pack asks the run's schema, or how hard its blocks are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tokenopt_pipeline.domain.answer_lengths import AnswerLength
from tokenopt_pipeline.domain.asking import asked_of
from tokenopt_pipeline.domain.classification import FIELD
from tokenopt_pipeline.domain.knowledge import Knowledge, RunReference
from tokenopt_pipeline.domain.learning import Learned
from tokenopt_pipeline.domain.moves import Asks
from tokenopt_pipeline.domain.runs import Run, RunKind, RunState
from tokenopt_pipeline_tests.factories import a_model, a_policy, a_schema


@pytest.fixture
def run() -> Run:
    return Run(
        run_no=1,
        run_id="r",
        collection="c",
        schema=a_schema(),
        prompt_tokens=500,
        policy=a_policy(),
        policy_hash="h",
        mode="sync",
        kind=RunKind.SIMULATED,
        state=RunState.OPEN,
        n_blocks=1,
        n_shards=1,
        classification_tokens=90,
        knowledge=Knowledge(
            references=(RunReference(name="g", sources_digest="s", n_tokens=7, text_id="t", index_recipe=None),)
        ),
    )


@pytest.mark.parametrize("asks", [Asks.ANSWER, Asks.SECOND_OPINION])
def test_answers_and_second_opinions_are_asked_the_same(run: Run, asks: Asks) -> None:
    asked = asked_of(run, asks)
    assert (asked.schema, asked.form) == (run.schema, run.form)
    assert (asked.prompt_tokens, asked.widest_prefix_tokens) == (500, 507)
    assert not asked.form.is_plain


def test_a_first_pass_asks_one_word(run: Run) -> None:
    asked = asked_of(run, Asks.CLASSIFICATION)
    assert list(asked.schema.properties) == [FIELD]
    assert (asked.prompt_tokens, asked.widest_prefix_tokens) == (90, 90)
    assert asked.form.is_plain


def test_what_is_known_of_answers_is_known_of_the_runs_own_schema_only(run: Run) -> None:
    lengths = {"*": AnswerLength(base=9.0, per_block_token=0.0, margin=0.1, answers=40)}
    model = a_model()
    knowing = replace(run, learned=Learned(answers={str(model.ref): lengths}))
    assert asked_of(knowing, Asks.ANSWER).lengths(knowing, model) == lengths
    assert asked_of(knowing, Asks.CLASSIFICATION).lengths(knowing, model) == {}
