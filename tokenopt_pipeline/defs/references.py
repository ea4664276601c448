"""The references that schemas rely on, as one unpartitioned asset with its checks."""

# No postponed annotations here: Dagster reads the types of context and resources from the function itself.

from pathlib import Path

import dagster as dg
from pydantic import Field

from tokenopt_pipeline.adapters.chunking import SUFFIXES, read_sources
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.files import load_probes
from tokenopt_pipeline.adapters.source_files import find_sources
from tokenopt_pipeline.defs.resources import StraightLine
from tokenopt_pipeline.domain.indexes import IndexOutcome, ServedIndex
from tokenopt_pipeline.domain.policy import RetrievalPolicy


class ReferenceConfig(dg.Config):
    """One reference: what it is called and where its files are."""

    name: str
    #: Files and folders on the machine that Dagster runs on.
    paths: list[str]
    #: A JSONL file of probes; none: the index is not measured, and a schema marked eligible gets the reference whole.
    probes: str | None = None
    #: Other references, indexed before it, whose rules lend words to its probes as they do in runs of a schema that names them all.
    rules: list[str] = Field(default_factory=list)


class ReferenceIndexConfig(dg.Config):
    """Which references to index, and with what."""

    references: list[ReferenceConfig] = Field(default_factory=list)
    embedder: str = RetrievalPolicy().embedder
    chunk_tokens: int = RetrievalPolicy().chunk_tokens
    k: int = RetrievalPolicy().k
    budget_tokens: int = RetrievalPolicy().budget_tokens
    recall_gate: float = RetrievalPolicy().recall_gate


@dg.asset(group_name="references", kinds={"postgres"}, owners=["team:extraction"])
def reference_index(
    context: dg.AssetExecutionContext, config: ReferenceIndexConfig, straight_line: StraightLine
) -> dg.MaterializeResult[None]:
    """Every configured reference indexed and serving; what has not changed is left as it is."""
    metadata: dict[str, int | str | dg.MetadataValue] = {"references": len(config.references)}
    indexing = straight_line.indexing(config.embedder)
    outcomes = []
    for reference in config.references:
        sources = read_sources(find_sources([Path(path) for path in reference.paths], SUFFIXES))
        outcome = indexing.build(
            reference.name,
            sources,
            [] if reference.probes is None else load_probes(Path(reference.probes)),
            chunk_tokens=config.chunk_tokens,
            k=config.k,
            budget_tokens=config.budget_tokens,
            recall_gate=config.recall_gate,
            now=SystemClock().now(),
            rules=reference.rules,
        )
        outcomes.append(outcome)
        for note in outcome.notes:
            context.log.warning("%s", note)
        metadata[reference.name] = dg.MetadataValue.json(_shown(outcome))
    for total, count in (
        ("chunks", sum(o.index.n_chunks for o in outcomes)),
        ("embedded", sum(o.embedded for o in outcomes)),
        ("reused", sum(o.reused for o in outcomes)),
    ):
        metadata[total] = count
    return dg.MaterializeResult(metadata=metadata)


def _shown(outcome: IndexOutcome) -> dict[str, int | float | str | None]:
    return {
        "chunks": outcome.index.n_chunks,
        "rules": outcome.index.n_rules,
        "embedded": outcome.embedded,
        "reused": outcome.reused,
        "embedding_tokens": outcome.bill.tokens,
        "embedding_usd": None if outcome.bill.usd is None else float(outcome.bill.usd),
        "embedder": outcome.index.embedder,
        "dimension": outcome.index.dimension,
        "digest": outcome.index.recipe_digest,
    }


@dg.asset_check(asset=reference_index, description="Every registered reference has an index of its sources.")
def indexes_match_their_sources(straight_line: StraightLine) -> dg.AssetCheckResult:
    indexes = _indexes(straight_line)
    missing = sorted(name for name, index in indexes.items() if index is None)
    stale = sorted(name for name, index in indexes.items() if index is not None and index.is_stale)
    return dg.AssetCheckResult(
        passed=not missing and not stale,
        metadata={"references": len(indexes), "without_index": ", ".join(missing), "stale": ", ".join(stale)},
    )


@dg.asset_check(
    asset=reference_index, description="Every index that has probes reaches the recall gate on unseen ones."
)
def recall_is_above_its_gate(straight_line: StraightLine) -> dg.AssetCheckResult:
    gate = RetrievalPolicy().recall_gate
    measured = {
        name: index.calibration
        for name, index in _indexes(straight_line).items()
        if index is not None and index.calibration is not None
    }
    below = sorted(name for name, found in measured.items() if found.recall is None or found.recall < gate)
    return dg.AssetCheckResult(
        passed=not below,
        metadata={
            "gate": gate,
            "measured": len(measured),
            "probes": sum(found.n for found in measured.values()),
            "below_gate": ", ".join(below),
            **{f"recall {name}": found.recall for name, found in measured.items() if found.recall is not None},
        },
    )


def _indexes(straight_line: StraightLine) -> dict[str, ServedIndex | None]:
    """Reference -> the index that serves it; None: there is none."""
    references = straight_line.references
    return {name: references.serving(name) for name in references.names()}


REFERENCE_CHECKS = [indexes_match_their_sources, recall_is_above_its_gate]
