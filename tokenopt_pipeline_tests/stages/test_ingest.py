"""A file becomes a document and its blocks, once per content, under any number of names."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.assembly import collections_on
from tokenopt_pipeline.domain.documents import ReadDocument
from tokenopt_pipeline.domain.errors import DocumentUnreadable, NotFound
from tokenopt_pipeline.stages.ingest import ingest_source
from tokenopt_pipeline_tests.stages.rig import Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import WordTokenizer


class CountingTokenizer(WordTokenizer):
    def __init__(self) -> None:
        self.counted = 0

    def count(self, text: str) -> int:
        self.counted += 1
        return super().count(text)


def test_a_document_is_stored_with_the_facts_of_its_blocks(rig: Rig) -> None:
    outcome = rig.ingest("Seven words stand in this one block.", " \n")

    assert (outcome.n_blocks, outcome.is_new_document, outcome.changed_collection) == (2, True, True)
    stored = rig.rows(
        "select block_index, block_type, is_blank, n_words, n_tokens, text from block order by block_index"
    )
    assert [tuple(r.values()) for r in stored] == [
        (0, "paragraph", False, 7, 7, "Seven words stand in this one block."),
        # A token is counted as a request carries it: the line end becomes two characters.
        (1, "paragraph", True, 0, 1, " \n"),
    ]


def test_the_same_bytes_under_the_same_name_change_nothing(rig: Rig) -> None:
    rig.ingest(*clauses(3))
    before = rig.states()
    rig.clock.advance(60)

    outcome = rig.ingest(*clauses(3))

    assert (outcome.is_new_document, outcome.changed_collection) == (False, False)
    assert rig.states() == before


def test_the_same_bytes_under_another_name_are_stored_and_counted_once(rig: Rig) -> None:
    rig.ingest(*clauses(3), name="a")

    outcome = rig.ingest(*clauses(3), name="b")

    assert (outcome.is_new_document, outcome.changed_collection) == (False, True)
    assert rig.one("select count(*) from block") == 3
    assert collections_on(rig.connection).document_ids("contracts") == [(outcome.document_id, 3)]


def test_known_bytes_are_not_counted_by_the_tokenizer_again(rig: Rig) -> None:
    rig.ingest(*clauses(3))
    tokenizer = CountingTokenizer()

    rig.ingest(*clauses(3), name="another", tokenizer=tokenizer)

    assert tokenizer.counted == 0


def test_new_bytes_under_a_name_replace_the_old_ones_and_keep_them_on_record(rig: Rig) -> None:
    old = rig.ingest("The old text.")
    rig.clock.advance(60)
    new = rig.ingest("The new text.")

    assert collections_on(rig.connection).document_ids("contracts") == [(new.document_id, 1)]
    assert rig.one("select count(*) from collection_document where superseded_at is not null") == 1
    assert rig.one("select count(*) from document where document_id = %(id)s", id=old.document_id) == 1


def test_a_name_can_go_back_to_bytes_it_had_before_even_within_one_instant(rig: Rig) -> None:
    first = rig.ingest("The old text.")
    rig.ingest("The new text.")

    outcome = rig.ingest("The old text.")

    assert (outcome.is_new_document, outcome.changed_collection) == (False, True)
    assert collections_on(rig.connection).document_ids("contracts") == [(first.document_id, 1)]


def test_an_unreadable_file_leaves_nothing(rig: Rig) -> None:
    before = rig.states()

    def read(name: str, content: bytes) -> ReadDocument:
        raise DocumentUnreadable(name, "it is torn")

    with pytest.raises(DocumentUnreadable, match="broken: it is torn"):
        ingest_source(
            "broken",
            b"torn",
            collection="contracts",
            read=read,
            tokenizer=WordTokenizer(),
            store=collections_on(rig.connection),
            now=rig.clock.now(),
        )

    assert rig.states() == before


def test_documents_stand_in_the_order_of_their_names_and_unknown_collections_are_not_found(rig: Rig) -> None:
    later, earlier = rig.ingest("b", name="b"), rig.ingest("a", name="a")

    store = collections_on(rig.connection)
    assert store.document_ids("contracts") == [(earlier.document_id, 1), (later.document_id, 1)]
    with pytest.raises(NotFound, match="collection 'unheard-of' does not exist"):
        store.document_ids("unheard-of")


def test_characters_that_have_no_utf8_are_replaced_and_the_title_too(rig: Rig) -> None:
    rig.ingest("half \ud800 pair", title="half \udfff title with a \0")

    assert rig.one("select text from block") == "half ? pair"
    assert rig.one("select title from document") == "half ? title with a \N{REPLACEMENT CHARACTER}"
