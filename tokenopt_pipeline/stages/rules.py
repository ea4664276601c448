"""Rules: what a tool finds in the references of a run, and in no others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

from tokenopt_pipeline.domain.indexes import lenders_of
from tokenopt_pipeline.domain.run_views import FoundRule, RuleFindings, no_index
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.ports import ChunkSearch, ReferenceReading
from tokenopt_pipeline.stages.retrieve import Hit, Query, Retrieval


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRules:
    """`ports.RuleSearch` over the indexes that the run was planned with. Safe for several threads."""

    #: Keeps rule books and embedders between searches; what it searches is replaced.
    retrieval: Retrieval
    #: Opens what a single search reads from.
    session: Callable[[], AbstractContextManager[tuple[ReferenceReading, ChunkSearch]]]

    def search(self, run: Run, query: str, *, limit: int) -> RuleFindings:
        """At most `limit` rules, the best of each reference first."""
        found: list[list[FoundRule]] = []
        with self.session() as (references, search):
            retrieval = replace(self.retrieval, search=search)
            together = []
            for reference in run.knowledge.references:
                served = references.serving(reference.name)
                standing = reference.standing(served)
                if served is not None and standing is not None and not standing.is_stale:
                    together.append(served)
            for index in together:
                # As packs are searched for, so that what the probes measured holds here too.
                asked = retrieval.lent(Query(text=query), lenders_of(index, together))
                hits = retrieval.hits(index, asked, k=limit) if query.strip() else []
                found.append([_rule(index.name, hit) for hit in hits])
        if not found:
            return no_index(run.schema)
        merged = [rule for rule in chain.from_iterable(zip_longest(*found)) if rule is not None]
        return RuleFindings(rules=tuple(merged[:limit]), message="" if merged else "Nothing was found.")


def _rule(reference: str, hit: Hit) -> FoundRule:
    chunk = hit.chunk
    return FoundRule(
        rule_id=f"{chunk.source_name}#{chunk.chunk_no}", reference=reference, text=chunk.passage, score=hit.ranked.score
    )
