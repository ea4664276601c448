"""`tokenopt ingest`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.readers import SUFFIXES, read_document
from tokenopt_pipeline.adapters.source_files import content_of, find_sources
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.cli.workspace import Workspace
from tokenopt_pipeline.domain.documents import check_collection_name
from tokenopt_pipeline.domain.errors import DocumentUnreadable
from tokenopt_pipeline.stages.ingest import ingest_source


def ingest_paths(workspace: Workspace, paths: Sequence[Path], *, collection: str, console: Console) -> dict[str, Any]:
    """Ingests files, and of folders every file whose suffix a reader knows; refused files are named and left out.

    Raises InvalidInput when a path does not exist or two files would have one name.
    """
    check_collection_name(collection)
    sources = find_sources(paths, SUFFIXES)
    store, tokenizer, clock = assembly.collections_on(workspace.connection), O200kTokenizer(), SystemClock()
    counts = {"new": 0, "known": 0, "unchanged": 0}
    n_blocks = 0
    refused: list[dict[str, str]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("ingest", total=len(sources))
        for name, path in sources.items():
            try:
                content = content_of(name, path)
                outcome = ingest_source(
                    name,
                    content,
                    collection=collection,
                    read=read_document,
                    tokenizer=tokenizer,
                    store=store,
                    now=clock.now(),
                )
            except DocumentUnreadable as problem:
                refused.append({"name": problem.name, "reason": problem.reason})
                console.print(f"refused  {problem}", markup=False, highlight=False, soft_wrap=True)
            else:
                n_blocks += outcome.n_blocks
                changed = "known" if not outcome.is_new_document else "new"
                counts[changed if outcome.changed_collection else "unchanged"] += 1
            progress.advance(task)
    return {
        "collection": collection,
        "files": len(sources),
        "documents": counts,
        "blocks": n_blocks,
        "refused": refused,
    }
