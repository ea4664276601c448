"""The labelled sets that retrieval is measured on, read from the shared public data; nothing of them is copied here."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenopt_pipeline.adapters.chunking import read_reference
from tokenopt_pipeline.domain.fingerprints import digest_text
from tokenopt_pipeline.domain.references import ReferenceSource, Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A labelled query."""

    #: Unique within its set; its digest's parity says which half it belongs to.
    id: str
    text: str
    #: Source name -> gain, above 0. What is relevant.
    gains: Mapping[str, float]

    @property
    def is_even(self) -> bool:
        """Which half the question belongs to."""
        return int(digest_text(self.id)[0], 16) % 2 == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSet:
    """A reference and questions about it."""

    name: str
    sources: tuple[ReferenceSource, ...]
    #: Source name -> its text as the BM25 floor of the data's own documentation reads it.
    plain: Mapping[str, str]
    questions: tuple[Question, ...]


def rules(data: Path) -> LabelledSet:
    """A sentence that breaks a rule -> the rule, among all rules of all styles."""
    records = _lines(data / "style_rules" / "rules.jsonl")
    return LabelledSet(
        name="style rules",
        sources=tuple(read_reference(_rule_file(r["id"]), r["raw"].encode()) for r in records),
        plain={_rule_file(r["id"]): r["text"] for r in records},
        questions=tuple(
            Question(id=q["query_id"], text=q["query"], gains={_rule_file(each): 1.0 for each in q["relevant"]})
            for q in _lines(data / "style_rules" / "queries.jsonl")
        ),
    )


def guide(data: Path, queries: str) -> LabelledSet:
    """A sentence, a rule's message (`vale_queries`) or a link's words (`anchor_queries`) -> the page of the guide."""
    folder = data / "ms_style_guide"
    pages = _lines(folder / "pages.jsonl.gz")
    names = {page["id"]: page["path"] for page in pages}
    return LabelledSet(
        name="guide pages" if queries == "vale_queries" else "guide anchors",
        sources=tuple(read_reference(page["path"], page["text"].encode()) for page in pages),
        plain={page["path"]: f"{page['title']} {page['text']}" for page in pages},
        questions=tuple(
            Question(id=q["query_id"], text=q["query"], gains={names[each]: 1.0 for each in q["relevant"]})
            for q in _lines(folder / f"{queries}.jsonl")
        ),
    )


def cranfield(data: Path) -> LabelledSet:
    """Questions about aerodynamics -> abstracts. Judged 1 (best) to 3 is relevant, with a gain of 4 minus the grade.

    Grade 4 is "minimum interest" in the collection's own words and counts as not relevant, as in the floor's figures.
    """
    return LabelledSet(
        name="Cranfield",
        sources=tuple(
            ReferenceSource(
                name=str(d["id"]),
                content_id=digest_text(d["text"]),
                title=d["title"] or None,
                sections=(Section(heading="", text=d["text"] or d["title"] or "-"),),
            )
            for d in _lines(data / "cranfield" / "docs.jsonl.gz")
        ),
        plain={str(d["id"]): f"{d['title']} {d['text']}" for d in _lines(data / "cranfield" / "docs.jsonl.gz")},
        questions=tuple(
            Question(id=str(q["query_id"]), text=q["query"], gains=gains)
            for q in _lines(data / "cranfield" / "queries.jsonl")
            if (gains := {name: 4.0 - grade for name, grade in q["relevant"].items() if 1 <= grade <= 3})
        ),
    )


def eighteen_f(data: Path) -> LabelledSet:
    """The 18F content guide, which comes without questions."""
    pages = _lines(data / "style_guides_md" / "18f_content_guide.jsonl.gz")
    return LabelledSet(
        name="18F guide",
        sources=tuple(read_reference(page["path"], page["text"].encode()) for page in pages),
        plain={page["path"]: page["text"] for page in pages},
        questions=(),
    )


def _rule_file(rule_id: str) -> str:
    return f"{rule_id.replace('.', '/', 1)}.yml"


def _lines(path: Path) -> list[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
