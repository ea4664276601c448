"""Booking around one request for vectors."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from tokenopt_pipeline.domain.embedding_use import EmbeddingUse
from tokenopt_pipeline.ports import EmbeddingLedger


def billed(ledger: EmbeddingLedger | None, embedder: str, texts: Sequence[str]) -> AbstractContextManager[EmbeddingUse]:
    """What the ledger books; without one, nothing."""
    return nullcontext(EmbeddingUse()) if ledger is None else ledger.use(embedder, texts)
