"""Searching: per block and per pack, on a real index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.indexes import ServedIndex
from tokenopt_pipeline.domain.probes import Probe
from tokenopt_pipeline.domain.ranking import SILENCE, Confidence, Evidence
from tokenopt_pipeline.stages.retrieve import Query
from tokenopt_pipeline_tests.stages.reference_rig import ReferenceRig


@pytest.fixture
def rig(connection: Connection) -> ReferenceRig:
    return ReferenceRig(connection=connection)


@pytest.fixture
def index(rig: ReferenceRig) -> ServedIndex:
    return rig.build().index


def found(rig: ReferenceRig, index: ServedIndex, text: str, k: int = 3) -> list[tuple[str, Evidence]]:
    hits = rig.retrieval.hits(index, Query(text=text), k=k)
    return [(hit.chunk.source_name, hit.ranked.evidence) for hit in hits]


def test_a_rule_that_fires_comes_first_whatever_the_words_say(rig: ReferenceRig, index: ServedIndex) -> None:
    hits = found(rig, index, "The lists are not parallel in structure.")

    assert hits[0] == ("Style/Contractions.yml", Evidence.RULE)
    assert hits[1] == ("pages/lists.md", Evidence.TEXT)


def test_the_severer_rule_comes_first(rig: ReferenceRig, index: ServedIndex) -> None:
    assert [name for name, _ in found(rig, index, "They are not very good.", k=2)] == [
        "Style/Contractions.yml",
        "Style/Very.yml",
    ]


def test_what_a_short_query_names_comes_before_what_it_resembles(rig: ReferenceRig, index: ServedIndex) -> None:
    assert found(rig, index, "bulleted list")[0] == ("pages/lists.md", Evidence.NAME)
    assert found(rig, index, "dates")[0] == ("pages/numbers.md", Evidence.NAME)


def test_words_are_found_by_their_stem(rig: ReferenceRig, index: ServedIndex) -> None:
    assert found(rig, index, "spelling a number out as a whole", k=1) == [("pages/numbers.md", Evidence.TEXT)]


def test_without_an_embedder_words_and_rules_still_find(rig: ReferenceRig) -> None:
    rig.embedder = None
    index = rig.build().index

    assert found(rig, index, "the structure of parallel items", k=1) == [("pages/lists.md", Evidence.TEXT)]
    assert found(rig, index, "They are not here.", k=1) == [("Style/Contractions.yml", Evidence.RULE)]


def test_rules_of_another_reference_widen_a_search(rig: ReferenceRig, index: ServedIndex) -> None:
    pages = rig.build({"c.md": "# Contractions\n\nUse them.", "o.md": "# Others\n\nThey stay."}, name="pages").index
    lent = rig.retrieval.lent(Query(text="They are not here."), [index])

    assert lent.explained == ("Contractions. Use contractions instead of 'are not'.",)
    widened = rig.retrieval.hits(pages, lent, k=1)
    assert widened[0].chunk.source_name == "c.md"


@pytest.mark.parametrize(
    "text", ["'; drop table reference; --", "%s %(x)s", "a & | ! ( ) :* <->", "\\", "🙂", "\x00 null"]
)
def test_any_text_can_be_searched_for(rig: ReferenceRig, index: ServedIndex, text: str) -> None:
    rig.retrieval.hits(index, Query(text=text), k=3)


def test_a_search_for_nothing_is_refused(rig: ReferenceRig, index: ServedIndex) -> None:
    with pytest.raises(InvalidInput, match="needs some words"):
        rig.retrieval.rank(index, Query(text=" \n"), k=3)


def test_the_same_search_finds_the_same_again(rig: ReferenceRig, index: ServedIndex) -> None:
    query = Query(text="numbers in lists")

    assert rig.retrieval.rank(index, query, k=5) == rig.retrieval.rank(index, query, k=5)


def test_a_pack_carries_the_union_in_the_order_of_the_reference(rig: ReferenceRig, index: ServedIndex) -> None:
    queries = [Query(text="parallel items of a list"), Query(text="They are not here."), Query(text="parallel items")]

    context = rig.retrieval.pack(index, queries, k=1, budget_tokens=45)
    turned = rig.retrieval.pack(index, queries[::-1], k=1, budget_tokens=45)

    assert [chunk.source_name for chunk in context.chunks] == ["Style/Contractions.yml", "pages/lists.md"]
    assert context.text == turned.text
    assert context.text.endswith("Bulleted lists\nKeep items of a list parallel in structure.")
    # A rule fires there, which says nothing of the pages.
    assert context.findings.confidences[1].score < 1
    assert context.findings.undecided_rules == 0
    assert context.findings.chunks.missed == ()


def test_a_pack_tells_what_had_no_room(rig: ReferenceRig, index: ServedIndex) -> None:
    context = rig.retrieval.pack(index, [Query(text="They are not here.")], k=1, budget_tokens=1)

    assert context.chunks == ()
    assert len(context.findings.chunks.missed) == 1


def test_a_rule_that_cannot_be_told_is_counted(rig: ReferenceRig, index: ServedIndex) -> None:
    def too_slow(pattern: str, ignore_case: bool, text: str) -> Iterator[tuple[int, int]]:
        raise TimeoutError

    # A pattern that passes the build's checks may still meet a text on which it is slow.
    rig.build({"s/R.yml": "{extends: existence, message: m, nonword: true, tokens: [';']}"}, name="rules")
    served = rig.references.serving("rules")
    assert served is not None
    retrieval = replace(rig.retrieval, find=too_slow)

    assert retrieval.pack(served, [Query(text="a; b")], k=1, budget_tokens=99).findings.undecided_rules == 1


def test_a_probe_is_a_search_whose_answer_is_known(rig: ReferenceRig, index: ServedIndex) -> None:
    probe = Probe(query="They are not here.", relevant=("Style/Contractions.yml",))
    right = rig.retrieval.probe(index, probe, k=3, budget_tokens=10)
    wrong = rig.retrieval.probe(index, replace(probe, relevant=("gone",)), k=3, budget_tokens=10)

    assert right.recall == 1
    assert right.confidence == rig.retrieval.rank(index, Query(text=probe.query), k=3, room_tokens=10).confidence
    assert wrong.recall == 0


#: Two rules that a block tells, and one that no block does: whether a word is in a dictionary.
RULES = {
    "s/Are.yml": "{extends: existence, message: m, tokens: [are not]}",
    "s/Very.yml": "{extends: existence, message: m, tokens: [very]}",
    "s/Spelling.yml": "{extends: spelling, message: Check the spelling.}",
}


def carried(
    rig: ReferenceRig, texts: list[str], *, budget_tokens: int, k: int = 1
) -> tuple[list[str], list[Confidence]]:
    served = rig.build(RULES, name="rules").index
    context = rig.retrieval.pack(served, [Query(text=text) for text in texts], k=k, budget_tokens=budget_tokens)
    return [chunk.source_name for chunk in context.chunks], list(context.findings.confidences)


def test_where_no_rule_fires_silence_is_told_and_what_no_block_tells_is_carried(rig: ReferenceRig) -> None:
    rig.embedder = None

    names, confidences = carried(rig, ["Nothing of it stands here.", "They are not here."], budget_tokens=40)

    assert names == ["s/Are.yml", "s/Spelling.yml"]
    assert confidences == [SILENCE, Confidence(score=1, margin=1)]


def test_without_room_for_what_no_block_tells_there_is_a_doubt_whether_a_rule_fires_or_not(rig: ReferenceRig) -> None:
    rig.embedder = None

    names, [silent, fired] = carried(rig, ["Nothing of it stands here.", "They are not here."], budget_tokens=5)

    assert names == ["s/Are.yml"]
    assert silent == fired == Confidence(score=0, margin=0)


def test_every_rule_that_fires_is_carried_however_few_chunks_are_wanted(rig: ReferenceRig) -> None:
    names, _ = carried(rig, ["They are not very good."], budget_tokens=40, k=1)

    assert names == ["s/Are.yml", "s/Very.yml", "s/Spelling.yml"]


def test_a_person_is_shown_no_more_than_was_asked_for(rig: ReferenceRig) -> None:
    served = rig.build(RULES, name="rules").index

    assert len(rig.retrieval.hits(served, Query(text="They are not very good."), k=1)) == 1


def test_a_probe_counts_what_its_pack_would_carry(rig: ReferenceRig) -> None:
    served = rig.build(RULES, name="rules").index
    probe = Probe(query="They are not very good.", relevant=("s/Are.yml", "s/Very.yml", "s/Spelling.yml"))

    assert rig.retrieval.probe(served, probe, k=1, budget_tokens=40).recall == 1
