"""What other people's tools say about the types of blocks, read from the shared public truth sets."""

from __future__ import annotations

import gzip
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PANDOC = {
    "Header": "heading", "Para": "paragraph", "Plain": "paragraph", "LineBlock": "paragraph", "CodeBlock": "code_block",
    "Table": "table", "Figure": "figure", "HorizontalRule": "divider", "RawBlock": "html_block",
    "DefinitionList": "definition", "BulletList": "list_item", "OrderedList": "list_item",
    "BlockQuote": "container", "Div": "container",
}  # fmt: skip
DOCLING = {
    "text": "paragraph", "section_header": "heading", "title": "heading", "list_item": "list_item", "table": "table",
    "picture": "figure", "formula": "other", "checkbox_selected": "checkbox", "checkbox_unselected": "checkbox",
    "caption": "caption", "footnote": "footnote", "code": "code_block",
    "page_header": "page_header", "page_footer": "page_footer",
}  # fmt: skip
HTML = {
    "p": ("paragraph", "figure"), "pre": ("code_block",), "hr": ("divider",), "table": ("table",),
    "blockquote": ("blockquote",), "ul": ("list_item", "checkbox"), "ol": ("list_item", "checkbox"), "div": ("html_block",),
    "style": ("html_block",), "script": ("html_block",),
    **{f"h{level}": ("heading",) for level in range(1, 7)},
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """One block as the other tool saw it."""

    type: str
    #: Normalised text. Items of one list all carry the whole list's text: the tool gives no more.
    text: str
    whole: bool = True
    #: True inside a quote, of which the tool tells the text and not the types: no agreement is claimed.
    untyped: bool = False


def normalised(text: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())


def pandoc_truth(entries: Iterable[Mapping[str, object]], ours: Sequence[tuple[str, str]]) -> list[Truth]:
    """Lists become one entry per item; quotes and divisions become the inner blocks that ours must fill exactly."""
    truth: list[Truth] = []
    at = 0
    for record in entries:
        kind, text = PANDOC[str(record["type"])], normalised(str(record.get("text", "")))
        if "items" in record:
            truth += [Truth(type=kind, text=text, whole=False)] * int(str(record["items"]))
        elif kind == "container":
            found = _run_that_spells(text, ours, at)
            if found is None:
                truth.append(Truth(type="paragraph", text=text))
            else:
                truth += [Truth(type=ours[index][0], text=ours[index][1], untyped=True) for index in range(*found)]
                at = found[1]
        else:
            truth.append(Truth(type=kind, text=text))
    return truth


def _run_that_spells(text: str, ours: Sequence[tuple[str, str]], start: int) -> tuple[int, int] | None:
    """The consecutive blocks of ours whose texts together are `text`: pandoc gives no types inside a quote."""
    for first in range(start, len(ours)):
        spelled, end = "", first
        while end < len(ours) and text.startswith(spelled + ours[end][1]) and len(spelled) < len(text):
            spelled += ours[end][1]
            end += 1
        if spelled == text and text:
            return first, end
    return None


def docling_truth(entries: Iterable[Mapping[str, object]]) -> list[Truth]:
    truth: list[Truth] = []
    for record in entries:
        kind = DOCLING.get(str(record["label"]), "other")
        text = normalised(str(record.get("text") or ""))
        # Layer "notes" holds reviewers' comments, which are about the document and not in it. Entries without
        # text are empty paragraphs and the parents of formatted runs.
        if record.get("layer") == "notes" or (not text and kind not in ("table", "figure")):
            continue
        if record.get("layer") == "furniture":
            kind = "margin"
        truth.append(Truth(type=kind, text=text))
    return truth


def records(path: Path) -> Iterator[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def shared_folder() -> Path:
    """Where the public truth lies: TOKENOPT_SHARED, else next to this repository."""
    root = os.environ.get("TOKENOPT_SHARED") or Path(__file__).resolve().parents[2] / "shared"
    return Path(root) / "data" / "block_types"
