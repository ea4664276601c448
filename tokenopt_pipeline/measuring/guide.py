"""A workload's reference put into an index, as `tokenopt index build` does it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.chunking import SUFFIXES, read_sources
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline.adapters.source_files import find_sources
from tokenopt_pipeline.domain.policy import RetrievalPolicy
from tokenopt_pipeline.domain.probes import Calibration, Probe
from tokenopt_pipeline.measuring.asking import REFERENCE
from tokenopt_pipeline.settings import Settings

_FOLDER = "guide"


def build_guide(
    connection: Connection,
    settings: Settings,
    files: Mapping[str, str],
    probes: Sequence[tuple[str, str]],
    retrieval: RetrievalPolicy,
) -> Calibration:
    """Builds the index; what its probes measured. Without any, no search would ever be trusted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / _FOLDER
        folder.mkdir()
        for file, text in files.items():
            (folder / file).write_text(text, "utf-8")
        outcome = assembly.indexing_on(connection, settings, embedder=retrieval.embedder).build(
            REFERENCE,
            read_sources(find_sources([folder], SUFFIXES)),
            [Probe(query=query, relevant=(f"{_FOLDER}/{file}",)) for query, file in probes],
            chunk_tokens=retrieval.chunk_tokens,
            k=retrieval.k,
            recall_gate=retrieval.recall_gate,
            now=SystemClock().now(),
        )
    assert outcome.index.calibration is not None  # every workload with a reference has probes
    return outcome.index.calibration
