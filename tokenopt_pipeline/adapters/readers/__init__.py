"""Readers: one file's bytes become typed blocks, or one clear reason why they cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import MappingProxyType

from tokenopt_pipeline.domain.documents import ReadDocument, SourceType
from tokenopt_pipeline.domain.errors import DocumentUnreadable

__all__ = ["MAX_FILE_BYTES", "SUFFIXES", "read_document", "refuse_by_size", "source_type_of"]

#: The largest file that is read. Above it a file is more likely a dump than a document somebody wrote.
MAX_FILE_BYTES = 100_000_000

#: File suffix in lower case, with its dot -> the format read from such a file.
SUFFIXES: Mapping[str, SourceType] = MappingProxyType(
    {
        ".md": SourceType.MARKDOWN,
        ".markdown": SourceType.MARKDOWN,
        ".txt": SourceType.TEXT,
        ".text": SourceType.TEXT,
        ".html": SourceType.HTML,
        ".htm": SourceType.HTML,
        ".docx": SourceType.DOCX,
        ".pdf": SourceType.PDF,
        ".jsonl": SourceType.BLOCKS,
    }
)

_FORMAT_NAMES: Mapping[SourceType, str] = MappingProxyType(
    {
        SourceType.MARKDOWN: "Markdown file",
        SourceType.TEXT: "text file",
        SourceType.HTML: "HTML file",
        SourceType.DOCX: "Word document",
        SourceType.PDF: "PDF",
        SourceType.BLOCKS: "file of blocks",
    }
)


def refuse_by_size(name: str, n_bytes: int) -> None:
    """Called with the size alone, so that an oversized file is never read into memory."""
    if n_bytes == 0:
        raise DocumentUnreadable(name, "the file is empty (0 bytes)")
    if n_bytes > MAX_FILE_BYTES:
        raise DocumentUnreadable(name, f"the file has {n_bytes:,} bytes; the limit is {MAX_FILE_BYTES:,} bytes")


def source_type_of(name: str) -> SourceType:
    """The format a file's suffix promises; the suffix is compared without regard to case."""
    suffix = PurePath(name).suffix.lower()
    if suffix not in SUFFIXES:
        found = f"the suffix {suffix!r} is not one that can be read" if suffix else "the file name has no suffix"
        raise DocumentUnreadable(name, f"{found}; readable are {', '.join(SUFFIXES)}")
    return SUFFIXES[suffix]


def read_document(name: str, content: bytes, source_type: SourceType | None = None) -> ReadDocument:
    """Cut one file into blocks. `source_type` overrides what the suffix says.

    Raises DocumentUnreadable, and nothing else, for every file that cannot be read.
    """
    refuse_by_size(name, len(content))
    if source_type is None:
        source_type = source_type_of(name)
    reader = _reader_of(source_type)
    try:
        return reader(name, content)
    except DocumentUnreadable:
        raise
    # The one door: a broken file surfaces in the parsers as KeyError, ValueError, struct.error, RecursionError
    # and whatever the next release invents. None of them is an answer to the person who gave us the file.
    except Exception as error:
        cause = " ".join(str(error).split())[:200]
        detail = f"{type(error).__name__}: {cause}" if cause else type(error).__name__
        reason = f"the {_FORMAT_NAMES[source_type]} is damaged or malformed ({detail})"
        raise DocumentUnreadable(name, reason) from error


def _reader_of(source_type: SourceType) -> Callable[[str, bytes], ReadDocument]:
    # Imported on use: reading Markdown must not cost the import of a PDF engine, nor need it installed.
    match source_type:
        case SourceType.MARKDOWN:
            from tokenopt_pipeline.adapters.readers.markdown import read_markdown as reader
        case SourceType.TEXT:
            from tokenopt_pipeline.adapters.readers.text import read_text as reader
        case SourceType.HTML:
            from tokenopt_pipeline.adapters.readers.html import read_html as reader
        case SourceType.DOCX:
            from tokenopt_pipeline.adapters.readers.docx import read_docx as reader
        case SourceType.PDF:
            from tokenopt_pipeline.adapters.readers.pdf import read_pdf as reader
        case SourceType.BLOCKS:
            from tokenopt_pipeline.adapters.readers.blocks import read_blocks as reader
    return reader
