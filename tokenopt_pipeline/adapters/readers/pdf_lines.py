"""The lines of text on a page of a PDF, in the order of the page's content, with their boxes in points."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from statistics import median

import pypdfium2
import pypdfium2.raw as pdfium

_DIGITS = re.compile(r"\d+")
#: PDFium's mark for a hyphen that it takes to be there only for the line break.
_SOFT_HYPHENS = {0x02, 0xFFFE, 0xAD}
_LINE_ENDS = {0x0A, 0x0D}


@dataclass(frozen=True, slots=True, kw_only=True)
class PdfLine:
    """One line. Coordinates grow to the right and upwards."""

    text: str
    left: float
    right: float
    bottom: float
    top: float
    #: Height of the type including its ascent and descent: unlike the font size, it knows of scaling.
    height: float

    @property
    def shape(self) -> str:
        """The text with every number made equal, so that page numbers do not tell two footers apart."""
        return _DIGITS.sub("#", self.text)


def page_lines(document: pypdfium2.PdfDocument, index: int) -> list[PdfLine]:
    page = document[index]
    text_page = page.get_textpage()
    try:
        return _lines(text_page.raw, pdfium.FPDFText_CountChars(text_page.raw))
    finally:
        text_page.close()
        page.close()


def _lines(text_page: object, n_characters: int) -> list[PdfLine]:
    lines: list[PdfLine] = []
    codes: list[int] = []
    boxes: list[pdfium.FS_RECTF] = []
    for at in range(n_characters + 1):
        code = pdfium.FPDFText_GetUnicode(text_page, at) if at < n_characters else 0x0A
        if code not in _LINE_ENDS:
            codes.append(code)
            box = pdfium.FS_RECTF()
            seen = not chr(code).isspace() and pdfium.FPDFText_GetLooseCharBox(text_page, at, ctypes.byref(box))
            if seen and box.top > box.bottom:
                boxes.append(box)
            continue
        text = _text_of(codes)
        if text and boxes:
            lines.append(
                PdfLine(
                    text=text,
                    left=min(box.left for box in boxes),
                    right=max(box.right for box in boxes),
                    bottom=median(box.bottom for box in boxes),
                    top=max(box.top for box in boxes),
                    height=median(box.top - box.bottom for box in boxes),
                )
            )
        codes, boxes = [], []
    return lines


def _text_of(codes: list[int]) -> str:
    units = "".join("-" if code in _SOFT_HYPHENS else chr(code) for code in codes if code)
    # Characters beyond U+FFFF come as two halves; a damaged font map can name one half alone, which no text can hold.
    text = units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return " ".join(text.split())
