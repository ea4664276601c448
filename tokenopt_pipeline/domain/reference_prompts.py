"""References as requests carry them: whole at the end of the shared prefix, or found passages right after it."""

from __future__ import annotations

from collections.abc import Sequence

_WHOLE = """

## References
The instructions rely on these references. Each stands whole between its marks."""

_FOUND = """## References
The instructions rely on references. What of them concerns the blocks of this request stands between the marks."""

#: Our tokenizer's count of the words and marks around found passages, rarely exceeded.
FOUND_OVERHEAD_TOKENS = 48


def whole_reference(name: str, text: str) -> str:
    """One reference whole."""
    return f'\n<reference name="{name}">\n{_inside(text)}\n</reference>'


def with_references(system: str, wholes: Sequence[str]) -> str:
    """The shared prefix with references whole, each made by `whole_reference`; without one, the prefix as it is."""
    return "".join((system, _WHOLE, *wholes)) if wholes else system


def found_references(passages: Sequence[str]) -> str:
    """Found passages as one part of a request that follows the shared prefix; empty without any."""
    if not passages:
        return ""
    return "\n".join((_FOUND, "<found>", _inside("\n\n".join(passages)), "</found>"))


def _inside(text: str) -> str:
    """A text that cannot end the marks around it."""
    return text.replace("</reference", "<\\/reference").replace("</found", "<\\/found")
