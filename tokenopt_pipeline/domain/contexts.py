"""Contexts: which chunks of a reference one pack carries, each once, within a budget, in an order that caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenopt_pipeline.domain.ranking import Evidence, Ranked


@dataclass(frozen=True, slots=True, kw_only=True)
class PackChunks:
    """The union of what a pack's blocks need."""

    #: Ascending, which is the order of the sources: equal sets make equal text.
    chunk_nos: tuple[int, ...]
    tokens: int
    #: Chunks of rules that fired, or of a block's best hit, for which the budget had no room. Ascending.
    missed: tuple[int, ...]


def unite(blocks: Sequence[Sequence[Ranked]], n_tokens: Mapping[int, int], *, budget_tokens: int) -> PackChunks:
    """The chunks for a pack: every block's best first, then every block's second, until the budget is used.

    `n_tokens` is chunk number -> tokens as shown. A chunk that does not fit is passed over, a smaller one may follow.
    """
    taken: dict[int, None] = {}
    missed: set[int] = set()
    used = 0
    for place in range(max(map(len, blocks), default=0)):
        for hits in blocks:
            if place >= len(hits) or hits[place].chunk_no in taken:
                continue
            hit = hits[place]
            if used + n_tokens[hit.chunk_no] <= budget_tokens:
                taken[hit.chunk_no] = None
                used += n_tokens[hit.chunk_no]
            elif place == 0 or hit.evidence is Evidence.RULE:
                missed.add(hit.chunk_no)
    return PackChunks(chunk_nos=tuple(sorted(taken)), tokens=used, missed=tuple(sorted(missed)))
