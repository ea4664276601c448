"""A workload's reference put into an index, as `tokenopt index build` does it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.chunking import SUFFIXES, read_sources
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline.adapters.source_files import find_sources
from tokenopt_pipeline.domain.policy import RetrievalPolicy
from tokenopt_pipeline.domain.probes import Probe
from tokenopt_pipeline.measuring.asking import REFERENCE
from tokenopt_pipeline.settings import Settings

_TITLE = re.compile(r"^title:\s*(.+)$", re.MULTILINE)
_FOLDER = "guide"


def build_guide(
    connection: Connection, settings: Settings, files: Mapping[str, str], retrieval: RetrievalPolicy
) -> None:
    """Builds the index, measured on the pages' own titles: without probes no search would ever be trusted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / _FOLDER
        folder.mkdir()
        for file, text in files.items():
            (folder / file).write_text(text, "utf-8")
        assembly.indexing_on(connection, settings, embedder=retrieval.embedder).build(
            REFERENCE,
            read_sources(find_sources([folder], SUFFIXES)),
            list(title_probes(files)),
            chunk_tokens=retrieval.chunk_tokens,
            k=retrieval.k,
            recall_gate=retrieval.recall_gate,
            now=SystemClock().now(),
        )


def title_probes(files: Mapping[str, str]) -> Iterator[Probe]:
    """A page's title should find the page."""
    for file, text in files.items():
        if stated := _TITLE.search(text):
            yield Probe(query=stated[1].strip("\"' "), relevant=(f"{_FOLDER}/{file}",))
