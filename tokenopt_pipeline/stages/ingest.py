"""Ingest: a file becomes a document and its typed blocks."""

from __future__ import annotations

from datetime import datetime

from tokenopt_pipeline.domain.documents import IngestOutcome, document_id
from tokenopt_pipeline.domain.prompts import as_sent
from tokenopt_pipeline.ports import CollectionStore, Readers, Tokenizer


def ingest_source(
    source_name: str,
    content: bytes,
    *,
    collection: str,
    read: Readers,
    tokenizer: Tokenizer,
    store: CollectionStore,
    now: datetime,
) -> IngestOutcome:
    """Reads one file into the collection. The same bytes under the same name change nothing.

    Raises DocumentUnreadable, with nothing written.
    """
    document = read(source_name, content)
    content_id = document_id(document.source_type, document.reader_version, content)
    # Counted as a request will carry it, with quotes and line ends escaped. Counting is the dear part, and known bytes
    # have their counts.
    known = store.knows(content_id)
    counts = (
        [0] * len(document.blocks) if known else [tokenizer.count(as_sent(block.text)) for block in document.blocks]
    )
    return store.add_document(
        collection=collection,
        source_name=source_name,
        content_id=content_id,
        n_bytes=len(content),
        document=document,
        token_counts=counts,
        now=now,
    )
