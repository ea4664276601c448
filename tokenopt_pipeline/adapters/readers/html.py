"""Reader of HTML: tags become block types in document order; scripts, styles and the page's machinery are dropped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from tokenopt_pipeline.adapters.readers.decoding import decode_utf8
from tokenopt_pipeline.domain.documents import BlockType, ReadBlock, ReadDocument, SourceType

HTML_READER_VERSION = 1

#: Elements inside elements. What stands deeper is read as text: real pages stay below a third of this.
MAX_DEPTH = 100

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_DROPPED = frozenset(
    ("script", "style", "template", "noscript", "head", "meta", "link", "base", "title", "source", "track", "param",
     "col", "colgroup", "datalist", "-comment", "-doctype")
)  # fmt: skip
_EMBEDDED = frozenset(("iframe", "object", "embed", "video", "audio", "canvas"))
#: What interrupts a line of text. All others are inline, so an unknown element is read as part of its sentence.
_BLOCKS = _EMBEDDED | frozenset(
    ("address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "dir", "div",
     "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "frameset", "h1", "h2", "h3", "h4", "h5", "h6",
     "header", "hgroup", "hr", "html", "li", "legend", "main", "menu", "nav", "ol", "optgroup", "option", "p", "pre",
     "search", "section", "summary", "svg", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul")
)  # fmt: skip
_FIELDS = "input, select, textarea"
_UNSEEN = ("hidden", "submit", "button", "image", "reset")
_PROSE_IN_FORM = "h1, h2, h3, h4, h5, h6, p, table, article, section, ul, ol, pre"
_NOTES = re.compile(r"(?:^|\s)(?:footnotes?|endnotes?)(?:\s|$)")
_NOTE_ROLES = ("doc-footnote", "doc-endnote")
_TICKED, _UNTICKED = "[x] ", "[ ] "


def read_html(name: str, content: bytes) -> ReadDocument:
    tree = LexborHTMLParser(decode_utf8(name, content))
    body = tree.body
    blocks = tuple(_Walk().children(body, "/html/body", 0)) if body else ()
    title = tree.css_first("head > title")
    stated = " ".join(title.text().split()) if title else ""
    if not stated:
        tops = (block.text for block in blocks if block.locator.get("level") == 1)
        stated = next(tops, "")
    return ReadDocument(
        source_type=SourceType.HTML, reader_version=HTML_READER_VERSION, blocks=blocks, title=stated or None
    )


class _Walk:
    """One pass over the tree. Text that stands beside blocks in a container is a paragraph of its own."""

    def __init__(self) -> None:
        self._in_notes = 0

    def children(
        self, parent: LexborNode, path: str, depth: int, loose: BlockType = BlockType.PARAGRAPH
    ) -> Iterator[ReadBlock]:
        """`loose` is the type of the first run of loose text, as in `<li>Text<ul>…`."""
        run: list[LexborNode] = []
        numbers: Counter[str] = Counter()
        for node in parent.iter(include_text=True):
            tag = node.tag or ""
            if tag in _DROPPED:
                continue
            if not _interrupts(node, tag):
                run.append(node)
                continue
            made = list(self._loose(run, path, loose))
            loose, run = (BlockType.PARAGRAPH if made else loose), []
            yield from made
            numbers[tag] += 1
            step = f"{path}/{tag}[{numbers[tag]}]"
            if tag == "p" and loose is not BlockType.PARAGRAPH and not _picture_alone([node]):
                yield from self._loose([node], step, loose)
                loose = BlockType.PARAGRAPH
            elif tag == "dl":
                yield from _definitions(node, step)
            else:
                yield from self._element(node, tag, step, depth + 1)
        yield from self._loose(run, path, loose)

    def _element(self, node: LexborNode, tag: str, path: str, depth: int) -> Iterator[ReadBlock]:
        at = {"path": path}
        if depth >= MAX_DEPTH:
            yield from self._loose([node], path, BlockType.PARAGRAPH)
        elif tag in _HEADINGS:
            yield ReadBlock(type=BlockType.HEADING, text=_line(node), locator={**at, "level": _HEADINGS[tag]})
        elif tag == "p":
            yield from self._loose([node], path, BlockType.PARAGRAPH)
        elif tag == "table":
            for number, caption in enumerate(_own(node, "caption"), start=1):
                yield ReadBlock(
                    type=BlockType.CAPTION, text=_line(caption), locator={"path": f"{path}/caption[{number}]"}
                )
            yield ReadBlock(type=BlockType.TABLE, text=_table_text(node), locator=at)
        elif (simple := _simple(node, tag)) is not None:
            yield ReadBlock(type=simple[0], text=simple[1], locator=at)
        elif _is_form_region(node, tag):
            yield ReadBlock(type=BlockType.FORM_REGION, text=_form_text(node), locator=at)
        else:
            yield from self._container(node, tag, path, depth)

    def _container(self, node: LexborNode, tag: str, path: str, depth: int) -> Iterator[ReadBlock]:
        is_note = node.attributes.get("role") in _NOTE_ROLES or (self._in_notes > 0 and tag == "li")
        if is_note:
            yield ReadBlock(type=BlockType.FOOTNOTE, text=_line(node), locator={"path": path})
            return
        holds_notes = node.attributes.get("role") == "doc-endnotes" or bool(
            _NOTES.search(node.attributes.get("class") or "")
        )
        self._in_notes += holds_notes
        loose = BlockType.LIST_ITEM if tag == "li" else BlockType.PARAGRAPH
        found = False
        for block in self.children(node, path, depth, loose):
            found = True
            yield block
        if tag == "li" and not found:
            yield ReadBlock(type=BlockType.LIST_ITEM, text="", locator={"path": path})
        self._in_notes -= holds_notes

    def _loose(self, run: list[LexborNode], path: str, kind: BlockType) -> Iterator[ReadBlock]:
        """The block that a run of inline nodes makes, if there is anything in it."""
        picture = _picture_alone(run)
        if picture is not None:
            yield ReadBlock(type=BlockType.FIGURE, text=_alternative(picture), locator={"path": path})
            return
        text = _tidy("".join(piece for node in run for piece in _pieces(node, 0)))
        if text.startswith((_TICKED, _UNTICKED)):
            kind = BlockType.CHECKBOX
        if text:
            yield ReadBlock(type=kind, text=text, locator={"path": path})


def _simple(node: LexborNode, tag: str) -> tuple[BlockType, str] | None:
    """Elements that are one block whatever stands in them."""
    match tag:
        case "pre":
            return BlockType.CODE_BLOCK, node.text().strip("\n")
        case "hr":
            return BlockType.DIVIDER, ""
        case "img":
            return BlockType.FIGURE, _alternative(node)
        case "svg":
            titles = " ".join(_line(title) for title in node.css("title, desc"))
            return BlockType.FIGURE, node.attributes.get("aria-label") or titles
        case "figcaption" | "caption":
            return BlockType.CAPTION, _line(node)
        case "math":
            return BlockType.OTHER, _line(node)
    return (BlockType.HTML_BLOCK, node.html or "") if tag in _EMBEDDED else None


def _interrupts(node: LexborNode, tag: str) -> bool:
    """True for blocks, and for inline elements around blocks (`<a><div>…`), which browsers show as blocks."""
    if tag in _BLOCKS or tag == "math":
        return True
    if tag.startswith("-") or tag in ("img", "input", "br"):
        return False
    return any(child.tag in _BLOCKS for child in node.iter())


def _picture_alone(run: list[LexborNode]) -> LexborNode | None:
    pictures = [
        picture
        for node in run
        if node.is_element_node
        for picture in ([node] if node.tag == "img" else node.css("img"))
    ]
    words = any((node.text(deep=True) if node.is_element_node else node.text_content or "").strip() for node in run)
    fields = any(node.is_element_node and (node.tag == "input" or node.css_first("input")) for node in run)
    return pictures[0] if len(pictures) == 1 and not words and not fields else None


def _pieces(node: LexborNode, depth: int) -> Iterator[str]:
    tag = node.tag or ""
    if tag == "-text":
        yield re.sub(r"\s+", " ", node.text_content or "")
    elif tag in _DROPPED:
        return
    elif depth > MAX_DEPTH:
        yield node.text(deep=True)
    elif tag == "br":
        yield "\n"
    elif tag == "img":
        yield _alternative(node)
    elif tag == "input":
        if node.attributes.get("type") == "checkbox":
            yield _TICKED if "checked" in node.attributes else _UNTICKED
    else:
        apart = " " if tag in _BLOCKS else ""
        yield apart
        for child in node.iter(include_text=True):
            yield from _pieces(child, depth + 1)
        yield apart


def _tidy(text: str) -> str:
    lines = (re.sub(r"[ \t\xa0]+", " ", line).strip() for line in text.split("\n"))
    tidy = "\n".join(lines).strip()
    # An unticked box with nothing around it must keep the space that makes it a box.
    return f"{tidy} " if tidy in (_TICKED.strip(), _UNTICKED.strip()) else tidy


def _line(node: LexborNode) -> str:
    """All of an element's text on one line."""
    return " ".join("".join(_pieces(node, 0)).split())


