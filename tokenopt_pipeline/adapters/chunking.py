"""Files of a reference: Markdown, text, HTML and whatever else can be read become sections by heading, rule sets by rule."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath

from tokenopt_pipeline.adapters import rule_sets
from tokenopt_pipeline.adapters.readers import SUFFIXES as DOCUMENT_SUFFIXES
from tokenopt_pipeline.adapters.readers import read_document, refuse_by_size
from tokenopt_pipeline.adapters.source_files import content_of
from tokenopt_pipeline.domain.documents import BlockType, ReadBlock, ReadDocument, SourceType
from tokenopt_pipeline.domain.errors import DocumentUnreadable
from tokenopt_pipeline.domain.references import ReferenceSource, Section

#: Suffixes of files that can be part of a reference.
SUFFIXES = (
    *(suffix for suffix, kind in DOCUMENT_SUFFIXES.items() if kind is not SourceType.BLOCKS),
    *rule_sets.SUFFIXES,
)

_PICTURE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_LEFT_OUT = frozenset({BlockType.DIVIDER, BlockType.PAGE_HEADER, BlockType.PAGE_FOOTER})


def read_sources(files: Mapping[str, Path]) -> list[ReferenceSource]:
    """The sections of each named file, in the given order.

    Raises DocumentUnreadable for the first that cannot be read: half a reference would be searched as if it were whole.
    """
    return [read_reference(name, content_of(name, path)) for name, path in files.items()]


def read_reference(name: str, content: bytes) -> ReferenceSource:
    """One file's sections, in its order. `name` is what the source is called in its reference.

    Raises DocumentUnreadable, and nothing else, for a file that cannot be read or holds no text.
    """
    refuse_by_size(name, len(content))
    content_id = hashlib.sha256(content).hexdigest()
    if PurePath(name).suffix.lower() in rule_sets.SUFFIXES:
        sections, notes = rule_sets.read_rules(name, content)
        return ReferenceSource(name=name, content_id=content_id, title=None, sections=sections, notes=notes)
    document = read_document(name, content)
    sections = tuple(_sections(document))
    if not sections:
        raise DocumentUnreadable(name, "there is no text in it")
    title = None if document.title is None else _plain(document.title)
    return ReferenceSource(name=name, content_id=content_id, title=title, sections=sections)


def _sections(document: ReadDocument) -> Iterator[Section]:
    """What stands under each heading. A heading with nothing under it is a section of its own words, if it is alone."""
    above: list[tuple[int, str]] = []
    held: list[str] = []
    found = False
    for block in document.blocks:
        if block.type is BlockType.HEADING:
            if held:
                yield Section(heading=_path(above, document.title), text=_joined(held))
                held, found = [], True
            level = _level(block)
            above = [*((each, text) for each, text in above if each < level), (level, _plain(block.text))]
        elif block.type not in _LEFT_OUT and (text := _text(block)):
            held.append(text)
    if held or (not found and above):
        yield Section(heading=_path(above, document.title), text=_joined(held) or above[-1][1])


def _path(above: list[tuple[int, str]], title: str | None) -> str:
    """The headings above, without the title, which stands beside them."""
    shown = None if title is None else _plain(title)
    return " > ".join(text for _, text in above if text and text != shown)


def _level(block: ReadBlock) -> int:
    level = block.locator.get("level")
    return level if isinstance(level, int) else 1


def _text(block: ReadBlock) -> str:
    text = _plain(block.text) if block.type is not BlockType.CODE_BLOCK else block.text.strip()
    return f"- {text}" if block.type is BlockType.LIST_ITEM and text else text


def _joined(held: list[str]) -> str:
    parts = [text if text.startswith("- ") and nth else "\n" + text for nth, text in enumerate(held)]
    return "\n".join(parts).strip()


def _plain(text: str) -> str:
    """Markdown without where its links lead, which is of no use to whom it is shown to."""
    return _LINK.sub(r"\1", _PICTURE.sub(r"\1", text)).strip()
