"""The files of a reference on disk: found by suffix, named by their folder, read into sections."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tokenopt_pipeline.adapters.chunking import read_reference
from tokenopt_pipeline.adapters.readers import refuse_by_size
from tokenopt_pipeline.domain.errors import DocumentUnreadable
from tokenopt_pipeline.domain.references import ReferenceSource


def read_sources(files: Mapping[str, Path]) -> list[ReferenceSource]:
    """The sections of each named file, in the given order.

    Raises DocumentUnreadable for the first that cannot be read: half a reference would be searched as if it were whole.
    """
    return [read_reference(name, _content(name, path)) for name, path in files.items()]


def _content(name: str, path: Path) -> bytes:
    try:
        refuse_by_size(name, path.stat().st_size)
        return path.read_bytes()
    except OSError as problem:
        raise DocumentUnreadable(name, problem.strerror or "it cannot be read") from problem
