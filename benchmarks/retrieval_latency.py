"""How long one search takes at 20,000 and 200,000 chunks, in a real Postgres with HNSW and BM25 in the same index.

python -m benchmarks.retrieval_latency [--chunks N ...] [--data DIRECTORY] [--queries N]

The chunks are made of real sentences (Cranfield, the style guide, the 18F guide), two to four of different chunks each, so
that words are as frequent as in prose; the 223 style rules are among them and are matched in every search. Vectors are those of
1,500 real passages, mixed in pairs with noise. Queries are real. `search` is everything but the query's embedding: rules, words,
names, nearest vectors twice (the second time from the first results), fusion and the texts of the hits; `with embedding` adds
all-MiniLM-L6-v2 on one core. Times are wall clock; mean processor time
and the load average stand beside them, for a busy machine inflates the former only.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from benchmarks import retrieval_sets
from benchmarks.retrieval_quality import postgres, shared_data
from benchmarks.retrieval_sets import eighteen_f
from tokenopt_pipeline.adapters.minilm import MiniLMEmbedder
from tokenopt_pipeline.adapters.patterns import find
from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline.adapters.postgres.passages import PostgresPassages
from tokenopt_pipeline.adapters.postgres.references import PostgresReferences
from tokenopt_pipeline.domain.indexes import ServedIndex
from tokenopt_pipeline.domain.references import Chunk, Recipe, ReferenceSource, cut_chunks
from tokenopt_pipeline.ports import Embedder
from tokenopt_pipeline.stages.retrieve import LIST_LENGTH, Query, Retrieval

#: Chunks -> milliseconds that 95 of 100 searches may take.
GOALS_MS = {20_000: 15.0, 200_000: 30.0}
_REAL_VECTORS = 1_500
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


class Remembered:
    """`ports.Embedder` that has embedded every query before."""

    def __init__(self, vectors: dict[str, Sequence[float]]) -> None:
        self._vectors = vectors

    @property
    def name(self) -> str:
        """The name of whoever embedded them."""
        return "minilm"

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return 384

    def documents(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """The remembered vectors."""
        return [self.query(text) for text in texts]

    def query(self, text: str) -> Sequence[float]:
        """The remembered vector; it is looked up by the first line, which the rules that fire only add to."""
        return self._vectors[text.splitlines()[0]]


def real_chunks(data: Path) -> tuple[list[Chunk], list[Chunk]]:
    """(chunks of prose, chunks of rules)."""

    def cut(sources: Sequence[ReferenceSource]) -> list[Chunk]:
        return [
            chunk
            for source in sources
            for chunk in cut_chunks(source, count=lambda text: len(text.split()), most_tokens=200)
        ]

    prose = [retrieval_sets.cranfield(data), retrieval_sets.guide(data, "vale_queries"), eighteen_f(data)]
    return [chunk for each in prose for chunk in cut(each.sources)], cut(retrieval_sets.rules(data).sources)


def mixed(prose: Sequence[Chunk], n: int, chance: np.random.Generator) -> Iterator[Chunk]:
    """n chunks, each of two to four sentences of different chunks under the name of one of them."""
    sentences = [s for chunk in prose for s in _SENTENCE.split(chunk.text) if len(s.split()) > 4]
    for nth in range(n):
        named = prose[int(chance.integers(len(prose)))]
        picked = [sentences[i] for i in chance.integers(len(sentences), size=int(chance.integers(2, 5)))]
        text = " ".join(picked)
        yield replace(named, source_name=f"s{nth}", section_no=1, text=text, n_tokens=len(text.split()))


def vectors(real: np.ndarray, n: int, chance: np.random.Generator) -> np.ndarray:
    """n vectors of length 1: pairs of real ones, with noise."""
    pairs = real[chance.integers(len(real), size=n)] * 0.7 + real[chance.integers(len(real), size=n)] * 0.3
    made = pairs + chance.standard_normal(pairs.shape) * (0.3 / np.sqrt(real.shape[1]))
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)


def built(connection: Connection, chunks: Sequence[Chunk], made: np.ndarray) -> ServedIndex:
    """The chunks as an index of their own."""
    passages, references = PostgresPassages(connection), PostgresReferences(connection)
    name = f"latency-{len(chunks)}"
    for start in range(0, len(chunks), 5_000):
        part = range(start, min(start + 5_000, len(chunks)))
        passages.keep("minilm", 384, {chunks[i].content_hash: made[i].tolist() for i in part})
    now = datetime.now(UTC)  # noqa: TID251 - a benchmark is an edge
    references.register(name, [], [], sources_digest=name, now=now)
    recipe = Recipe(sources_digest=name, chunk_tokens=200, embedder="minilm", dimension=384)
    return references.publish(name, recipe, chunks, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What searches for 8 chunks took, after one round that warms caches and plans."""

    #: Milliseconds of each, ascending, by the wall clock.
    wall_ms: list[float]
    #: Mean milliseconds of processor time, of this process and of its database backend; a busy machine does not add to it.
    cpu_ms: float


