"""Writes the two binary documents of the demo collection: `maintenance-contract.docx` and `site-survey.pdf`.

Run as `python -m demo.make_binary_documents`. The same text gives the same bytes: no clock, fixed ZIP dates.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from docx import Document
from docx.shared import Inches

from demo.binary_texts import CONTRACT, SURVEY, Piece

FOLDER = Path(__file__).parent / "collection"

_ZIP_DATE = (2025, 1, 1, 0, 0, 0)
_PAGE_WIDTH, _PAGE_HEIGHT, _MARGIN = 595, 842, 72
#: Piece kind -> (PDF font, size in points, space above in points, characters per line).
_PDF_STYLES = {
    "title": ("F2", 18, 0, 45),
    "heading": ("F2", 14, 18, 60),
    "paragraph": ("F1", 10, 10, 92),
    "bullet": ("F1", 10, 6, 88),
}
#: The smallest PNG there is: one grey pixel.
_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c63680000008200814cd3f92d0000000049454e44ae426082"
)


def contract_docx() -> bytes:
    document = Document()
    document.core_properties.title = "Maintenance Contract MC-118"
    section = document.sections[0]
    section.header.paragraphs[0].text = "Maintenance Contract MC-118 – Kestrel Bay Water Authority"
    section.footer.paragraphs[0].text = "Confidential"
    styles = {"title": "Title", "paragraph": "Normal", "bullet": "List Bullet"}
    for kind, text in CONTRACT:
        if kind == "heading":
            document.add_heading(text, level=1)
        elif kind == "caption":
            document.add_paragraph(text, style="Caption")
        elif kind == "picture":
            _add_picture(document.add_paragraph().add_run(), text)
        elif kind == "table":
            rows = [line.split("|") for line in text.split("\n")]
            table = document.add_table(rows=len(rows), cols=len(rows[0]))
            for row, cells in zip(table.rows, rows, strict=True):
                for cell, words in zip(row.cells, cells, strict=True):
                    cell.text = words.strip()
        else:
            document.add_paragraph(text, style=styles[kind])
    saved = io.BytesIO()
    document.save(saved)
    return _with_fixed_dates(saved.getvalue())


def _add_picture(run: object, description: str) -> None:
    shape = run.add_picture(io.BytesIO(_PIXEL), width=Inches(2))  # type: ignore[attr-defined]  # a docx Run
    if description:
        shape._inline.docPr.set("descr", description)


def _with_fixed_dates(archive: bytes) -> bytes:
    rewritten = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(rewritten, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name, _ZIP_DATE), old.read(name), zipfile.ZIP_DEFLATED)
    return rewritten.getvalue()


def survey_pdf() -> bytes:
    pages = [_page_content(pieces, number, len(SURVEY)) for number, pieces in enumerate(SURVEY, start=1)]
    return pdf_of_pages(pages, title="Site survey of lift station 4")


def pdf_of_pages(contents: list[bytes], *, title: str = "") -> bytes:
    """A PDF with one page per content stream; F1 is Helvetica and F2 its bold face."""
    n_pages = len(contents)
    kids = " ".join(f"{6 + 2 * index} 0 R" for index in range(n_pages))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {n_pages} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
        f"<< /Title ({title}) >>".encode("latin-1"),
    ]
    for index, content in enumerate(contents):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {_PAGE_WIDTH} {_PAGE_HEIGHT}] /Contents {7 + 2 * index} 0 R "
            "/Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    pdf = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(pdf))
        pdf += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    trailer = b"trailer << /Size %d /Root 1 0 R /Info 5 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(pdf))
    return pdf + b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table) + trailer


def text_at(font: str, size: int, left: int, baseline: int, text: str) -> bytes:
    """One line of text as PDF operators."""
    escaped = text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    return b"BT /%s %d Tf %d %d Td (%s) Tj ET\n" % (font.encode(), size, left, baseline, escaped)


def _page_content(pieces: list[Piece], number: int, n_pages: int) -> bytes:
    content = text_at("F1", 8, _MARGIN, _PAGE_HEIGHT - 40, "Kestrel Bay Water Authority – Site survey SV-2024-06")
    baseline = _PAGE_HEIGHT - _MARGIN
    for kind, text in pieces:
        font, size, space_above, width = _PDF_STYLES[kind]
        baseline -= space_above
        for line in _wrapped(f"• {text}" if kind == "bullet" else text, width):
            baseline -= round(size * 1.3)
            content += text_at(font, size, _MARGIN, baseline, line)
    return content + text_at("F1", 8, _MARGIN, 40, f"Page {number} of {n_pages}")


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def main() -> None:
    (FOLDER / "maintenance-contract.docx").write_bytes(contract_docx())
    (FOLDER / "site-survey.pdf").write_bytes(survey_pdf())


if __name__ == "__main__":
    main()
