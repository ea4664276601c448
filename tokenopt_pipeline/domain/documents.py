"""Documents and blocks: source text by content hash, and its addressable pieces in order."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tokenopt_pipeline.domain.errors import InvalidInput

_COLLECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class BlockType(StrEnum):
    """The seventeen kinds of block a reader may produce. A reader that cannot tell says `OTHER`."""

    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list_item"
    CODE_BLOCK = "code_block"
    TABLE = "table"
    FIGURE = "figure"
    CAPTION = "caption"
    FOOTNOTE = "footnote"
    DIVIDER = "divider"
    HTML_BLOCK = "html_block"
    DEFINITION = "definition"
    CHECKBOX = "checkbox"
    FORM_REGION = "form_region"
    KEY_VALUE_REGION = "key_value_region"
    PAGE_HEADER = "page_header"
    PAGE_FOOTER = "page_footer"
    OTHER = "other"


class SourceType(StrEnum):
    """The formats that can be ingested; `BLOCKS` is JSONL of blocks that somebody else has cut."""

    MARKDOWN = "md"
    TEXT = "txt"
    HTML = "html"
    DOCX = "docx"
    PDF = "pdf"
    BLOCKS = "blocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBlock:
    """One piece of a document as a reader found it."""

    type: BlockType
    text: str
    #: Where the piece stands in its source. Text formats: `start` and `end` are character offsets
    #: (start inclusive, end exclusive) and `text` is exactly that slice; other formats: a pointer.
    locator: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDocument:
    """What a reader made of one file."""

    source_type: SourceType
    #: Changes whenever the reader would cut the same bytes into other blocks; part of the document's id.
    reader_version: int
    #: In document order. May be empty.
    blocks: tuple[ReadBlock, ...]
    #: None when the document states no title.
    title: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOutcome:
    """What ingesting one document changed."""

    document_id: str
    n_blocks: int
    #: The bytes were not in the database before.
    is_new_document: bool
    #: The collection's entry under this name is new or points to other bytes than before.
    changed_collection: bool


def document_id(source_type: SourceType, reader_version: int, content: bytes) -> str:
    """The document's identity: 64 hex digits over its format, the reader's version and its bytes."""
    digest = hashlib.sha256(f"{source_type}\n{reader_version}\n".encode())
    digest.update(content)
    return digest.hexdigest()


def block_uid(document: str, index: int) -> str:
    """`<document_id>:<block_index>`, the address of a block everywhere outside the database."""
    return f"{document}:{index}"


def check_collection_name(name: str) -> str:
    """The name itself. Raises InvalidInput unless it is 1 to 128 letters, digits, `_`, `.` and `-`, led by one of the former."""
    if not _COLLECTION_NAME.fullmatch(name):
        raise InvalidInput(
            f"collection name {name!r}: use 1 to 128 letters, digits, _ . -, beginning with a letter or digit"
        )
    return name
