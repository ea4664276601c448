"""Contexts: which chunks of a reference one pack carries, each once, within a budget, in an order that caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenopt_pipeline.domain.ranking import Evidence, Ranked

#: A pack that has no room for a chunk of these cannot be trusted.
_NEEDED = frozenset({Evidence.RULE, Evidence.STANDING})


@dataclass(frozen=True, slots=True, kw_only=True)
class PackChunks:
    """The union of what a pack's blocks need."""

    #: Ascending, which is the order of the sources: equal sets make equal text.
    chunk_nos: tuple[int, ...]
    tokens: int
    #: Chunks of rules that fired, that every block gets, or of a block's best hit, for which there was no room. Ascending.
    missed: tuple[int, ...]


def unite(blocks: Sequence[Sequence[Ranked]], n_tokens: Mapping[int, int], *, budget_tokens: int) -> PackChunks:
    """The chunks for a pack: what blocks cannot do without, then every block's second best, third best, until all is used.

    `n_tokens` is chunk number -> tokens as shown. A chunk that does not fit is passed over, a smaller one may follow.
    """
    taken: set[int] = set()
    missed: set[int] = set()
    used = 0
    in_turn = [
        (place > 0 and hits[place].evidence not in _NEEDED, hits[place].chunk_no)
        for place in range(max(map(len, blocks), default=0))
        for hits in blocks
        if place < len(hits)
    ]
    for is_more, chunk_no in sorted(in_turn, key=lambda each: each[0]):
        if chunk_no in taken:
            continue
        if used + n_tokens[chunk_no] <= budget_tokens:
            taken.add(chunk_no)
            used += n_tokens[chunk_no]
        elif not is_more:
            missed.add(chunk_no)
    return PackChunks(chunk_nos=tuple(sorted(taken)), tokens=used, missed=tuple(sorted(missed)))
