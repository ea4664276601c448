"""Indexes: a reference made searchable, as it is stored, and what building one came to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from tokenopt_pipeline.domain.embedding_use import EmbeddingBill
from tokenopt_pipeline.domain.probes import Calibration
from tokenopt_pipeline.domain.references import passage
from tokenopt_pipeline.domain.retrieval import IndexStanding
from tokenopt_pipeline.domain.triggers import Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredSource:
    """A source of a reference as it is kept whole."""

    name: str
    content_id: str
    text: str
    n_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReference:
    """A reference as it is registered now."""

    name: str
    sources_digest: str
    n_sources: int
    #: Of all its sources, by our tokenizer.
    n_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedIndex:
    """The index that answers searches of a reference."""

    index_no: int
    name: str
    recipe_digest: str
    chunk_tokens: int
    #: None: full text and rules only.
    embedder: str | None
    dimension: int | None
    n_chunks: int
    n_sections: int
    #: Of the sections, those with a trigger.
    n_rules: int
    built_at: datetime
    #: The sources registered now are not those it was built from.
    is_stale: bool
    calibration: Calibration | None

    @property
    def standing(self) -> IndexStanding:
        """What the safety decision asks of it."""
        return IndexStanding(name=self.name, is_stale=self.is_stale, calibration=self.calibration)


def lenders_of(index: ServedIndex, together: Iterable[ServedIndex]) -> list[ServedIndex]:
    """Of the indexes that are searched together, those whose rules lend words to searches of this one, by name."""
    lending = (other for other in together if other.n_rules and other.index_no != index.index_no)
    return sorted(lending, key=lambda other: other.name)


def lent_by(lenders: Iterable[ServedIndex]) -> dict[str, str]:
    """Name -> recipe digest of indexes that lend."""
    return {lender.name: lender.recipe_digest for lender in lenders}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedChunk:
    """A chunk as an index holds it."""

    chunk_no: int
    source_name: str
    title: str
    heading: str
    text: str
    #: Of the passage.
    n_tokens: int

    @property
    def passage(self) -> str:
        """What a model is shown."""
        return passage(self.title, self.heading, self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedRule:
    """A rule as an index holds it."""

    chunk_no: int
    source_name: str
    heading: str
    #: The first line of its text.
    message: str
    trigger: Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedRules:
    """What of an index has a trigger, and what has none."""

    #: In the order of the index.
    rules: tuple[IndexedRule, ...]
    #: Chunks that no trigger of their section speaks for, or one whose silence says nothing: number -> tokens.
    untold: Mapping[int, int]

    @property
    def untold_tokens(self) -> int:
        """Of all untold chunks."""
        return sum(self.untold.values())

    def decide_within(self, room_tokens: int) -> bool:
        """Whether a block's triggers alone can tell what it needs: whatever they cannot tell about fits into half the room.

        The other half is for the rules that fire.
        """
        return bool(self.rules) and self.untold_tokens * 2 <= room_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOutcome:
    """What building an index came to."""

    index: ServedIndex
    #: An index of the same recipe was serving already; nothing was done.
    was_current: bool
    #: Passages embedded now, and passages whose vectors were known.
    embedded: int
    reused: int
    #: What of the sources could not be made use of, one sentence each.
    notes: tuple[str, ...]
    #: What vendors were paid for vectors, those of the probes included.
    bill: EmbeddingBill
