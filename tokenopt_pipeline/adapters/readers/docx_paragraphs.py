"""What one Word paragraph is and says: its kind by style and content, its text as a reader of the page sees it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from tokenopt_pipeline.domain.documents import BlockType

#: lxml ships no types.
XmlElement: TypeAlias = Any

_NAMESPACES = {
    "w": "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    "r": "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
    "m": "http://schemas.openxmlformats.org/officeDocument/2006/math",
    "mc": "http://schemas.openxmlformats.org/markup-compatibility/2006",
    "wp": "http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing",
    "a": "http://schemas.openxmlformats.org/drawingml/2006/main",
    "v": "urn:schemas-microsoft-com:vml",
    "o": "urn:schemas-microsoft-com:office:office",
    "w14": "http://schemas.microsoft.com/office/word/2010/wordml",
}


def qualified(name: str) -> str:
    """`w:p` as lxml spells it."""
    prefix, local = name.split(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"


_HEADING_NAME = re.compile(r"heading ([1-9])")
_KIND_BY_STYLE = {
    "source code": BlockType.CODE_BLOCK,
    "sourcecode": BlockType.CODE_BLOCK,
    "code": BlockType.CODE_BLOCK,
    "code block": BlockType.CODE_BLOCK,
    "html preformatted": BlockType.CODE_BLOCK,
    "preformatted text": BlockType.CODE_BLOCK,
    "macro": BlockType.CODE_BLOCK,
    "macro text": BlockType.CODE_BLOCK,
    "caption": BlockType.CAPTION,
    "table caption": BlockType.CAPTION,
    "image caption": BlockType.CAPTION,
    "figure caption": BlockType.CAPTION,
    "definition term": BlockType.DEFINITION,
    "definition": BlockType.DEFINITION,
    "footnote text": BlockType.FOOTNOTE,
    "endnote text": BlockType.FOOTNOTE,
}
_LIST_NAME = re.compile(r"list (bullet|number)( \d)?")
_TICK_BOXES = "☐☑☒"

_P_PR, _P_STYLE, _NUM_PR, _NUM_ID = map(qualified, ("w:pPr", "w:pStyle", "w:numPr", "w:numId"))
_VAL, _ID = qualified("w:val"), qualified("w:styleId")
#: Removed text, what is written twice for older readers, and text boxes, which are blocks of their own.
_UNSEEN = frozenset(map(qualified, ("w:del", "w:moveFrom", "w:pPr", "w:rPr", "mc:Fallback", "w:txbxContent")))
_MARKS = {qualified("w:tab"): "\t", qualified("w:cr"): "\n", qualified("w:noBreakHyphen"): "-"}


class ParagraphStyles:
    """The paragraph styles of a document and what they inherit."""

    def __init__(self, styles: XmlElement) -> None:
        self._styles = {style.get(_ID): style for style in styles.findall(qualified("w:style"))}

    def names(self, paragraph: XmlElement) -> list[str]:
        """Names in lower case, the paragraph's own style first. Built-in names are English in every language."""
        names = (style.find(qualified("w:name")) for style in self._chain(paragraph))
        return [str(name.get(_VAL)).lower() for name in names if name is not None]

    def is_numbered(self, paragraph: XmlElement) -> bool:
        """By its own numbering or the nearest style that has one; number 0 switches an inherited one off."""
        for owner in (paragraph, *self._chain(paragraph)):
            number = owner.find(f"{_P_PR}/{_NUM_PR}/{_NUM_ID}")
            if number is not None:
                return bool(number.get(_VAL) != "0")
        return False

    def heading_level(self, paragraph: XmlElement) -> int | None:
        """0 for the document's title; None for what is no heading."""
        for name in self.names(paragraph):
            if found := _HEADING_NAME.fullmatch(name):
                return int(found[1])
            if name == "title":
                return 0
        return None

    def _chain(self, paragraph: XmlElement) -> Iterator[XmlElement]:
        found = paragraph.find(f"{_P_PR}/{_P_STYLE}")
        style_id: str | None = found.get(_VAL) if found is not None else None
        met: set[str] = set()
        while (
            style_id is not None and style_id in self._styles and style_id not in met
        ):  # a damaged file may inherit in a circle
            met.add(style_id)
            style = self._styles[style_id]
            yield style
            base = style.find(qualified("w:basedOn"))
            style_id = base.get(_VAL) if base is not None else None


