"""Readers of public document sets: (block type, text, whether people marked it as carrying an answer) in document order."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Marked = tuple[str, str, bool | None]

#: Enough for every block count that is measured; whole sets would take longer to read than to ask.
_MOST_BLOCKS = 2_000
_FEWEST_WORDS_OF_A_PARAGRAPH = 12
_IN_A_ROW, _STRIDE = 10, 37
_STYLES = ("Google", "Microsoft", "proselint", "write-good")
_TITLE = re.compile(r"^title:\s*(.+)$", re.MULTILINE)

SROIE_SCHEMA: Mapping[str, Any] = {
    "ref": "receipt-lines",
    "type": "object",
    "properties": {
        "company": {"type": ["string", "null"], "maxLength": 100},
        "date": {"type": ["string", "null"], "format": "date"},
        "address": {"type": ["string", "null"], "maxLength": 100},
        "total": {"type": ["number", "null"], "minimum": 0, "maximum": 100_000},
    },
    "required": ["company", "date", "address", "total"],
    "additionalProperties": False,
    "prompt_config": {
        "system_instructions": "You read receipts line by line. State only what the line itself states: the name of the "
        "company that issued the receipt, the date of the purchase, a part of the company's address, the total to be paid.",
        "per_block_prompt": "Say which of the four values each line holds.",
    },
}


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a gzipped JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def cuad(data: Path) -> list[Marked]:
    """Blocks of contracts; marked where an expert's clause span lies in them."""
    return _contracts(data / "extraction" / "cuad.jsonl.gz", ("labels", "labels_ambiguous"))


def contract_nli(data: Path) -> list[Marked]:
    """Blocks of non-disclosure agreements; marked where they are evidence for a hypothesis."""
    return _contracts(data / "extraction" / "contract_nli.jsonl.gz", ("labels",))


def contract_nli_schema(data: Path) -> dict[str, Any]:
    """One field per hypothesis: what the block says of it."""
    labels = json.loads((data / "extraction" / "contract_nli_labels.json").read_text("utf-8"))
    choices = ["entailment", "contradiction", "not_mentioned"]
    fields = {name.replace("-", "_"): {"type": "string", "enum": choices} for name in sorted(labels)}
    asked = "\n".join(f"- {name.replace('-', '_')}: {label['hypothesis']}" for name, label in sorted(labels.items()))
    return {
        "ref": "nda-hypotheses",
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
        "applies_to": ["paragraph", "list_item", "heading"],
        "prompt_config": {
            "system_instructions": f"You read non-disclosure agreements. For every block say whether it entails, contradicts "
            f"or does not mention each hypothesis:\n{asked}"
        },
    }


def sroie(data: Path) -> list[Marked]:
    """Lines of receipts; marked where a gold value, or a part of the gold address, stands in them."""
    found: list[Marked] = []
    for record in records(data / "extraction" / "sroie.jsonl.gz"):
        gold = [_squeezed(value) for value in record["answers"].values()]
        for line in record["lines"]:
            said = _squeezed(line["text"])
            carries = any(value in said or (len(said) >= 4 and said in value) for value in gold if value)
            found.append(("paragraph", line["text"], carries))
        if len(found) >= _MOST_BLOCKS:
            break
    return found[:_MOST_BLOCKS]


_PANDOC_TYPES = {"Header": "heading", "CodeBlock": "code_block", "Table": "table", "HorizontalRule": "divider"}


def rust_book(data: Path) -> list[Marked]:
    """Blocks of the book as Pandoc cut it; prose carries, code and rules do not."""
    found: list[Marked] = []
    for record in records(data / "block_types" / "rust_book_md.jsonl.gz"):
        for block in record["blocks"]:
            text = str(block.get("text") or "")
            if text.strip():
                kind = _PANDOC_TYPES.get(block["type"], "paragraph")
                found.append((kind, text, None))
        if len(found) >= _MOST_BLOCKS:
            break
    return found[:_MOST_BLOCKS]


def style_guide(data: Path) -> dict[str, str]:
    """File name -> Markdown of the 18F content guide, public domain."""
    path = data / "style_guides_md" / "18f_content_guide.jsonl.gz"
    return {_file_name(r["path"]): str(r["text"]) for r in records(path)} if path.is_file() else {}


def style_rules(data: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """(File name -> YAML of the rules of four styles for plain English, sentences of the styles' own tests with a rule they break).

    The styles' licences are MIT and BSD-3. A sentence that breaks several rules is a probe for each.
    """
    folder = data / "style_rules"
    if not folder.is_dir():
        return {}, []
    rules = (json.loads(line) for line in (folder / "rules.jsonl").open(encoding="utf-8"))
    questions = (json.loads(line) for line in (folder / "queries.jsonl").open(encoding="utf-8"))
    files = {f"{r['id']}.yml": str(r["raw"]) for r in rules if r["id"].partition(".")[0] in _STYLES}
    probes = {(q["query"], f"{rule}.yml") for q in questions for rule in q["relevant"]}
    return files, sorted(probe for probe in probes if probe[1] in files)


def titles(pages: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """A page's title should find the page."""
    for file, text in pages.items():
        if stated := _TITLE.search(text):
            yield stated[1].strip("\"' "), file


def _contracts(path: Path, marks: Sequence[str]) -> list[Marked]:
    """Ten blocks in a row of every contract, from another place in each: beginnings alone hold names and dates only."""
    found: list[Marked] = []
    for number, record in enumerate(records(path)):
        start = number * _STRIDE % max(len(record["blocks"]) - _IN_A_ROW, 1)
        for block in record["blocks"][start : start + _IN_A_ROW]:
            text = block["text"].strip()
            found.append((_contract_type(text), text, any(block.get(mark) for mark in marks)))
    return found


def _contract_type(text: str) -> str:
    """The sets say nothing of types: a short line that ends no sentence is taken for a heading."""
    is_short = len(text.split()) < _FEWEST_WORDS_OF_A_PARAGRAPH
    return "heading" if is_short and not text.rstrip().endswith((".", ";", ":", ",")) else "paragraph"


def _file_name(path: str) -> str:
    return "-".join(part.strip("_") for part in Path(path).parts)


def _squeezed(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())
