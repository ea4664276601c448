"""Reader of plain text: paragraphs between blank lines; headings, list items and dividers where they are unmistakable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from tokenopt_pipeline.adapters.readers.decoding import Line, decode_utf8, split_lines
from tokenopt_pipeline.domain.documents import BlockType, ReadBlock, ReadDocument, SourceType

TEXT_READER_VERSION = 1

_RULE = re.compile(r"\s*(?:([-=_*~#+])\1{2,}|([-_*])(?: +\2){2,})\s*")
_BULLET = re.compile(r"\s*(?:[-*+•‣◦▪])\s+(?=\S)")
_NUMBER = re.compile(r"\s*\(?(\d{1,3})[.)]\s+(?=\S)")
_WORD = re.compile(r"[^\W\d_]{3,}")
#: A line in capitals longer than this is shouted prose, not a heading.
_MAX_HEADING_WORDS = 12


def read_text(name: str, content: bytes) -> ReadDocument:
    text = decode_utf8(name, content)
    cutter = _Cutter(text)
    runs = groupby(split_lines(text), key=lambda line: bool(line.text.strip()))
    blocks = [block for filled, run in runs if filled for block in cutter.cut(list(run))]
    return ReadDocument(source_type=SourceType.TEXT, reader_version=TEXT_READER_VERSION, blocks=tuple(blocks))


class _Cutter:
    """Cuts one run of lines without a blank line between them."""

    def __init__(self, text: str) -> None:
        self._text = text

    def cut(self, run: list[Line]) -> Iterator[ReadBlock]:
        rules = [_RULE.fullmatch(line.text) is not None for line in run]
        prose: list[Line] = []
        at = 0
        while at < len(run):
            if not rules[at]:
                prose.append(run[at])
                at += 1
                continue
            underlines = len(prose) == 1 and run[at].text.strip()[0] in "=-~" and not _BULLET.match(prose[0].text)
            if underlines:
                yield self._block(BlockType.HEADING, prose[0], prose[0])
            else:
                yield from self._cut_prose(prose)
                # A rule right above an underlined line is that heading's upper edge.
                if not (not prose and at + 2 < len(run) and rules[at + 2] and not rules[at + 1]):
                    yield self._block(BlockType.DIVIDER, run[at], run[at])
            prose = []
            at += 1
        yield from self._cut_prose(prose)

    def _cut_prose(self, lines: list[Line]) -> Iterator[ReadBlock]:
        starts = _starts_of_list_items(lines)
        if not starts:
            if lines:
                kind = BlockType.HEADING if len(lines) == 1 and _is_in_capitals(lines[0].text) else BlockType.PARAGRAPH
                yield self._block(kind, lines[0], lines[-1])
            return
        first = min(starts)
        if first:
            yield self._block(BlockType.PARAGRAPH, lines[0], lines[first - 1])
        ends = [*sorted(starts)[1:], len(lines)]
        for start, end in zip(sorted(starts), ends, strict=True):
            yield self._block(BlockType.LIST_ITEM, lines[start], lines[end - 1], n_marker=starts[start])

    def _block(self, kind: BlockType, first: Line, last: Line, *, n_marker: int = 0) -> ReadBlock:
        start = first.start + n_marker
        start += len(self._text[start : first.end]) - len(self._text[start : first.end].lstrip())
        end = last.start + len(last.text.rstrip())
        return ReadBlock(type=kind, text=self._text[start:end], locator={"start": start, "end": end})


def _starts_of_list_items(lines: list[Line]) -> dict[int, int]:
    """Index of a line that opens an item -> characters its marker takes. Empty when this is no list."""
    bullets = {index: match.end() for index, line in enumerate(lines) if (match := _BULLET.match(line.text))}
    if bullets:
        return bullets
    numbers = [(index, match) for index, line in enumerate(lines) if (match := _NUMBER.match(line.text))]
    # One number alone may be a numbered clause or a year at a line's start: only 1, 2, … is a list.
    if len(numbers) < 2 or [int(match[1]) for _, match in numbers] != list(
        range(int(numbers[0][1][1]), int(numbers[0][1][1]) + len(numbers))
    ):
        return {}
    return {index: match.end() for index, match in numbers}


def _is_in_capitals(line: str) -> bool:
    stripped = line.strip()
    return (
        stripped.isupper()
        and _WORD.search(stripped) is not None
        and stripped[-1] not in ".,;"
        and len(stripped.split()) <= _MAX_HEADING_WORDS
    )
