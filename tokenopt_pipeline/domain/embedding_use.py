"""What a vendor is asked and paid for vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal


@dataclass(slots=True, kw_only=True)
class EmbeddingUse:
    """One request, while it is made."""

    #: What the vendor says it bills; None: it says nothing, or has not answered.
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingBill:
    """What was billed for vectors so far."""

    requests: int = 0
    tokens: int = 0
    #: None when something has no known price.
    usd: Decimal | None = Decimal(0)

    def plus(self, tokens: int, usd: Decimal | None, *, requests: int = 1) -> EmbeddingBill:
        """With one more request, or so many."""
        total = None if self.usd is None or usd is None else self.usd + usd
        return EmbeddingBill(requests=self.requests + requests, tokens=self.tokens + tokens, usd=total)

    def less(self, before: EmbeddingBill) -> EmbeddingBill:
        """What came after an earlier bill."""
        spent = None if self.usd is None or before.usd is None else self.usd - before.usd
        return EmbeddingBill(requests=self.requests - before.requests, tokens=self.tokens - before.tokens, usd=spent)


def is_vendors(embedder: str) -> bool:
    """Whether somebody may be paid for its vectors; others are made on this machine."""
    return "/" in embedder


def tokens_at_most(texts: Sequence[str]) -> int:
    """No vendor's tokenizer makes more of them than they have bytes, and two for where each begins and ends."""
    return sum(len(text.encode()) + 2 for text in texts)
