"""Answer lengths: how many tokens the answer about one block takes, learnt from what answers were billed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist, fmean, median, pstdev
from typing import Any

#: What is learnt of blocks of any type.
ANY_TYPE = "*"
#: Answers of one model, schema and form that are looked at, the newest ones.
MOST_ANSWERS = 2_000
# Fewer tell nothing. Few tell a mean but no quantile, so their margin is made larger: twice as large for ten, by a tenth for
# a hundred.
_LEAST_ANSWERS, _FEW_ANSWERS = 8, 10
# What an answer says around its entries: `{"results":[]}`, and the tokens of it.
_ENVELOPE_CHARS, ENVELOPE_TOKENS = 14, 4
# A slope has to leave at most so much of the error that a constant leaves; another one fits noise.
_WORTH = 0.9
# Answers about neighbours are alike, so the errors of a pack add up more than those of independent answers would. The share
# of their variance that is taken to be common; nobody measured it, and a larger one only makes packs smaller.
_COMMON = 0.1
# Packs of which the margin is asked; those between are alike.
_SIZES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSample:
    """One answered block. Tokens of the block are our tokenizer's, of the answer those that were billed."""

    block_type: str
    block_tokens: int
    answer_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLength:
    """Expected = base + per_block_token · block tokens. Rarely more than (1 + margin) times that."""

    base: float
    per_block_token: float
    #: Relative; the share of answers above it is the overflow probability it was learnt for.
    margin: float
    #: Answers it was learnt from.
    answers: int

    def expected(self, block_tokens: int) -> float:
        """Mean tokens of the answer about a block of this length. Only means add up over a pack."""
        return max(self.base + self.per_block_token * block_tokens, 1.0)


@dataclass(slots=True)
class LengthSum:
    """The length of several answers together: means add up, margins partly cancel each other."""

    expected: float = 0.0
    _margins: float = 0.0
    _squares: float = 0.0

    def bound_with(self, expected: float, margin: float) -> float:
        """Tokens that these answers and one more rarely exceed together."""
        return _bound(self.expected + expected, self._margins + margin, self._squares + margin * margin)

    @property
    def bound(self) -> float:
        """Tokens that the answers rarely exceed together."""
        return _bound(self.expected, self._margins, self._squares)

    def add(self, expected: float, margin: float) -> None:
        """Adds an answer; `margin` in tokens above what is expected."""
        self.expected += expected
        self._margins += margin
        self._squares += margin * margin


def _bound(expected: float, margins: float, squares: float) -> float:
    return expected + math.sqrt(_COMMON * margins * margins + (1 - _COMMON) * squares)


def learn_lengths(samples: Sequence[AnswerSample], *, overflow_probability: float) -> dict[str, AnswerLength]:
    """Block type -> length, for types with enough answers, and one for all types; empty when they are too few."""
    by_type: dict[str, list[AnswerSample]] = {}
    for sample in samples:
        by_type.setdefault(sample.block_type, []).append(sample)
    by_type[ANY_TYPE] = list(samples)
    return {
        block_type: _length(some, overflow_probability)
        for block_type, some in sorted(by_type.items())
        if len(some) >= _LEAST_ANSWERS
    }


def _length(samples: Sequence[AnswerSample], overflow_probability: float) -> AnswerLength:
    slope = _slope(samples)
    base = fmean(s.answer_tokens - slope * s.block_tokens for s in samples)
    flat = AnswerLength(
        base=fmean(s.answer_tokens for s in samples), per_block_token=0.0, margin=0.0, answers=len(samples)
    )
    line = AnswerLength(base=base, per_block_token=slope, margin=0.0, answers=len(samples))
    shape = line if _error(line, samples) <= _error(flat, samples) * _WORTH else flat
    shape = replace(shape, base=round(shape.base, 3), per_block_token=round(shape.per_block_token, 5))
    expected = [shape.expected(s.block_tokens) for s in samples]
    seen = [float(s.answer_tokens) for s in samples]
    # So few answers may not have shown the rare ones.
    spread = NormalDist().inv_cdf(1 - overflow_probability) * pstdev(a / e for a, e in zip(seen, expected, strict=True))
    needed = [_margin_for(size, expected, seen, overflow_probability) for size in _SIZES if size <= len(samples)]
    margin = max([spread, *needed, 0.0]) * (1 + _FEW_ANSWERS / len(samples))
    # Rounded up: what is exactly at the bound must stay below it.
    return replace(shape, margin=math.ceil(margin * 10_000) / 10_000)


def _margin_for(size: int, expected: Sequence[float], seen: Sequence[float], overflow_probability: float) -> float:
    """The margin with which packs of so many of the answers would have overflown no more often than that.

    Neighbours, which are often of one document, and answers from all over, which are not.
    """
    n = len(seen)
    groups = [range(first, first + size) for first in range(0, n - size + 1, max(size // 2, 1))]
    groups += [range(first, n - size + 1 + first, max(n // size, 1)) for first in range(n // size)] if size > 1 else []
    over = []
    for group in groups:
        means = [expected[i] for i in group]
        spread = math.sqrt(_COMMON * sum(means) ** 2 + (1 - _COMMON) * sum(mean * mean for mean in means))
        over.append((sum(seen[i] for i in group) - sum(means)) / spread)
    over.sort()
    # As many answers as have been seen tell no rarer quantile than their longest.
    return over[min(math.ceil(len(over) * (1 - overflow_probability)), len(over) - 1)]


def _slope(samples: Sequence[AnswerSample]) -> float:
    """Median of the slopes between answers about short and about long blocks; never negative."""
    ordered = sorted(samples, key=lambda s: (s.block_tokens, s.answer_tokens))
    half = len(ordered) // 2
    slopes = [
        (b.answer_tokens - a.answer_tokens) / (b.block_tokens - a.block_tokens)
        for a, b in zip(ordered, ordered[half:], strict=False)
        if b.block_tokens > a.block_tokens
    ]
    return max(median(slopes), 0.0) if slopes else 0.0


def _error(length: AnswerLength, samples: Sequence[AnswerSample]) -> float:
    return fmean(abs(s.answer_tokens - length.expected(s.block_tokens)) for s in samples)


def shares(output_tokens: int, said: Sequence[int], *, chars: int, is_whole: bool) -> tuple[int | None, ...]:
    """The tokens of each entry of an answer, as its share of what was billed; None for a block without an entry.

    `said` has the characters of each entry, `chars` those of the whole text. Ordinals, white space and thoughts before an
    answer are shared out too, what stands around all entries is not; an answer that was cut off keeps what it lost.
    """
    total, shared = sum(said), float(output_tokens)
    if is_whole:
        shared *= 1 - _ENVELOPE_CHARS / max(chars, total + _ENVELOPE_CHARS)
    else:
        total = max(chars, total)
    return tuple(round(shared * each / total) if each else None for each in said)


def lengths_document(lengths: Mapping[str, Mapping[str, AnswerLength]]) -> dict[str, Any]:
    """Model -> block type -> length, as JSON values."""
    return {model: {kind: asdict(length) for kind, length in of.items()} for model, of in lengths.items()}


def parse_lengths(document: Mapping[str, Any]) -> dict[str, dict[str, AnswerLength]]:
    """The lengths behind such a document."""
    return {model: {kind: AnswerLength(**told) for kind, told in of.items()} for model, of in document.items()}
