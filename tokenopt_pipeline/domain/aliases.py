"""Aliases: short names that still remind of what they stand for, no two alike."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

# Shorter ones cost a token or two already.
_SHORT_ENOUGH = 3
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def aliases_of(names: Iterable[str], *, taken: Collection[str] = ()) -> Mapping[str, str]:
    """Name -> alias, for every name in order; a name that has no shorter one is its own.

    No alias is another name, another alias or one of `taken`, whatever the letters' case: whoever reads an alias or a name
    knows which it is. The initials of several words (`liability_cap` -> `lc`), the beginning of one (`party` -> `p`).
    """
    names = list(names)
    used = {name.lower() for name in (*names, *taken)}
    aliases = {}
    for name in names:
        alias = name
        if len(name) > _SHORT_ENOUGH:
            alias = next((c for c in _candidates(name) if c not in used and len(c) < len(name)), name)
        used.add(alias.lower())
        aliases[name] = alias
    return aliases


def _candidates(name: str) -> Iterable[str]:
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return
    initials = "".join(word[0] for word in words)
    yield initials
    yield from (initials + words[-1][1:end] for end in range(2, len(words[-1])))
    yield from (f"{initials}{i}" for i in range(2, 100))