def _alternative(picture: LexborNode) -> str:
    return " ".join((picture.attributes.get("alt") or "").split())


def _own(table: LexborNode, tag: str) -> list[LexborNode]:
    """Descendants that belong to this table and not to one inside it."""
    return [node for node in table.css(tag) if _table_of(node) == table]


def _table_of(node: LexborNode) -> LexborNode | None:
    parent = node.parent
    while parent is not None and parent.tag != "table":
        parent = parent.parent
    return parent


def _table_text(table: LexborNode) -> str:
    """One line per row, ` | ` between cells; empty when no cell has text."""
    rows = [[_line(cell) for cell in row.iter() if cell.tag in ("td", "th")] for row in _own(table, "tr")]
    return "\n".join(" | ".join(cells) for cells in rows) if any(any(cells) for cells in rows) else ""


def _definitions(node: LexborNode, path: str) -> Iterator[ReadBlock]:
    """One block per term with its definitions; several terms in a row share them."""
    lines: list[str] = []
    number, defined = 0, False
    parts = [part for child in node.iter() for part in ([child] if child.tag != "div" else child.iter())]
    for part in parts:
        if part.tag == "dt" and defined:
            yield ReadBlock(type=BlockType.DEFINITION, text="\n".join(lines), locator={"path": f"{path}/dt[{number}]"})
            lines, defined = [], False
        if part.tag in ("dt", "dd"):
            number += part.tag == "dt"
            defined = defined or part.tag == "dd"
            lines.append(_line(part) if part.tag == "dt" else f": {_line(part)}")
    if lines:
        yield ReadBlock(
            type=BlockType.DEFINITION, text="\n".join(lines), locator={"path": f"{path}/dt[{max(number, 1)}]"}
        )


