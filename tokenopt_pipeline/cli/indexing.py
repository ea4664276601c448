"""`tokenopt index`: references made searchable, searched, listed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from tokenopt_pipeline.cli.exits import DONE, contract
from tokenopt_pipeline.cli.figures import bill_document, dollars
from tokenopt_pipeline.domain.errors import NotFound
from tokenopt_pipeline.domain.indexes import ServedIndex, lenders_of

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON object on stdout.")


@click.group(short_help="References made searchable: build, search, list.")
def index() -> None:
    """References made searchable: style guides, rule sets, glossaries that a schema's instructions rely on."""


@index.command(short_help="Index files under a name.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", required=True, help="What schemas call the reference: a-z, 0-9, _ and -.")
@click.option(
    "--embedder",
    metavar="NAME",
    help="auto (default), none, minilm, openai/MODEL, google/MODEL, custom/MODEL:DIMENSION.",
)
@click.option(
    "--probes",
    type=click.Path(path_type=Path),
    help='JSONL of {"query": …, "relevant": [file names]}: measures the index and calibrates when it is trusted.',
)
@click.option(
    "--rules",
    multiple=True,
    metavar="NAME",
    help="Another reference whose rules explain the probes, as in runs of a schema that names both.",
)
@click.option(
    "--policy",
    metavar="FILE",
    help="A YAML file of policy settings; its section retrieval counts, and prices under models.",
)
@click.option("--set", "settings", multiple=True, metavar="retrieval.KEY=VALUE", help="One policy setting.")
@_AS_JSON
@contract
def build(
    *,
    paths: tuple[Path, ...],
    name: str,
    embedder: str | None,
    probes: Path | None,
    rules: tuple[str, ...],
    policy: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> int:
    """Cut files (.md .txt .html .docx .pdf, .yml of rules) into chunks by heading or rule, embed them, index them.

    A new index is built beside the serving one and takes over at once; killed, it goes on where it was, and no passage
    is embedded twice. The same files again do nothing. A file that cannot be read stops the build: half a reference is none.
    """
    from tokenopt_pipeline import assembly
    from tokenopt_pipeline.adapters.chunking import SUFFIXES, read_sources
    from tokenopt_pipeline.adapters.clock import SystemClock
    from tokenopt_pipeline.adapters.files import load_probes, parse_setting, resolve_policy
    from tokenopt_pipeline.adapters.source_files import find_sources
    from tokenopt_pipeline.cli.workspace import open_workspace
    from tokenopt_pipeline.domain.references import check_reference_name

    check_reference_name(name)
    layers = [(f"--set {text}", parse_setting(text)) for text in settings]
    layers += [] if embedder is None else [("--embedder", {"retrieval": {"embedder": embedder}})]
    resolved = resolve_policy(policy, *layers).policy
    retrieval = resolved.retrieval
    asked = [] if probes is None else load_probes(probes)
    sources = read_sources(find_sources(paths, SUFFIXES))
    with open_workspace() as workspace, _progress() as progress:
        indexing = assembly.indexing_on(
            workspace.connection, workspace.settings, embedder=retrieval.embedder, models=resolved.models
        )
        outcome = indexing.build(
            name,
            sources,
            asked,
            chunk_tokens=retrieval.chunk_tokens,
            k=retrieval.k,
            budget_tokens=retrieval.budget_tokens,
            recall_gate=retrieval.recall_gate,
            now=SystemClock().now(),
            rules=rules,
            progress=progress,
        )
    document = {
        **_shown(outcome.index),
        "was_current": outcome.was_current,
        "sources": len(sources),
        "embedded": outcome.embedded,
        "reused": outcome.reused,
        "embedding": bill_document(outcome.bill),
        "notes": list(outcome.notes),
    }
    if as_json:
        _print_json(document)
        return DONE
    done = "current already" if outcome.was_current else f"{outcome.embedded:,} embedded, {outcome.reused:,} reused"
    bill = document["embedding"]
    paid = f"; {bill['tokens']:,} tokens for vectors, {dollars(bill['usd'])}" if bill["requests"] else ""
    click.echo(f"{_line(outcome.index)}; {len(sources):,} files; {done}{paid}")
    for note in outcome.notes:
        click.echo(f"note  {note}", err=True)
    return DONE


@index.command(short_help="Search an index as a block would.")
@click.argument("name")
@click.argument("query")
@click.option("--k", default=8, show_default=True, type=click.IntRange(1, 50), help="Chunks to show.")
@click.option("--block-type", default="paragraph", show_default=True, help="What the text is; rules may ask.")
@click.option(
    "--rules",
    multiple=True,
    metavar="NAME",
    help="Another reference whose rules explain the text and widen the search.",
)
@_AS_JSON
@contract
def search(*, name: str, query: str, k: int, block_type: str, rules: tuple[str, ...], as_json: bool) -> int:
    """Show the chunks that a text needs most: rules that fire on it, sections it names, then the closest by words and meaning."""
    from tokenopt_pipeline import assembly
    from tokenopt_pipeline.cli.workspace import open_workspace
    from tokenopt_pipeline.stages.retrieve import Query

    with open_workspace() as workspace:
        references = assembly.references_on(workspace.connection)
        retrieval = assembly.retrieval_on(workspace.connection, workspace.settings)
        served = _serving(references, name)
        lenders = lenders_of(served, [_serving(references, other) for other in rules])
        asked = retrieval.lent(Query(text=query, block_type=block_type), lenders)
        hits = retrieval.hits(served, asked, k=k)
    if as_json:
        document = [
            {
                "rank": rank,
                "source": hit.chunk.source_name,
                "title": hit.chunk.title,
                "heading": hit.chunk.heading,
                "evidence": hit.ranked.evidence.value,
                "score": round(hit.ranked.score, 6),
                "tokens": hit.chunk.n_tokens,
                "text": hit.chunk.text,
            }
            for rank, hit in enumerate(hits, start=1)
        ]
        _print_json({"name": name, "query": query, "stale": served.is_stale, "hits": document})
        return DONE
    for rank, hit in enumerate(hits, start=1):
        label = " · ".join(part for part in (hit.chunk.source_name, hit.chunk.title, hit.chunk.heading) if part)
        click.echo(f"{rank:>2}  {hit.ranked.evidence.value:<4}  {label}  ({hit.chunk.n_tokens} tokens)")
        click.echo(f"          {' '.join(hit.chunk.text.split())[:160]}")
    return DONE


@index.command("list", short_help="List references and their indexes.")
@_AS_JSON
@contract
def list_(as_json: bool) -> int:
    """List references, their size, the index that serves each and what its probes measured."""
    from tokenopt_pipeline import assembly
    from tokenopt_pipeline.cli.workspace import open_workspace

    with open_workspace() as workspace:
        references = assembly.references_on(workspace.connection)
        found = [(references.find(name), references.serving(name)) for name in references.names()]
    if as_json:
        listed = [
            {
                "name": stored.name,
                "sources": stored.n_sources,
                "tokens": stored.n_tokens,
                "index": None if served is None else _shown(served),
            }
            for stored, served in found
        ]
        _print_json({"references": listed})
        return DONE
    for stored, served in found:
        size = f"{stored.n_sources:,} files, {stored.n_tokens:,} tokens"
        click.echo(f"{stored.name}: no index; {size}" if served is None else f"{_line(served)}; {size}")
    if not found:
        click.echo("no references; `tokenopt index build PATH --name NAME` makes one")
    return DONE


def _serving(references: Any, name: str) -> ServedIndex:
    references.find(name)
    served: ServedIndex | None = references.serving(name)
    if served is None:
        raise NotFound(f"reference {name!r} has no index yet; `tokenopt index build PATH --name {name}` builds it")
    if served.is_stale:
        click.echo(f"note  index {name} is older than its files; build it again", err=True)
    return served


def _shown(served: ServedIndex) -> dict[str, Any]:
    measured = served.calibration
    return {
        "name": served.name,
        "index": served.index_no,
        "digest": served.recipe_digest,
        "chunks": served.n_chunks,
        "sections": served.n_sections,
        "rules": served.n_rules,
        "chunk_tokens": served.chunk_tokens,
        "embedder": served.embedder,
        "dimension": served.dimension,
        "stale": served.is_stale,
        "built_at": served.built_at.isoformat(),
        "probes": None
        if measured is None
        else {
            "unseen": measured.n,
            "trusted": measured.trusted,
            "recall": measured.recall,
            "min_score": None if measured.threshold is None else measured.threshold.score,
            "min_margin": None if measured.threshold is None else measured.threshold.margin,
            "rules": sorted(measured.lent_by),
        },
    }


def _line(served: ServedIndex) -> str:
    embedder = "no embedder" if served.embedder is None else f"{served.embedder}, {served.dimension} dimensions"
    measured = served.calibration
    recall = "—" if measured is None or measured.recall is None else f"{measured.recall:.3f}"
    probes = (
        "not measured" if measured is None else f"recall {recall} on {measured.trusted} of {measured.n} unseen probes"
    )
    if measured is not None and measured.lent_by:
        probes += f" with rules of {', '.join(sorted(measured.lent_by))}"
    stale = ", stale" if served.is_stale else ""
    return f"{served.name}: {served.n_chunks:,} chunks, {served.n_rules:,} rules, {embedder}, {probes}{stale}"


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr for each kind of work, where stderr is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield told


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, ensure_ascii=False))


COMMANDS = (index,)
