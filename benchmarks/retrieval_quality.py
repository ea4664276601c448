"""What retrieval finds on labelled sets, against BM25 and with each of its parts alone.

python -m benchmarks.retrieval_quality [--data DIRECTORY] [--only SET] [--json]

DIRECTORY holds style_rules/, ms_style_guide/ and cranfield/. Everything goes the product's own way: files are read and cut,
embedded, indexed in a real Postgres (an embedded one of its own), searched. A source's rank is that of its first chunk.
What was chosen by looking at figures (three results for feedback, chunks of 400 tokens, titles counting three times) was chosen on the questions whose
id has an even digest; both halves are printed. Guide pages may be explained by the rules (`index search --rules`): a rule
that fires adds its name and message to the search; the link from rule to page, which is the truth here, is not used.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import retrieval_sets
from benchmarks.bm25_floor import Bm25Floor
from benchmarks.retrieval_sets import LabelledSet, Question
from tokenopt_pipeline.adapters.patterns import find
from tokenopt_pipeline.adapters.postgres.connection import Connection, connect
from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
from tokenopt_pipeline.adapters.postgres.passages import PostgresPassages
from tokenopt_pipeline.assembly import indexing_on, open_database
from tokenopt_pipeline.domain.indexes import ServedIndex
from tokenopt_pipeline.domain.policy import RetrievalPolicy
from tokenopt_pipeline.domain.probes import ndcg_at, recall_at
from tokenopt_pipeline.domain.ranking import FEEDBACK, fused
from tokenopt_pipeline.domain.triggers import RuleBook, block_scopes
from tokenopt_pipeline.settings import Settings
from tokenopt_pipeline.stages.index import Indexing
from tokenopt_pipeline.stages.retrieve import LIST_LENGTH, Query, Retrieval

_K_RECALL, _K_NDCG = 5, 10
#: set -> (recall at 5, nDCG at 10) to reach; None: no goal.
GOALS = {"style rules": (0.85, 0.75), "guide pages": (0.50, None), "Cranfield": (None, 0.55)}
#: The same of BM25 as the data's own documentation states them for this half.
FLOORS = {
    "style rules": (0.565, 0.462),
    "guide pages": (0.260, 0.241),
    "guide anchors": (0.889, 0.787),
    "Cranfield": (0.356, 0.512),
}
Ranker = Callable[[Question], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One way of searching on one set."""

    set: str
    way: str
    n: int
    recall_at_5: float
    ndcg_at_10: float
    #: The same on the questions with an even and an odd digest.
    even: tuple[float, float]
    odd: tuple[float, float]


def shared_data() -> Path:
    """The shared public data: below TOKENOPT_SHARED, else next to this repository."""
    return Path(os.environ.get("TOKENOPT_SHARED") or Path(__file__).resolve().parents[2] / "shared") / "data"