def timed(
    search: PostgresPassages, embedder: Embedder, index: ServedIndex, queries: Sequence[str], backend: psutil.Process
) -> Times:
    """One search after another."""
    retrieval = Retrieval(search=search, embedder_for=lambda name, dimension: embedder, find=find)
    for query in queries:
        retrieval.hits(index, Query(text=query), k=8)
    found = []
    cpu_began = _cpu_s(backend)
    for query in queries:
        began = time.perf_counter()
        retrieval.hits(index, Query(text=query), k=8)
        found.append((time.perf_counter() - began) * 1000)
    return Times(wall_ms=sorted(found), cpu_ms=(_cpu_s(backend) - cpu_began) * 1000 / len(queries))


def _cpu_s(backend: psutil.Process) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in (psutil.Process(), backend))


def report(n: int, way: str, times: Times, *, judged: bool) -> str:
    """One line of the table."""
    found = times.wall_ms
    p95 = found[int(len(found) * 0.95)]
    goal = GOALS_MS.get(n)
    verdict = "" if goal is None or not judged else f"   goal {goal:g} ms {'reached' if p95 <= goal else 'MISSED'}"
    return (
        f"{n:>7,} chunks  {way:<15} n={len(found)}  p50 {median(found):5.1f} ms  p95 {p95:5.1f} ms  processor {times.cpu_ms:5.1f} ms"
        f"   load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores{verdict}"
    )


def main() -> None:
    """Builds and times each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, nargs="+", default=list(GOALS_MS))
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--queries", type=int, default=200)
    arguments = parser.parse_args()
    data = arguments.data or shared_data()
    chance = np.random.default_rng(7)
    prose, rules = real_chunks(data)
    embedder = MiniLMEmbedder()
    step = max(len(prose) // _REAL_VECTORS, 1)
    real = np.array(embedder.documents([chunk.passage for chunk in prose[::step][:_REAL_VECTORS]]), dtype=np.float32)
    sets = [retrieval_sets.rules(data), retrieval_sets.guide(data, "vale_queries"), retrieval_sets.cranfield(data)]
    texts = [question.text for each in sets for question in each.questions]
    queries = list(dict.fromkeys(text for text in texts if text.strip() and "\n" not in text))
    queries = queries[:: max(len(queries) // arguments.queries, 1)][: arguments.queries]
    remembered = Remembered(dict(zip(queries, embedder.documents(queries), strict=True)))
    print(
        f"python -m benchmarks.retrieval_latency; HNSW m=16, ef_construction=64, ef_search=100, halfvec(384); "
        f"lists of {LIST_LENGTH}; {len(rules)} chunks of rules among them"
    )
    with postgres() as connection:
        for n in arguments.chunks:
            chunks = [*rules, *mixed(prose, n - len(rules), chance)]
            began = time.perf_counter()
            index = built(connection, chunks, vectors(real, n, chance))
            print(f"{n:>7,} chunks  built in {time.perf_counter() - began:.0f} s, {index.n_rules} rules", flush=True)
            search, backend = PostgresPassages(connection), psutil.Process(connection.info.backend_pid)
            ways: dict[str, Embedder] = {"search": remembered, "with embedding": embedder}
            for way, use in ways.items():
                print(report(n, way, timed(search, use, index, queries, backend), judged=way == "search"), flush=True)


if __name__ == "__main__":
    main()
