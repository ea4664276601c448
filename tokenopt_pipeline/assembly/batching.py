"""Batches on a connection: the stores, the vendors' batch sides, and the folder that results are downloaded to."""

from __future__ import annotations

from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.anthropic_batches import AnthropicBatches
from tokenopt_pipeline.adapters.batch_files import TemporaryResults
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.google import GoogleProvider
from tokenopt_pipeline.adapters.google_batches import GoogleBatches
from tokenopt_pipeline.adapters.openai import OpenAIProvider
from tokenopt_pipeline.adapters.openai_batches import OpenAIBatches
from tokenopt_pipeline.adapters.postgres.batch_results import PostgresBatchResults
from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches
from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline.ports import BatchProvider, BatchSupply, Clock, Provider
from tokenopt_pipeline.stages.batching import Batching


def batching_on(connection: Connection, supply: BatchSupply, *, clock: Clock | None = None) -> Batching:
    """Batches on a connection that the caller owns."""
    store = PostgresBatches(connection)
    return Batching(
        intents=store,
        primings=store,
        book=store,
        imports=PostgresBatchResults(connection),
        files=TemporaryResults(),
        supply=supply,
        clock=clock or SystemClock(),
    )


def batches_of(provider: Provider | None) -> BatchProvider | None:
    """The batch side of a vendor's adapter; None: it has none."""
    if isinstance(provider, AnthropicProvider):
        return AnthropicBatches(provider)
    if isinstance(provider, OpenAIProvider):
        return OpenAIBatches(provider)
    if isinstance(provider, GoogleProvider):
        return GoogleBatches(provider)
    return None