def kind_of(paragraph: XmlElement, text: str, styles: ParagraphStyles) -> BlockType | None:
    """None for a paragraph in which there is nothing to see."""
    if has_picture(paragraph) and not _has_words(paragraph):
        return BlockType.FIGURE
    if not text.strip():
        return BlockType.DIVIDER if _is_rule(paragraph) else None
    if styles.heading_level(paragraph) is not None:
        return BlockType.HEADING
    if text.lstrip()[0] in _TICK_BOXES or _tick_box(paragraph) is not None:
        return BlockType.CHECKBOX
    names = styles.names(paragraph)
    by_style = next((_KIND_BY_STYLE[name] for name in names if name in _KIND_BY_STYLE), None)
    if by_style is not None:
        return by_style
    if styles.is_numbered(paragraph) or any(_LIST_NAME.fullmatch(name) for name in names):
        return BlockType.LIST_ITEM
    return BlockType.OTHER if _is_formula(paragraph) else BlockType.PARAGRAPH


def paragraph_text(paragraph: XmlElement) -> str:
    """Insertions included, deletions left out, a picture as its alternative text."""
    return "".join(_pieces(paragraph))


def runs_into_the_next(paragraph: XmlElement) -> bool:
    """True for an initial letter set apart as a drop cap, and for a paragraph whose end mark has been deleted."""
    frame = paragraph.find(f"{_P_PR}/{qualified('w:framePr')}")
    if frame is not None and frame.get(qualified("w:dropCap")) in ("drop", "margin"):
        return True
    return paragraph.find(f"{_P_PR}/{qualified('w:rPr')}/{qualified('w:del')}") is not None


def table_text(table: XmlElement) -> str:
    """One line per row, ` | ` between cells; empty when no cell has text. A nested table is text of its cell."""
    rows: list[list[str]] = []
    for row in table.iter(qualified("w:tr")):
        if next(row.iterancestors(qualified("w:tbl"))) is table:
            rows.append([_cell_text(cell) for cell in row.iter(qualified("w:tc")) if _row_of(cell) is row])
    if not any(any(cells) for cells in rows):
        return ""
    return "\n".join(" | ".join(cells) for cells in rows)


def drawn_boxes(paragraph: XmlElement) -> Iterator[XmlElement]:
    """Text boxes anchored in a paragraph. Word writes each twice, for old and new readers: the new one counts."""
    for box in paragraph.iter(qualified("w:txbxContent")):
        ancestors = {ancestor.tag for ancestor in box.iterancestors()}
        outermost = next(box.iterancestors(qualified("w:p"))) is paragraph
        if outermost and qualified("mc:Fallback") not in ancestors:
            yield box


def has_picture(paragraph: XmlElement) -> bool:
    pictures = (qualified("a:blip"), qualified("v:imagedata"))
    return next(paragraph.iter(*pictures), None) is not None


def _pieces(element: XmlElement) -> Iterator[str]:
    for child in element:
        tag = child.tag
        if tag in _UNSEEN or not isinstance(tag, str):
            continue
        if tag in (qualified("w:t"), qualified("m:t")):
            yield child.text or ""
        elif tag == qualified("wp:docPr"):
            yield child.get("descr") or ""
        elif tag in _MARKS:
            yield _MARKS[tag]
        elif tag == qualified("w:br"):
            yield "\n" if child.get(qualified("w:type")) in (None, "textWrapping") else ""
        else:
            yield from _pieces(child)


def _cell_text(cell: XmlElement) -> str:
    pieces = (" ".join(paragraph_text(paragraph).split()) for paragraph in cell.iter(qualified("w:p")))
    return " ".join(piece for piece in pieces if piece)


def _row_of(cell: XmlElement) -> XmlElement:
    return next(cell.iterancestors(qualified("w:tr")))


def _tick_box(paragraph: XmlElement) -> XmlElement | None:
    return next(paragraph.iter(qualified("w14:checkbox"), qualified("w:checkBox")), None)


def _is_rule(paragraph: XmlElement) -> bool:
    drawn = any(shape.get(qualified("o:hr")) == "t" for shape in paragraph.iter(qualified("v:rect")))
    return drawn or paragraph.find(f"{_P_PR}/{qualified('w:pBdr')}/{qualified('w:bottom')}") is not None


def _has_words(paragraph: XmlElement) -> bool:
    """Words of its own, beside its pictures and the boxes anchored in it."""
    texts = (text for text in paragraph.iter(qualified("w:t")) if (text.text or "").strip())
    return any(next(text.iterancestors(qualified("w:p"))) is paragraph for text in texts)


def _is_formula(paragraph: XmlElement) -> bool:
    formula = next(paragraph.iter(qualified("m:oMath")), None) is not None
    return formula and not any((text.text or "").strip() for text in paragraph.iter(qualified("w:t")))
