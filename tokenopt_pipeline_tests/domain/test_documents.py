"""Identities of documents and blocks."""

from __future__ import annotations

import hashlib

import pytest

from tokenopt_pipeline.domain.documents import BlockType, SourceType, block_uid, check_collection_name, document_id
from tokenopt_pipeline.domain.errors import InvalidInput


def test_there_are_seventeen_block_types_spelled_as_their_names_in_lower_case() -> None:
    assert len(BlockType) == 17
    assert all(member.value == member.name.lower() for member in BlockType)


def test_a_document_id_is_the_sha_256_of_format_reader_version_and_bytes() -> None:
    assert document_id(SourceType.MARKDOWN, 3, b"# Hi\n") == hashlib.sha256(b"md\n3\n# Hi\n").hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(document_id(SourceType.TEXT, 1, b"text"), id="format"),
        pytest.param(document_id(SourceType.MARKDOWN, 2, b"text"), id="reader version"),
        pytest.param(document_id(SourceType.MARKDOWN, 1, b"text "), id="bytes"),
        pytest.param(document_id(SourceType.MARKDOWN, 1, b""), id="no bytes"),
    ],
)
def test_a_document_id_changes_with_each_of_its_parts(other: str) -> None:
    assert document_id(SourceType.MARKDOWN, 1, b"text") != other


def test_bytes_that_look_like_a_version_do_not_give_another_document_s_id() -> None:
    assert document_id(SourceType.MARKDOWN, 1, b"2\nx") != document_id(SourceType.MARKDOWN, 12, b"x")


def test_a_block_is_addressed_by_its_document_and_index() -> None:
    assert block_uid("ab" * 32, 7) == "ab" * 32 + ":7"


@pytest.mark.parametrize("name", ["a", "7", "leases-2026_v1.2", "x" * 128])
def test_a_plain_collection_name_is_given_back(name: str) -> None:
    assert check_collection_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "_a", "a b", "a/b", "a\n", "é", "x" * 129])
def test_another_collection_name_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_collection_name(name)
    assert repr(name) in str(refusal.value)
