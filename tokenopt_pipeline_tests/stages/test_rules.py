"""What a run's own search tool finds: rules of its references, as they were when it was planned, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.ports import ChunkSearch, ReferenceReading
from tokenopt_pipeline.stages.contexts import know
from tokenopt_pipeline.stages.rules import RunRules
from tokenopt_pipeline_tests.factories import a_schema_document
from tokenopt_pipeline_tests.stages.reference_rig import ReferenceRig
from tokenopt_pipeline_tests.stages.rig import Rig


def a_run(rig: Rig, built: ReferenceRig, *references: str) -> Run:
    request = rig.request(schema=a_schema_document(retrieval="eligible", references=list(references)))
    known = know(request.schema, request.resolved.policy, references=built.references, tokenizer=rig.tokenizer)
    return rig.plan(replace(request, known=known))


def rules_on(built: ReferenceRig) -> RunRules:
    @contextmanager
    def session() -> Iterator[tuple[ReferenceReading, ChunkSearch]]:
        yield built.references, built.search

    return RunRules(retrieval=built.retrieval, session=session)


def test_a_search_finds_rules_of_the_runs_references_the_best_first(rig: Rig) -> None:
    built = ReferenceRig(connection=rig.connection)
    built.build()
    built.build({"terms.md": "# Terms\n\nA bulleted list is called a list."}, name="terms")
    built.build({"secret.md": "# Bulleted lists\n\nOf another schema."}, name="other")
    rig.ingest("They are not here.")
    run = a_run(rig, built, "guide", "terms")

    found = rules_on(built).search(run, "bulleted lists", limit=3)

    assert [(rule.reference, rule.rule_id) for rule in found.rules][:2] == [
        ("guide", "pages/lists.md#5"),
        ("terms", "terms.md#1"),
    ]
    assert len(found.rules) == 3
    assert found.message == ""
    assert not any("another schema" in rule.text for rule in found.rules)
    assert "Contractions" in rules_on(built).search(run, "They are not here.", limit=1).rules[0].text


def test_rules_of_one_reference_say_what_the_tool_looks_for_in_another(rig: Rig) -> None:
    built = ReferenceRig(connection=rig.connection, embedder=None)
    built.build()
    others = {f"p{n}.md": f"# Page {n}\n\nOthers here are not they {n}." for n in range(5)}
    built.build({"about.md": "# Shortened forms\n\nUse contractions instead of long forms.", **others}, name="about")
    rig.ingest("They are not here.")

    for references, expected in ((("about",), False), (("guide", "about"), True)):
        found = rules_on(built).search(a_run(rig, built, *references), "They are not here.", limit=2)
        assert any("Shortened forms" in rule.text for rule in found.rules) is expected, references


def test_an_index_that_the_run_does_not_know_is_not_searched_and_the_model_is_told(rig: Rig) -> None:
    built = ReferenceRig(connection=rig.connection)
    built.build()
    rig.ingest("They are not here.")
    run = a_run(rig, built, "guide")
    built.build({"new.md": "# New\n\nRules that the run does not know."})

    found = rules_on(built).search(run, "rules", limit=3)

    assert found.rules == ()
    assert "guide" in found.message


def test_a_search_without_a_word_finds_nothing_and_says_so(rig: Rig) -> None:
    built = ReferenceRig(connection=rig.connection)
    built.build()
    rig.ingest("They are not here.")

    assert rules_on(built).search(a_run(rig, built, "guide"), "  ", limit=3).message == "Nothing was found."
