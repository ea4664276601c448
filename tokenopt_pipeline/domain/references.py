"""References: the material a schema's instructions rely on, cut into chunks that can be found one by one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.fingerprints import digest, digest_text
from tokenopt_pipeline.domain.triggers import Trigger

#: Changes whenever the same sources would be cut into other chunks, or read with other triggers; part of an index's recipe.
CHUNKING_VERSION = 2

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
# From the kindest cut to the rudest: between paragraphs, lines, sentences, words.
_CUTS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"(?<=[.!?;])\s+"), re.compile(r"\s+"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A rule, or the text under one heading, as a source states it."""

    #: Headings above the text, outermost first, joined by ` > `; a rule's name in words. May be empty.
    heading: str
    #: Markup is the reader's affair: this is what a model would be shown. Never blank.
    text: str
    #: How a block itself tells that it needs this section; None for prose.
    trigger: Trigger | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSource:
    """One file of a reference."""

    #: Unique within its reference; a path below the folder that was named.
    name: str
    #: SHA-256 of the file's bytes, 64 hex digits.
    content_id: str
    #: None when the file states no title.
    title: str | None
    #: In the order of the file.
    sections: tuple[Section, ...]
    #: What could not be made use of, one sentence each.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of one section, small enough to be embedded whole and shown alone."""

    source_name: str
    #: From 1 within its source.
    section_no: int
    title: str
    heading: str
    text: str
    #: Of the passage, by our tokenizer.
    n_tokens: int
    #: Only on a section's first chunk.
    trigger: Trigger | None

    @property
    def passage(self) -> str:
        """What is embedded and shown: the text with the names above it."""
        return passage(self.title, self.heading, self.text)

    @property
    def content_hash(self) -> str:
        """Digest of the passage, 64 hex digits: equal passages are embedded once."""
        return digest_text(self.passage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what an index holds."""

    sources_digest: str
    chunk_tokens: int
    #: Name and dimension of the embedder; None: full text and rules only.
    embedder: str | None
    dimension: int | None
    chunking_version: int = CHUNKING_VERSION

    @property
    def digest(self) -> str:
        """Equal recipes make equal indexes."""
        return digest(
            [self.sources_digest, self.chunk_tokens, self.embedder, self.dimension, self.chunking_version],
        )


def passage(title: str, heading: str, text: str) -> str:
    """A text with the names above it, a line each."""
    return "\n".join(part for part in (title, heading, text) if part)


def whole_text(source: ReferenceSource) -> str:
    """A source as a model is shown it whole: every section under its names."""
    shown = [passage("", section.heading, section.text) for section in source.sections]
    return "\n\n".join([source.title, *shown] if source.title else shown)


def check_reference_name(name: str) -> str:
    """The name itself. Raises InvalidInput unless it is 1 to 64 lower-case letters, digits, `_` and `-`."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"reference name {name!r}: use 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or digit"
        )
    return name


def sources_digest(sources: Sequence[ReferenceSource]) -> str:
    """Digest of names and contents, 64 hex digits; the order of the sources does not count."""
    return digest(sorted((source.name, source.content_id) for source in sources))


def cut_chunks(source: ReferenceSource, *, count: Callable[[str], int], most_tokens: int) -> Iterator[Chunk]:
    """The source's chunks in order: sections whole where they fit, else cut where it hurts least.

    No chunk crosses a section, no chunk's text has more than `most_tokens` unless a single word has, no word is lost.
    """
    for section_no, section in enumerate(source.sections, start=1):
        for nth, text in enumerate(_pieces(section.text.strip(), count, most_tokens)):
            yield Chunk(
                source_name=source.name,
                section_no=section_no,
                title=source.title or "",
                heading=section.heading,
                text=text,
                n_tokens=count(passage(source.title or "", section.heading, text)),
                trigger=section.trigger if nth == 0 else None,
            )


def _pieces(text: str, count: Callable[[str], int], most_tokens: int) -> Iterator[str]:
    """The text in as few pieces as its kindest cuts allow, each filled before the next begins."""
    held = ""
    for part in _small_parts(text, count, most_tokens):
        if held and count((held + part).strip()) > most_tokens:
            yield held.strip()
            held = ""
        held += part
    yield held.strip()


def _small_parts(text: str, count: Callable[[str], int], most_tokens: int, kindness: int = 0) -> Iterator[str]:
    """The text in parts that fit, cut no ruder than each needs."""
    if count(text) <= most_tokens or kindness == len(_CUTS):
        yield text
        return
    for part in _parts(text, _CUTS[kindness]):
        yield from _small_parts(part, count, most_tokens, kindness + 1)


def _parts(text: str, cut: re.Pattern[str]) -> Iterator[str]:
    """The text between cuts, each part with the cut that ends it."""
    start = 0
    for found in cut.finditer(text):
        yield text[start : found.end()]
        start = found.end()
    if start < len(text):
        yield text[start:]
