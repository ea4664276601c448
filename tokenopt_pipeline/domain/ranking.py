"""Ranking: what several lists say together about which chunks a block needs, and how sure they are."""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tokenopt_pipeline.domain.triggers import Trigger

#: Damps the weight of first places. Cormack, Clarke, Buettcher: Reciprocal Rank Fusion, SIGIR 2009, which found 60.
RRF_K = 60
#: How many of the first results say what the query means. Rocchio feedback; 3 was best on Cranfield's even queries.
FEEDBACK = 3


class Evidence(StrEnum):
    """Why a chunk is among the hits, the strongest first."""

    #: The rule's own trigger fired on the block.
    RULE = "rule"
    #: Nothing in a block tells whether it needs the chunk, so that every block gets it.
    STANDING = "standing"
    #: Every word of the query stands in the chunk's title and heading.
    NAME = "name"
    #: Words and meaning.
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """How sure a search is of what it found."""

    #: 0 to 1: the best of cosine similarity and the share of the query's information; 1 where triggers say all there is to say.
    score: float
    #: 0 to 1: how far the best hit stands above the first one left out.
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One chunk in a search's result."""

    chunk_no: int
    evidence: Evidence
    #: Of the fused lists; comparable within one result only.
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """What one search of an index came back with. Every list is ordered, the best first, without repeats."""

    #: (chunk number, share of the query's information that the chunk's words hold, 0 to 1).
    words: tuple[tuple[int, float], ...]
    #: (chunk number, cosine similarity); empty without an embedder.
    meaning: tuple[tuple[int, float], ...]
    #: Chunks that are called what the query says, the shortest name first.
    named: tuple[int, ...] = ()
    #: Chunk number -> number of its section, for every chunk of words and meaning; a chunk without one is its own.
    sections: Mapping[int, int] = field(default_factory=dict)


def fuse(*lists: Sequence[int], k: int = RRF_K) -> dict[int, float]:
    """Reciprocal rank fusion: chunk number -> sum over the lists of 1 / (k + rank), rank from 1; the best first."""
    scores: dict[int, float] = {}
    for ranked in lists:
        for rank, chunk_no in enumerate(ranked, start=1):
            scores[chunk_no] = scores.get(chunk_no, 0.0) + 1 / (k + rank)
    return dict(sorted(scores.items(), key=lambda entry: (-entry[1], entry[0])))


def fused(lists: Lists) -> dict[int, float]:
    """Words and meaning fused by section, so that a section's chunks do not compete; its best placed chunk -> score."""
    words, meaning = ([no for no, _ in ranked] for ranked in (lists.words, lists.meaning))
    shown: dict[int, int] = {}
    for pair in itertools.zip_longest(words, meaning):
        for no in pair:
            if no is not None:
                shown.setdefault(lists.sections.get(no, -no), no)
    by_section = fuse(*(list(dict.fromkeys(lists.sections.get(no, -no) for no in each)) for each in (words, meaning)))
    scores = {shown[section]: score for section, score in by_section.items()}
    return dict(sorted(scores.items(), key=lambda entry: (-entry[1], entry[0])))


def rank(lists: Lists, fired: Mapping[int, Trigger], *, most: int, standing: Sequence[int] = ()) -> list[Ranked]:
    """The first `most` chunks: rules that fired, then what the query names, then the rest by the fused lists.

    Rules that fired and `standing` chunks, which come after them, are there even if they are more. Among the fired, the
    rule that its author minds most comes first, then the one whose text is closest.
    """
    scores = fused(lists)
    speaking = sorted(fired, key=lambda no: (-fired[no].severity, -scores.get(no, 0.0), no))
    always = [no for no in standing if no not in fired]
    needed = {*fired, *always}
    named = [no for no in lists.named if no not in needed]
    rest = [no for no in scores if no not in needed and no not in named]
    tiers = ((Evidence.RULE, speaking), (Evidence.STANDING, always), (Evidence.NAME, named), (Evidence.TEXT, rest))
    best = itertools.islice(((evidence, no) for evidence, tier in tiers for no in tier), max(most, len(needed)))
    return [Ranked(chunk_no=no, evidence=evidence, score=scores.get(no, 0.0)) for evidence, no in best]


#: Whatever has a trigger was asked and does not speak, and whatever has none is carried. Surer than any likeness and less sure than a rule that does:
#: whether such silence is trusted is for the probes to say, on which some rule should have spoken.
SILENCE = Confidence(score=1.0, margin=0.0)


#: A trigger has spoken, and whatever has none is carried.
CERTAIN = Confidence(score=1.0, margin=1.0)


def confidence(
    lists: Lists, ranked: Sequence[Ranked], *, untold: Container[int] | None = None, all_asked: bool = False
) -> Confidence:
    """How sure the search is; 0 and 0 when it found nothing.

    `untold`: chunks that no trigger speaks for (None: all). A rule that fires says nothing of them, so that they are judged by
    how like the query they are. `all_asked`: they are all among the ranked.
    """
    if all_asked:
        return CERTAIN if any(hit.evidence is Evidence.RULE for hit in ranked) else SILENCE
    # A name settles nothing: the only word of a short block may stand in a page's heading by chance.
    similar = [max(cosine, 0.0) for no, cosine in lists.meaning if untold is None or no in untold]
    shared = [share for no, share in lists.words if untold is None or no in untold]
    measured = similar or shared
    if not measured:
        return Confidence(score=0.0, margin=0.0)
    carried = sum(untold is None or hit.chunk_no in untold for hit in ranked)
    first_left_out = measured[carried] if carried < len(measured) else 0.0
    return Confidence(
        score=min(max(*similar[:1], *shared[:1], 0.0), 1.0), margin=min(max(measured[0] - first_left_out, 0.0), 1.0)
    )
