"""Text as Postgres can keep it."""

from __future__ import annotations


def storable(text: str) -> str:
    """The text with a stand-in for what Postgres cannot keep: NUL, and halves of surrogate pairs, which have no UTF-8."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def storable_or_none(text: str | None) -> str | None:
    """The same where there may be no text."""
    return None if text is None else storable(text)
