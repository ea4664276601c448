"""How often our readers and other people's tools call the same piece of a document by the same type.

Run as `python -m benchmarks.block_type_agreement`; docs/block-types.md explains the maps and the remainder.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from selectolax.lexbor import LexborHTMLParser, LexborNode

from benchmarks.block_type_truth import HTML, Truth, docling_truth, normalised, pandoc_truth, records, shared_folder
from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.domain.documents import BlockType, ReadBlock, SourceType

#: Characters of normalised text that two blocks must share at their beginning to be the same piece.
PREFIX_LENGTH = 24

MARKDOWN_SETS = ("rust_book_md", "ms_style_guide_md", "18f_md", "mcp_servers_md")
DOCX_SETS = ("docx_pandoc", "docx_docling", "docx_python-docx", "docx_unstructured")

#: docling says "furniture" and not whether it stands at the top or at the bottom.
_MARGIN = {BlockType.PAGE_HEADER: "margin", BlockType.PAGE_FOOTER: "margin"}
_TAGS = {BlockType.PARAGRAPH: "p", BlockType.FIGURE: "p", BlockType.CODE_BLOCK: "pre", BlockType.LIST_ITEM: "ul"}

#: Types that we tell apart and pandoc does not: their pieces count as agreed with pandoc's coarser word.
FINER_THAN_PANDOC = {
    "paragraph": {"paragraph", "caption", "checkbox", "other"},
    "list_item": {"list_item", "checkbox"},
}
#: What pandoc's tree holds elsewhere (notes inside the sentence, front matter as metadata) or not at all.
NOT_IN_PANDOC = {"footnote", "key_value_region", "page_header", "page_footer"}


@dataclass(slots=True)
class Tally:
    """Counts per type -> number of blocks."""

    truth: Counter[str] = field(default_factory=Counter)
    ours: Counter[str] = field(default_factory=Counter)
    agreed: Counter[str] = field(default_factory=Counter)
    #: Pieces of what one side left whole (nested list items, a quote's paragraphs): on neither side of the balance.
    inside: Counter[str] = field(default_factory=Counter)
    disagreements: list[str] = field(default_factory=list)

    def agreement(self, kind: str | None = None) -> float:
        """Agreed over the larger of the two counts, 0..1, so that neither missing nor invented blocks are free."""
        if kind is None:
            kinds = set(self.truth) | set(self.ours)
            larger = sum(max(self.truth[name], self.ours[name]) for name in kinds)
            return self.agreed.total() / larger if larger else 1.0
        larger = max(self.truth[kind], self.ours[kind])
        return self.agreed[kind] / larger if larger else 1.0


_INLINE = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_NOTE = re.compile(r"\[\^[^\]]+\]")
#: `[text][label]` is a link only where its definition is known, which a single block does not know.
_REFERENCE = re.compile(r"\]\[[^\]\[]*\]")
_VERBATIM = {BlockType.CODE_BLOCK, BlockType.HTML_BLOCK, BlockType.OTHER}


def plain(block: ReadBlock) -> str:
    """A Markdown block's text as pandoc would print it: link targets and emphasis marks gone."""
    if block.type in _VERBATIM:
        return normalised(block.text)
    parts: list[str] = []
    for token in _INLINE.parseInline(_REFERENCE.sub("](#)", _NOTE.sub("", block.text))):
        parts += [
            part.content if part.type in ("text", "code_inline", "html_inline", "image") else " "
            for part in token.children or []
        ]
    return normalised("".join(parts))


def align(truth: Sequence[Truth], ours: Sequence[tuple[str, str]], finer: Mapping[str, set[str]]) -> Tally:
    """Longest common subsequence of blocks of the same type whose texts begin alike."""

    def same(one: Truth, other: tuple[str, str]) -> bool:
        kind, text = other
        if kind not in finer.get(one.type, {one.type}):
            return False
        if not one.whole:
            return text[:PREFIX_LENGTH] in one.text
        if one.type == "figure":
            return True  # pandoc's Figure carries no alternative text
        return one.text[:PREFIX_LENGTH] == text[:PREFIX_LENGTH]

    n, m = len(truth), len(ours)
    best = [[0] * (m + 1) for _ in range(n + 1)]
    equal = [[same(one, other) for other in ours] for one in truth]
    for i in range(n - 1, -1, -1):
        for j in range(m - 1, -1, -1):
            best[i][j] = best[i + 1][j + 1] + 1 if equal[i][j] else max(best[i + 1][j], best[i][j + 1])
    tally = Tally()
    tally.truth.update(one.type for one in truth if not one.untyped)
    i = j = 0
    last: Truth | None = None
    while i < n or j < m:
        if i < n and j < m and equal[i][j]:
            last = truth[i]
            if last.untyped:
                tally.inside[last.type] += 1
            else:
                tally.agreed[last.type] += 1
                tally.ours[last.type] += 1
            i, j = i + 1, j + 1
        elif j < m and (i == n or best[i][j + 1] >= best[i + 1][j]):
            kind, text = ours[j]
            if last and not last.whole and text[:PREFIX_LENGTH] in last.text:
                tally.inside[kind] += 1
            else:
                tally.ours[kind] += 1
                tally.disagreements.append(f"ours only   {kind:12} {text[:70]}")
            j += 1
        else:
            tally.disagreements.append(f"theirs only {truth[i].type:12} {truth[i].text[:70]}")
            i += 1
    return tally


