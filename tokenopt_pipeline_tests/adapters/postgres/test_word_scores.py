"""Chunks are scored by a query's words exactly as BM25 says, best first."""

from __future__ import annotations

import math
import struct

import numpy  # noqa: F401 - so that the first example does not wait for it
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.adapters.postgres.word_scores import AskedWord, best_by_words

_N_CHUNKS = 12
#: Word -> chunk number -> weight, in halves so that sums are exact.
_POSTINGS = st.lists(
    st.dictionaries(st.integers(1, _N_CHUNKS), st.integers(1, 4).map(lambda n: n / 2), max_size=_N_CHUNKS), max_size=5
)


def sent(kind: str, oid: int, numbers: list[float]) -> bytes:
    """An array of four-byte numbers as Postgres sends it."""
    head = struct.pack(">iiiii", 1, 0, oid, len(numbers), 1)
    return head + b"".join(struct.pack(f">i{kind}", 4, number) for number in numbers)


def asked(postings: dict[int, float], *, times: int = 1, is_read: bool = True) -> AskedWord:
    numbers = sorted(postings)
    known = bool(numbers) and is_read
    return AskedWord(
        times=times,
        df=len(numbers),
        chunk_nos=sent("i", 23, list(numbers)) if known else None,
        weights=sent("f", 700, [postings[n] for n in numbers]) if known else None,
    )


def information(df: int) -> float:
    return math.log(1 + (_N_CHUNKS - df + 0.5) / (df + 0.5))


@given(words=_POSTINGS, n=st.integers(1, _N_CHUNKS + 3))
def test_the_best_are_those_that_bm25_says_and_equal_ones_come_by_number(words: list[dict[int, float]], n: int) -> None:
    found = best_by_words([asked(each, times=2) for each in words], n_chunks=_N_CHUNKS, n=n)
    scores = {
        chunk: sum(2 * information(len(each)) * each.get(chunk, 0.0) for each in words)
        for chunk in range(1, _N_CHUNKS + 1)
    }
    possible = sum(2 * information(len(each)) * 2.2 for each in words)
    wanted = sorted((chunk for chunk in scores if scores[chunk] > 0), key=lambda chunk: (-scores[chunk], chunk))[:n]
    assert [chunk for chunk, _ in found] == wanted
    assert all(math.isclose(share, scores[chunk] / possible) for chunk, share in found)


def test_a_word_that_was_not_looked_up_counts_for_what_could_be_reached_and_for_nothing_else() -> None:
    rare, common = {3: 1.0}, dict.fromkeys(range(1, 9), 2.0)
    (best,) = best_by_words([asked(rare), asked(common, is_read=False)], n_chunks=_N_CHUNKS, n=5)
    assert best[0] == 3
    assert math.isclose(best[1], information(1) / (2.2 * (information(1) + information(8))))


def test_a_query_without_a_known_word_finds_nothing() -> None:
    assert best_by_words([asked({})], n_chunks=_N_CHUNKS, n=5) == []
    assert best_by_words([], n_chunks=_N_CHUNKS, n=5) == []
