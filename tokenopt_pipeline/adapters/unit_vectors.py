"""What every vendor's embeddings are asked for and checked with: texts in requests, vectors of length 1."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tokenopt_pipeline.domain.errors import ProviderUnavailable

# Below every vendor's own limits (100 texts at Google, 2,048 texts and 300,000 tokens at OpenAI; as read in 2026-11).
_MOST_TEXTS = 64
_MOST_CHARS = 250_000


def in_requests(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """The texts in order, as many together as one request may hold; a longer text goes alone."""
    held: list[str] = []
    chars = 0
    for text in texts:
        if held and (len(held) == _MOST_TEXTS or chars + len(text) > _MOST_CHARS):
            yield held
            held, chars = [], 0
        held.append(text)
        chars += len(text)
    if held:
        yield held


def unit_vectors(name: str, vectors: Sequence[Sequence[float]], *, n: int, dimension: int) -> list[list[float]]:
    """The vectors at length 1. Raises ProviderUnavailable when they are not n vectors of that dimension."""
    if len(vectors) != n:
        raise ProviderUnavailable(f"{name}: {len(vectors)} vectors came back for {n} texts")
    units = []
    for vector in vectors:
        if len(vector) != dimension:
            raise ProviderUnavailable(f"{name}: a vector of {len(vector)} numbers came back, {dimension} were expected")
        length = math.sqrt(math.fsum(number * number for number in vector))
        if not math.isfinite(length) or length == 0:
            raise ProviderUnavailable(f"{name}: a vector without direction came back")
        units.append([number / length for number in vector])
    return units
