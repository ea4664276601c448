"""The decoding that all text formats share: UTF-8, no NUL, a byte order mark dropped, lines with their offsets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tokenopt_pipeline.domain.errors import DocumentUnreadable

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LINE_END = re.compile(r"\r\n|\r|\n")


def decode_utf8(name: str, content: bytes) -> str:
    """The text of a file. Offsets in locators count characters of this text, so a dropped mark shifts none."""
    if content.startswith(_UTF16_MARKS):
        raise DocumentUnreadable(name, "the file is UTF-16 text; save it as UTF-8")
    n_mark_bytes = len(_UTF8_MARK) if content.startswith(_UTF8_MARK) else 0
    body = content[n_mark_bytes:]
    nul = body.find(b"\0")
    if nul >= 0:
        raise DocumentUnreadable(
            name, f"NUL byte at byte offset {nul + n_mark_bytes}: this is not a text file, or not UTF-8"
        )
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + n_mark_bytes
        raise DocumentUnreadable(
            name, f"invalid UTF-8 at byte offset {offset} (byte 0x{content[offset]:02x})"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a text."""

    start: int
    #: Exclusive, before the line's end mark.
    end: int
    text: str


def split_lines(text: str) -> list[Line]:
    """Lines at LF, CR and CRLF only: the characters Markdown and editors agree on, unlike `str.splitlines`.

    A text that ends in a line end has no further empty line.
    """
    lines: list[Line] = []
    start = 0
    for mark in _LINE_END.finditer(text):
        lines.append(Line(start=start, end=mark.start(), text=text[start : mark.start()]))
        start = mark.end()
    if start < len(text):
        lines.append(Line(start=start, end=len(text), text=text[start:]))
    return lines


def with_plain_line_ends(text: str) -> str:
    return _LINE_END.sub("\n", text)
