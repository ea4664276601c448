"""The BM25 that retrieval must beat: Okapi with k1 = 1.2 and b = 0.75 over lower-case words, in memory, no stemming."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping

_WORD = re.compile(r"[a-z0-9]+")
_K1, _B = 1.2, 0.75


class Bm25Floor:
    """Okapi BM25 over whole documents."""

    def __init__(self, documents: Mapping[str, str]) -> None:
        counts = {name: Counter(_WORD.findall(text.lower())) for name, text in documents.items()}
        lengths = {name: sum(words.values()) for name, words in counts.items()}
        mean = sum(lengths.values()) / len(lengths)
        self._postings: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for name, words in counts.items():
            for word, tf in words.items():
                weight = tf * (_K1 + 1) / (tf + _K1 * (1 - _B + _B * lengths[name] / mean))
                self._postings[word].append((name, weight))
        self._n = len(documents)

    def search(self, query: str, n: int = 100) -> list[str]:
        """The first n documents; ties in the order of their names."""
        scores: dict[str, float] = defaultdict(float)
        for word in _WORD.findall(query.lower()):
            found = self._postings.get(word, [])
            information = math.log(1 + (self._n - len(found) + 0.5) / (len(found) + 0.5))
            for name, weight in found:
                scores[name] += information * weight
        return sorted(scores, key=lambda name: (-scores[name], name))[:n]
