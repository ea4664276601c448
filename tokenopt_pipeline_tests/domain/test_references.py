from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.references import (
    Chunk,
    Recipe,
    ReferenceSource,
    Section,
    check_reference_name,
    cut_chunks,
    sources_digest,
    whole_text,
)
from tokenopt_pipeline.domain.triggers import Trigger, TriggerKind

TEXTS = st.text(alphabet="ab .\n;!", min_size=1, max_size=300).filter(str.strip)


def words(text: str) -> int:
    return len(text.split())


def source(*sections: Section, title: str | None = "Guide", name: str = "guide.md") -> ReferenceSource:
    return ReferenceSource(name=name, content_id="0" * 64, title=title, sections=sections)


def cut(text: str, most: int) -> list[Chunk]:
    return list(cut_chunks(source(Section(heading="Part", text=text)), count=words, most_tokens=most))


@given(text=TEXTS, most=st.integers(1, 20))
def test_chunks_keep_every_word_in_order_and_none_is_over_the_budget(text: str, most: int) -> None:
    chunks = cut(text, most)

    assert " ".join(chunk.text for chunk in chunks).split() == text.split()
    assert all(0 < words(chunk.text) <= most for chunk in chunks)


@given(text=TEXTS, most=st.integers(1, 20))
def test_neighbouring_chunks_of_a_section_would_not_have_fitted_into_one(text: str, most: int) -> None:
    chunks = cut(text, most)

    assert len(chunks) <= 2 * -(-words(text) // most)


def test_a_section_that_fits_stays_whole_and_one_that_does_not_is_cut_between_paragraphs() -> None:
    assert [c.text for c in cut("one two\n\nthree", 3)] == ["one two\n\nthree"]
    assert [c.text for c in cut("one two\n\nthree four", 3)] == ["one two", "three four"]


def test_a_word_over_the_budget_is_a_chunk_of_its_own() -> None:
    chunks = list(cut_chunks(source(Section(heading="", text="aaaaaa b")), count=len, most_tokens=3))

    assert [chunk.text for chunk in chunks] == ["aaaaaa", "b"]


def test_no_chunk_crosses_a_section() -> None:
    two = source(Section(heading="A", text="one"), Section(heading="B", text="two"))

    assert [(c.heading, c.text) for c in cut_chunks(two, count=words, most_tokens=50)] == [("A", "one"), ("B", "two")]


def test_only_the_first_chunk_of_a_rule_fires() -> None:
    trigger = Trigger(kind=TriggerKind.EXISTENCE, phrases=("very",))
    chunks = cut_chunks(source(Section(heading="", text="one two three", trigger=trigger)), count=words, most_tokens=1)

    assert [chunk.trigger for chunk in chunks] == [trigger, None, None]


def test_a_passage_carries_the_names_above_it_and_its_hash_follows_it() -> None:
    [chunk] = cut("text", 5)
    [elsewhere] = list(cut_chunks(source(Section(heading="Other", text="text")), count=words, most_tokens=5))

    assert chunk.passage == "Guide\nPart\ntext"
    assert chunk.n_tokens == 3
    assert chunk.content_hash != elsewhere.content_hash


def test_a_source_is_shown_whole_with_its_names() -> None:
    sections = (Section(heading="A", text="one"), Section(heading="", text="two"))

    assert whole_text(source(*sections)) == "Guide\n\nA\none\n\ntwo"
    assert whole_text(source(*sections, title=None)) == "A\none\n\ntwo"


def test_the_digest_of_sources_is_the_same_in_any_order_and_another_for_other_bytes() -> None:
    one, two = source(name="a"), source(name="b")
    changed = ReferenceSource(name="b", content_id="1" * 64, title=None, sections=())

    assert sources_digest([one, two]) == sources_digest([two, one])
    assert sources_digest([one, two]) != sources_digest([one, changed])


@pytest.mark.parametrize(
    "other",
    [{"sources_digest": "x"}, {"chunk_tokens": 9}, {"embedder": "e"}, {"dimension": 3}, {"chunking_version": 99}],
    ids=str,
)
def test_whatever_decides_what_an_index_holds_is_part_of_its_recipe(other: dict[str, object]) -> None:
    plain: dict[str, object] = {"sources_digest": "d", "chunk_tokens": 5, "embedder": None, "dimension": None}

    assert Recipe(**plain).digest != Recipe(**{**plain, **other}).digest  # type: ignore[arg-type] # the fields vary


@pytest.mark.parametrize("name", ["", "Style", "-style", "a b", "a" * 65, "a/b", "a\n"])
def test_a_name_that_is_no_plain_word_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="reference name"):
        check_reference_name(name)


def test_a_plain_word_is_a_name() -> None:
    assert check_reference_name("style-guide_2") == "style-guide_2"
