"""Reader of the text layer of PDFs: lines by their place on the page, paragraphs by the gaps between lines."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence

import pypdfium2
import pypdfium2.raw as pdfium

from tokenopt_pipeline.adapters.readers.pdf_lines import PdfLine, page_lines
from tokenopt_pipeline.domain.documents import BlockType, ReadBlock, ReadDocument, SourceType
from tokenopt_pipeline.domain.errors import DocumentUnreadable

PDF_READER_VERSION = 1

#: Distance between baselines, in line heights, above which a new paragraph begins: single spacing is 1.0 to 1.3.
_PARAGRAPH_GAP = 1.5
#: Line heights that differ by more are different sizes of type.
_SIZE_TOLERANCE = 0.08
#: Size of type, as a multiple of the body's, from which a short paragraph is a heading.
_HEADING_SIZE = 1.15
_MAX_HEADING_WORDS = 20
#: Lines at the top and at the bottom of a page that are looked at for running headers and footers.
_MARGIN_LINES = 2
_BULLETS = "•‣◦▪●"

# PDFium is not thread-safe, and a crash inside it would take the process along.
_PDFIUM_LOCK = threading.Lock()


def read_pdf(name: str, content: bytes) -> ReadDocument:
    with _PDFIUM_LOCK:
        pages, title = _read_pages(name, content)
    if not any(pages):
        raise DocumentUnreadable(
            name, f"the PDF has no text layer ({len(pages)} pages of pictures); run OCR on it first"
        )
    body_height = _body_height(pages)
    running = _running_lines(pages, body_height)
    blocks = [
        block
        for number, lines in enumerate(pages, start=1)
        for block in _page_blocks(lines, number, running, body_height)
    ]
    return ReadDocument(
        source_type=SourceType.PDF, reader_version=PDF_READER_VERSION, blocks=tuple(blocks), title=title or None
    )


def _read_pages(name: str, content: bytes) -> tuple[list[list[PdfLine]], str]:
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == pdfium.FPDF_ERR_PASSWORD or "password" in str(error).lower():
            raise DocumentUnreadable(name, "the PDF is protected by a password") from error
        if getattr(error, "err_code", None) == pdfium.FPDF_ERR_SECURITY:
            raise DocumentUnreadable(name, "the PDF is encrypted in a way that cannot be read") from error
        raise DocumentUnreadable(name, "not a PDF, or a damaged one") from error
    try:
        if len(document) == 0:
            raise DocumentUnreadable(name, "the PDF has no pages")
        pages = [page_lines(document, index) for index in range(len(document))]
        return pages, " ".join(document.get_metadata_value("Title").split())
    finally:
        document.close()


def _page_blocks(
    lines: Sequence[PdfLine], page: int, running: frozenset[tuple[str, str]], body_height: float
) -> Iterator[ReadBlock]:
    top, bottom = _margin_lines(lines)
    headers = [index for index in top if ("top", lines[index].shape) in running]
    footers = [index for index in bottom if ("bottom", lines[index].shape) in running and index not in headers]
    for index in headers:
        yield _block(BlockType.PAGE_HEADER, lines[index : index + 1], page)
    body = [line for index, line in enumerate(lines) if index not in headers and index not in footers]
    for paragraph in _paragraphs(body):
        yield _block(_kind_of(paragraph, body_height), paragraph, page)
    for index in footers:
        yield _block(BlockType.PAGE_FOOTER, lines[index : index + 1], page)


def _paragraphs(lines: Sequence[PdfLine]) -> Iterator[list[PdfLine]]:
    paragraph: list[PdfLine] = []
    for line in lines:
        if paragraph and _begins_paragraph(paragraph[-1], line):
            yield paragraph
            paragraph = []
        paragraph.append(line)
    if paragraph:
        yield paragraph


def _begins_paragraph(above: PdfLine, line: PdfLine) -> bool:
    pitch = above.bottom - line.bottom
    height = max(above.height, line.height)
    next_column = pitch < -0.5 * height
    other_size = abs(above.height - line.height) > _SIZE_TOLERANCE * height
    return next_column or pitch > _PARAGRAPH_GAP * height or other_size or line.text.startswith(tuple(_BULLETS))


def _kind_of(paragraph: Sequence[PdfLine], body_height: float) -> BlockType:
    if paragraph[0].text.startswith(tuple(_BULLETS)):
        return BlockType.LIST_ITEM
    n_words = sum(len(line.text.split()) for line in paragraph)
    is_larger = min(line.height for line in paragraph) >= _HEADING_SIZE * body_height
    return BlockType.HEADING if is_larger and n_words <= _MAX_HEADING_WORDS else BlockType.PARAGRAPH


def _block(kind: BlockType, lines: Sequence[PdfLine], page: int) -> ReadBlock:
    text = lines[0].text
    for line in lines[1:]:
        # A hyphen at a line's end may be the word's own: it is kept, only the gap is closed.
        text += line.text if text.endswith("-") and line.text[:1].islower() else f" {line.text}"
    if kind is BlockType.LIST_ITEM:
        text = text.lstrip(_BULLETS).lstrip()
    # Whole points: finer coordinates would differ between builds of the engine.
    box = [
        round(min(line.left for line in lines)),
        round(min(line.bottom for line in lines)),
        round(max(line.right for line in lines)),
        round(max(line.top for line in lines)),
    ]
    return ReadBlock(type=kind, text=text, locator={"page": page, "box": box})


def _margin_lines(lines: Sequence[PdfLine]) -> tuple[range, range]:
    return range(min(_MARGIN_LINES, len(lines))), range(max(0, len(lines) - _MARGIN_LINES), len(lines))


def _running_lines(pages: Sequence[Sequence[PdfLine]], body_height: float) -> frozenset[tuple[str, str]]:
    """(edge, shape) of lines that stand at the same edge on most pages, numbers aside."""
    filled = [lines for lines in pages if lines]
    seen: Counter[tuple[str, str]] = Counter()
    for lines in filled:
        for edge, indexes in zip(("top", "bottom"), _margin_lines(lines), strict=True):
            # A line in the type of headings is "Chapter 1", "Chapter 2", … and no running header.
            small = (lines[index] for index in indexes if lines[index].height < _HEADING_SIZE * body_height)
            seen.update({(edge, line.shape) for line in small})
    return frozenset(key for key, n_pages in seen.items() if n_pages >= 2 and n_pages > len(filled) / 2)


def _body_height(pages: Sequence[Sequence[PdfLine]]) -> float:
    """The height of line that most characters are set in."""
    n_characters: Counter[float] = Counter()
    for line in (line for lines in pages for line in lines):
        n_characters[round(line.height, 1)] += len(line.text)
    return n_characters.most_common(1)[0][0]
