"""Which chunks say most of a query's words, from the postings of those words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: BM25's k1 + 1: what a word comes to at most, in its information.
_MOST = 2.2
#: Bytes before the first element of an array as Postgres sends it, and before each element.
_ARRAY_HEAD, _ELEMENT_HEAD = 20, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedWord:
    """A word of a query, and its postings in an index."""

    #: How often the query has it.
    times: int
    #: In how many chunks it stands.
    df: int
    #: `int4[]` of chunk numbers, ascending, and `float4[]` of their weights, as Postgres sends arrays; None: not looked up.
    chunk_nos: bytes | None
    weights: bytes | None


def best_by_words(words: Iterable[AskedWord], *, n_chunks: int, n: int) -> list[tuple[int, float]]:
    """The n chunks with the highest sums of weight times information, as (number, share of what they could be at most).

    Chunks are numbered from 1 to `n_chunks`. The best come first, equal ones by number.
    """
    # Only who searches by words waits for the library.
    import numpy as np

    scores = np.zeros(n_chunks + 1)
    possible = 0.0
    for word in words:
        information = word.times * math.log(1 + (n_chunks - word.df + 0.5) / (word.df + 0.5))
        possible += information * _MOST
        if word.chunk_nos is not None and word.weights is not None:
            # A word stands once in each of its chunks, so that no number comes twice.
            scores[elements(word.chunk_nos, ">i4")] += information * elements(word.weights, ">f4").astype(np.float64)
    some = np.flatnonzero(scores)
    if n < len(some):
        least = np.partition(scores[some], -n)[-n]
        some = some[scores[some] >= least]
    best = some[np.lexsort((some, -scores[some]))][:n]
    return [(int(number), float(scores[number]) / possible) for number in best]


def elements(sent: bytes, kind: str) -> np.ndarray:
    """The numbers of a one-dimensional array without nulls, of four bytes each."""
    import numpy as np

    assert len(sent) > _ARRAY_HEAD  # a word that is in no chunk has no row
    return np.frombuffer(sent, np.dtype(kind), offset=_ARRAY_HEAD)[_ELEMENT_HEAD // 4 :: 2]