def _is_form_region(node: LexborNode, tag: str) -> bool:
    """A group of fields. A form around a whole page, as some servers write it, is only a container."""
    if tag not in ("form", "fieldset") or node.css_first(_FIELDS) is None:
        return False
    return tag == "fieldset" or node.css_first(_PROSE_IN_FORM) is None


def _form_text(node: LexborNode) -> str:
    """One line per piece of the form, fields as `label: value`."""
    lines: list[str] = []
    for piece in node.css("legend, label, input, select, textarea, button"):
        if piece.tag == "label":
            field = piece.css_first(_FIELDS)
            lines.append(_line(piece) if field is None or _is_ticked(field) else f"{_line(piece)}: {_value(field)}")
        elif piece.tag in ("legend", "button"):
            lines.append(_line(piece))
        elif piece.parent is not None and piece.parent.tag != "label" and piece.attributes.get("type") not in _UNSEEN:
            lines.append(f"{piece.attributes.get('name') or piece.tag}: {_value(piece)}")
    return "\n".join(line.rstrip() for line in lines if line)


def _is_ticked(field: LexborNode) -> bool:
    return field.attributes.get("type") in ("checkbox", "radio")


def _value(field: LexborNode) -> str:
    return field.attributes.get("value") or (field.text().strip() if field.tag == "textarea" else "")