def markdown_tally(folder: Path, name: str) -> Tally:
    tallies = []
    for record in records(folder / f"{name}.jsonl.gz"):
        document = read_document(record["path"], record["source_text"].encode(), SourceType.MARKDOWN)
        ours = [(block.type.value, plain(block)) for block in document.blocks if block.type not in NOT_IN_PANDOC]
        tallies.append((record["path"], align(pandoc_truth(record["blocks"], ours), ours, FINER_THAN_PANDOC)))
    return _sum(tallies)


def commonmark_tally(folder: Path) -> Tally:
    """Per example: our types in order against the specification's top-level elements."""
    tallies = []
    for record in records(folder / "commonmark_examples.jsonl.gz"):
        document = read_document("example.md", record["markdown"].encode() or b"\n", SourceType.MARKDOWN)
        tallies.append((str(record["n"]), _commonmark_example(record["top_level_html"], document.blocks)))
    return _sum(tallies)


def _commonmark_example(elements: Sequence[str], blocks: Sequence[ReadBlock]) -> Tally:
    if any(block.type is BlockType.HTML_BLOCK for block in blocks):
        return _commonmark_example_with_html(elements, blocks)
    tally = Tally()
    at = 0
    for position, element in enumerate(elements):
        kinds = HTML[element]
        if element in ("blockquote", "ul", "ol"):
            # The container holds all blocks but those that the elements after it need.
            end = max(at, len(blocks) - (len(elements) - position - 1))
            agreed = element == "blockquote" or end > at
            at = end
        else:
            agreed = at < len(blocks) and blocks[at].type in kinds
            at += 1
        tally.truth[kinds[0]] += 1
        tally.ours[kinds[0]] += agreed
        tally.agreed[kinds[0]] += agreed
    for block in blocks[at:]:
        tally.ours[block.type.value] += 1
    if tally.agreed.total() != tally.truth.total() or blocks[at:]:
        tally.disagreements.append(f"{list(elements)} / {[block.type.value for block in blocks]}")
    return tally


def _commonmark_example_with_html(elements: Sequence[str], blocks: Sequence[ReadBlock]) -> Tally:
    """Raw HTML may enclose the blocks after it: our blocks are rendered and nested as a browser would nest them."""
    parts: list[str] = []
    for block in blocks:
        tag = _TAGS.get(block.type)
        part = f"<{tag}>.</{tag}>" if tag else block.text
        if tag != "ul" or parts[-1:] != [part]:  # items in a row are one list
            parts.append(part)
    body = LexborHTMLParser("<body>" + "\n".join(parts)).body
    found = _known_elements(body) if body else []
    tally = align([Truth(type=element, text="") for element in elements], [(element, "") for element in found], {})
    renamed = Tally(disagreements=[f"{list(elements)} / {found}"] if tally.disagreements else [])
    for mine, counts in ((renamed.truth, tally.truth), (renamed.ours, tally.ours), (renamed.agreed, tally.agreed)):
        for element, n in counts.items():
            mine[HTML.get(element, ("html_block",))[0]] += n
    return renamed


def _known_elements(node: LexborNode) -> list[str]:
    """Top-level elements; the truth looks through elements that it has no word for."""
    found: list[str] = []
    for child in node.iter():
        found += [str(child.tag)] if child.tag in HTML else _known_elements(child)
    return found