@contextmanager
def postgres() -> Iterator[Connection]:
    """A connection to an embedded server of its own, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="tokenopt-bench-", dir="/tmp") as folder:
        home = Path(folder)
        home.chmod(0o711)
        try:
            with connect(open_database(Settings(home=home, database_url=None, vendors={}))) as connection:
                yield connection
        finally:
            EmbeddedServer(home / "postgres").down()


def indexing(connection: Connection) -> Indexing:
    """Building and searching with the embedder of this machine."""
    settings = Settings(home=Path(), database_url=None, vendors={})
    return indexing_on(connection, settings, embedder="minilm")


def built(indexes: Indexing, labelled: LabelledSet) -> ServedIndex:
    """The set as an index."""
    name = labelled.name.lower().replace(" ", "-")
    outcome = indexes.build(
        name,
        labelled.sources,
        [],
        chunk_tokens=RetrievalPolicy().chunk_tokens,
        k=8,
        budget_tokens=RetrievalPolicy().budget_tokens,
        recall_gate=0.95,
        now=datetime.now(UTC),  # noqa: TID251 - a benchmark is an edge
    )
    return outcome.index


def score(labelled: LabelledSet, way: str, rank: Ranker) -> Score:
    """Recall at 5 and nDCG at 10, of all questions and of each half."""
    found = []
    for question in labelled.questions:
        names = rank(question)
        recall = recall_at(names, list(question.gains), _K_RECALL)
        found.append((question.is_even, recall, ndcg_at(names, dict(question.gains), _K_NDCG)))

    def mean(halves: tuple[bool, ...]) -> tuple[float, float]:
        chosen = [(r, g) for even, r, g in found if even in halves]
        return (fmean(r for r, _ in chosen), fmean(g for _, g in chosen)) if chosen else (0.0, 0.0)

    recall, gain = mean((True, False))
    return Score(
        set=labelled.name,
        way=way,
        n=len(found),
        recall_at_5=recall,
        ndcg_at_10=gain,
        even=mean((True,)),
        odd=mean((False,)),
    )


def ways(
    retrieval: Retrieval, search: PostgresPassages, index: ServedIndex, explained: Callable[[str], tuple[str, ...]]
) -> Iterator[tuple[str, Ranker]]:
    """Each part alone, parts together, and the whole."""
    sources = {c.chunk_no: c.source_name for c in search.chunks(index, range(1, index.n_chunks + 1))}
    rules = {rule.chunk_no: rule for rule in search.rules(index).rules}
    book = RuleBook({no: rule.trigger for no, rule in rules.items()})
    assert index.embedder is not None  # built with one
    assert index.dimension is not None  # likewise
    embedder = retrieval.embedder_for(index.embedder, index.dimension)

    def lists(question: Question, *more: str) -> Any:
        asked = "\n".join((question.text, *more))
        vector = embedder.query(asked)
        return vector, search.lists(index, words=asked, name=question.text, vector=vector, n=LIST_LENGTH)

    def named(numbers: Sequence[int]) -> list[str]:
        return [sources[no] for no in numbers]

    def fed_back(question: Question) -> list[str]:
        vector, found = lists(question)
        closer = search.closer(index, found, vector=vector, first=list(fused(found))[:FEEDBACK], n=LIST_LENGTH)
        return named(list(fused(closer)))

    def fired(question: Question) -> list[str]:
        scopes, text = block_scopes("paragraph", question.text)
        firing = book.fire(text, find, scopes=scopes).fired
        return named(sorted(firing, key=lambda no: (-rules[no].trigger.severity, no)))

    def whole(question: Question) -> list[str]:
        query = Query(text=question.text, explained=explained(question.text))
        return named([each.chunk_no for each in retrieval.rank(index, query, k=50).ranked])

    def unexplained(question: Question) -> list[str]:
        return named([each.chunk_no for each in retrieval.rank(index, Query(text=question.text), k=50).ranked])

    yield "full text (BM25 in Postgres)", lambda q: named([no for no, _ in lists(q)[1].words])
    yield "vector", lambda q: named([no for no, _ in lists(q)[1].meaning])
    yield "names", lambda q: named(lists(q)[1].named)
    if rules:
        yield "rule triggers", fired
    yield "full text + vector", lambda q: named(list(fused(lists(q)[1])))
    yield "full text + vector with feedback", fed_back
    if explained("The button is not working."):
        yield "all, not explained by rules", unexplained
    yield "all", whole


def measure(data: Path, only: str | None) -> list[Score]:
    """Every way on every set."""
    scores = []
    with postgres() as connection:
        indexes = indexing(connection)
        retrieval, search = indexes.retrieval, PostgresPassages(connection)
        rule_set = retrieval_sets.rules(data)
        rule_index = built(indexes, rule_set)

        def explained(text: str) -> tuple[str, ...]:
            return retrieval.rank(rule_index, Query(text=text), k=8).explained

        sets = [
            (rule_set, lambda text: ()),
            (retrieval_sets.guide(data, "vale_queries"), explained),
            (retrieval_sets.guide(data, "anchor_queries"), explained),
            (retrieval_sets.cranfield(data), lambda text: ()),
        ]
        for labelled, explain in sets:
            if only not in (None, labelled.name):
                continue
            index = built(indexes, labelled)
            scores.append(score(labelled, "BM25 floor", _floor(labelled)))
            for way, rank in ways(retrieval, search, index, explain):
                scores.append(score(labelled, way, rank))
    return scores


def _floor(labelled: LabelledSet) -> Ranker:
    floor = Bm25Floor(labelled.plain)
    return lambda question: floor.search(question.text)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None, help="default: shared/data beside this repository")
    parser.add_argument("--only", choices=list(FLOORS))
    parser.add_argument("--json", action="store_true", dest="as_json")
    arguments = parser.parse_args()
    scores = measure(arguments.data or shared_data(), arguments.only)
    if arguments.as_json:
        print(json.dumps([{each: getattr(s, each) for each in s.__slots__} for s in scores]))
        return
    print("recorded labels; python -m benchmarks.retrieval_quality; R@5 / nDCG@10, then even and odd half")
    for s in scores:
        print(
            f"{s.set:<14} {s.way:<34} n={s.n:<4} {s.recall_at_5:.3f} / {s.ndcg_at_10:.3f}"
            f"   even {s.even[0]:.3f} / {s.even[1]:.3f}   odd {s.odd[0]:.3f} / {s.odd[1]:.3f}{_verdict(s)}"
        )


def _verdict(s: Score) -> str:
    if s.way == "BM25 floor":
        recall, gain = FLOORS[s.set]
        return f"   documented {recall:.3f} / {gain:.3f}"
    if s.way != "all" or s.set not in GOALS:
        return ""
    wanted = zip(GOALS[s.set], (s.recall_at_5, s.ndcg_at_10), strict=True)
    return "   goal reached" if all(goal is None or got >= goal for goal, got in wanted) else "   GOAL MISSED"


if __name__ == "__main__":
    main()