def docx_tally(folder: Path, name: str) -> Tally:
    tallies = []
    for record in records(folder / f"{name}.jsonl"):
        blocks = _docx_blocks(folder, record["file"])
        # The paragraph in style Title is metadata to pandoc, as front matter is.
        kept = [block for block in blocks if block.type not in NOT_IN_PANDOC and block.locator.get("level") != 0]
        ours = [(block.type.value, normalised(block.text)) for block in kept]
        tallies.append((record["file"], align(pandoc_truth(record["pandoc_blocks"], ours), ours, FINER_THAN_PANDOC)))
    return _sum(tallies)


def docling_tally(folder: Path) -> Tally:
    """Matched without regard to order: docling lists all texts first and all tables last."""
    tallies = []
    for record in records(folder / "docx_docling.jsonl"):
        blocks = _docx_blocks(folder, record["file"])
        ours = [(_MARGIN.get(block.type, block.type.value), normalised(block.text)) for block in blocks]
        tallies.append((record["file"], _match(docling_truth(record["docling_truth"]), ours)))
    return _sum(tallies)


def _match(truth: Sequence[Truth], ours: Sequence[tuple[str, str]]) -> Tally:
    tally = Tally(truth=Counter(one.type for one in truth), ours=Counter(kind for kind, _ in ours))
    unused = list(ours)
    for one in truth:
        found = next((other for other in unused if _is_docling_twin(one, other)), None)
        if found is not None:
            unused.remove(found)
            tally.agreed[one.type] += 1
        elif one.text and any(one.text in text for _, text in ours):
            # A run of a formatted paragraph, or a paragraph of a table cell: a piece of one block of ours.
            tally.inside[one.type] += 1
            tally.truth[one.type] -= 1
        else:
            tally.disagreements.append(f"theirs only {one.type:12} {one.text[:70]}")
    for kind, text in unused:
        if any(one.text and one.text in text for one in truth):
            tally.ours[kind] -= 1  # the block whose pieces were counted above
        else:
            tally.disagreements.append(f"ours only   {kind:12} {text[:70]}")
    return tally


def _is_docling_twin(one: Truth, other: tuple[str, str]) -> bool:
    kind, text = other
    if kind != one.type:
        return False
    if kind in ("table", "other", "figure"):
        return True  # docling's record has no text for tables and figures, and formulas in LaTeX
    if kind == "heading":  # docling writes out the numbers that Word generates
        return one.text.lstrip("0123456789") == text.lstrip("0123456789")
    return one.text[:PREFIX_LENGTH] == text[:PREFIX_LENGTH]


def _docx_blocks(folder: Path, name: str) -> Sequence[ReadBlock]:
    return read_document(name, (folder / "docx" / name).read_bytes()).blocks


def _sum(tallies: Iterable[tuple[str, Tally]]) -> Tally:
    total = Tally()
    for source, tally in tallies:
        total.truth += tally.truth
        total.ours += tally.ours
        total.agreed += tally.agreed
        total.inside += tally.inside
        total.disagreements += [f"{source}: {line}" for line in tally.disagreements]
    return total


def tallies(folder: Path) -> dict[str, Tally]:
    """Name of the set -> its tally."""
    measured = {name: markdown_tally(folder, name) for name in MARKDOWN_SETS}
    measured["commonmark_examples"] = commonmark_tally(folder)
    by_pandoc = {name: docx_tally(folder, name) for name in DOCX_SETS}
    measured |= {f"{name} (pandoc)": tally for name, tally in by_pandoc.items()}
    measured["docx, all sets (pandoc)"] = _sum(by_pandoc.items())
    measured["docx_docling (docling)"] = docling_tally(folder)
    return measured


def table(name: str, tally: Tally) -> str:
    lines = [
        f"### {name}",
        "",
        "| type | truth | ours | agreed | agreement | inside |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for kind in sorted(set(tally.truth) | set(tally.ours) | set(tally.inside)):
        counts = f"{tally.truth[kind]} | {tally.ours[kind]} | {tally.agreed[kind]}"
        lines.append(f"| {kind} | {counts} | {tally.agreement(kind):.1%} | {tally.inside[kind]} |")
    counts = f"{tally.truth.total()} | {tally.ours.total()} | {tally.agreed.total()}"
    lines.append(f"| **total** | {counts} | **{tally.agreement():.1%}** | {tally.inside.total()} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--disagreements", action="store_true", help="list every block that does not agree")
    arguments = parser.parse_args()
    for name, tally in tallies(shared_folder()).items():
        print(table(name, tally))
        if arguments.disagreements:
            print("\n".join(tally.disagreements) + "\n")


if __name__ == "__main__":
    main()
