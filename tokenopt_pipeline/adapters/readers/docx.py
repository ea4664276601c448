"""Reader of Word documents: the body in order with what stands in its page margins and notes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence

from docx import Document
from docx.document import Document as WordDocument
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.part import Part, XmlPart
from docx.oxml import parse_xml

from tokenopt_pipeline.adapters.readers.docx_paragraphs import (
    ParagraphStyles,
    XmlElement,
    drawn_boxes,
    kind_of,
    paragraph_text,
    qualified,
    runs_into_the_next,
    table_text,
)
from tokenopt_pipeline.domain.documents import BlockType, ReadBlock, ReadDocument, SourceType
from tokenopt_pipeline.domain.errors import DocumentUnreadable

DOCX_READER_VERSION = 1

#: Unpacked size above which an archive is taken for a bomb: larger than any document that people edit in Word.
MAX_UNPACKED_BYTES = 400_000_000
#: Word itself writes some dozens; a document full of pictures some thousands.
MAX_PARTS = 20_000

_OLE_MARK = bytes.fromhex("d0cf11e0a1b11ae1")
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_TRANSPARENT = frozenset(
    map(qualified, ("w:sdt", "w:sdtContent", "w:customXml", "w:smartTag", "w:ins", "w:moveTo", "mc:Choice"))
)
_MARGINS = {BlockType.PAGE_HEADER: "w:headerReference", BlockType.PAGE_FOOTER: "w:footerReference"}
_MERGED = (BlockType.CODE_BLOCK, BlockType.DEFINITION)


def read_docx(name: str, content: bytes) -> ReadDocument:
    _refuse_unopenable(name, content)
    document = Document(io.BytesIO(content))
    walk = _Walk(document)
    blocks = tuple(_merged(walk.blocks()))
    return ReadDocument(
        source_type=SourceType.DOCX,
        reader_version=DOCX_READER_VERSION,
        blocks=blocks,
        title=walk.title or document.core_properties.title.strip() or None,
    )


def _refuse_unopenable(name: str, content: bytes) -> None:
    """Refuses before anything is unpacked; zipfile never unpacks a member beyond the size checked here."""
    if content.startswith(_OLE_MARK):
        if _ENCRYPTED_STREAM in content:
            raise DocumentUnreadable(name, "the Word document is protected by a password")
        raise DocumentUnreadable(name, "this is an old binary Word file (.doc); save it as .docx")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise DocumentUnreadable(name, f"not a Word document: the ZIP archive is damaged ({error})") from error
    if any(member.flag_bits & 0x1 for member in members):
        raise DocumentUnreadable(name, "the Word document is protected by a password")
    if len(members) > MAX_PARTS:
        raise DocumentUnreadable(name, f"the archive has {len(members):,} parts; the limit is {MAX_PARTS:,}")
    n_unpacked_bytes = sum(member.file_size for member in members)
    if n_unpacked_bytes > MAX_UNPACKED_BYTES:
        raise DocumentUnreadable(
            name, f"the archive unpacks to {n_unpacked_bytes:,} bytes; the limit is {MAX_UNPACKED_BYTES:,} bytes"
        )
    if "[Content_Types].xml" not in {member.filename for member in members}:
        raise DocumentUnreadable(name, "not a Word document: a ZIP archive without [Content_Types].xml")


class _Walk:
    """One pass over a document. Elements are numbered per part in the order they are met."""

    def __init__(self, document: WordDocument) -> None:
        self.title: str | None = None
        self._document = document
        self._part = document.part
        self._styles = ParagraphStyles(document.styles.element)
        self._seen_margins: set[str] = set()
        #: Text of a paragraph that the page shows as the beginning of the next one.
        self._held = ""

    def blocks(self) -> Iterator[ReadBlock]:
        sections = self._sections()
        yield from self._margins(sections[:1], BlockType.PAGE_HEADER)
        at = 0
        for number, element in enumerate(_block_elements(self._document.element.body)):
            yield from self._of_element(element, {"part": "document", "element": number})
            if element.find(f"{qualified('w:pPr')}/{qualified('w:sectPr')}") is not None:
                yield from self._margins(sections[at : at + 1], BlockType.PAGE_FOOTER)
                at += 1
                yield from self._margins(sections[at : at + 1], BlockType.PAGE_HEADER)
        yield from self._margins(sections[at : at + 1], BlockType.PAGE_FOOTER)
        yield from self._notes("footnotes", RELATIONSHIP_TYPE.FOOTNOTES, "w:footnote")
        yield from self._notes("endnotes", RELATIONSHIP_TYPE.ENDNOTES, "w:endnote")

    def _sections(self) -> list[dict[BlockType, list[str]]]:
        """Per section: kind of margin -> relations of the parts that its pages show.

        A section inherits what it does not set, also from a section that did not show it. Word keeps the margins of
        first and even pages in the file after they have been switched off.
        """
        even_differs = self._document.settings.odd_and_even_pages_header_footer
        known: dict[tuple[BlockType, str], str] = {}
        sections = []
        for section in self._document.element.body.iter(qualified("w:sectPr")):
            if section.getparent().tag == qualified("w:sectPrChange"):
                continue  # what the section was before a tracked change
            for kind, tag in _MARGINS.items():
                for reference in section.findall(qualified(tag)):
                    known[kind, reference.get(qualified("w:type"))] = reference.get(qualified("r:id"))
            first_differs = section.find(qualified("w:titlePg")) is not None
            pages = ["first"] * first_differs + ["default"] + ["even"] * even_differs
            sections.append({kind: [known[kind, page] for page in pages if (kind, page) in known] for kind in _MARGINS})
        return sections

    def _of_element(self, element: XmlElement, locator: dict[str, object]) -> Iterator[ReadBlock]:
        if element.tag == qualified("w:tbl"):
            yield ReadBlock(type=BlockType.TABLE, text=table_text(element), locator=locator)
            return
        text = self._held + paragraph_text(element).strip("\n")
        self._held = ""
        if runs_into_the_next(element):
            self._held = text
            return
        kind = kind_of(element, text, self._styles)
        if kind is BlockType.HEADING:
            level = self._styles.heading_level(element)
            if level == 0 and self.title is None and text.strip():
                self.title = " ".join(text.split())
            yield ReadBlock(type=kind, text=text.strip(), locator={**locator, "level": level})
        elif kind is BlockType.CODE_BLOCK:
            yield ReadBlock(type=kind, text=text, locator=locator)
        elif kind is BlockType.DEFINITION:
            term = {"term": True} if "definition term" in self._styles.names(element) else {}
            yield ReadBlock(type=kind, text=text.strip(), locator={**locator, **term})
        elif kind is not None:
            yield ReadBlock(type=kind, text=text.strip(), locator=locator)
        for box in drawn_boxes(element):
            for inner in _block_elements(box):
                yield from self._of_element(inner, {**locator, "box": True})

    def _margins(self, sections: Sequence[dict[BlockType, list[str]]], kind: BlockType) -> Iterator[ReadBlock]:
        """Headers or footers of a section; one that several sections share is given once, where it begins."""
        for relation in (relation for section in sections for relation in section[kind]):
            if relation in self._seen_margins:
                continue
            self._seen_margins.add(relation)
            part = self._part.related_parts[relation]
            name = str(part.partname).rsplit("/", 1)[-1].removesuffix(".xml")
            for number, element in enumerate(_block_elements(_root_of(part))):
                is_table = element.tag == qualified("w:tbl")
                text = (table_text(element) if is_table else paragraph_text(element)).strip()
                if text:
                    yield ReadBlock(type=kind, text=text, locator={"part": name, "element": number})

    def _notes(self, name: str, relation: str, tag: str) -> Iterator[ReadBlock]:
        parts = [rel.target_part for rel in self._part.rels.values() if rel.reltype == relation and not rel.is_external]
        for part in parts:
            for note in _root_of(part).findall(qualified(tag)):
                if note.get(qualified("w:type")) in (None, "normal"):
                    pieces = [paragraph_text(element).strip() for element in note.iter(qualified("w:p"))]
                    text = "\n\n".join(piece for piece in pieces if piece)
                    yield ReadBlock(
                        type=BlockType.FOOTNOTE,
                        text=text,
                        locator={"part": name, "label": note.get(qualified("w:id"))},
                    )


def _root_of(part: Part) -> XmlElement:
    # python-docx parses only the parts it has classes for; the others are bytes.
    return part.element if isinstance(part, XmlPart) else parse_xml(part.blob)


def _block_elements(parent: XmlElement) -> Iterator[XmlElement]:
    """Paragraphs and tables, also those inside content controls and tracked insertions."""
    for child in parent:
        if child.tag in (qualified("w:p"), qualified("w:tbl")):
            yield child
        elif child.tag in _TRANSPARENT or child.tag == qualified("mc:AlternateContent"):
            yield from _block_elements(child)


def _merged(blocks: Iterable[ReadBlock]) -> Iterator[ReadBlock]:
    """Code is one Word paragraph per line, a definition one for the term and one for its meaning."""
    pending: ReadBlock | None = None
    for block in blocks:
        if pending and block.type is pending.type and block.type in _MERGED and not block.locator.get("term"):
            text = f"{pending.text}\n{block.text}"
            pending = ReadBlock(type=pending.type, text=text, locator=pending.locator)
            continue
        if pending:
            yield pending
        pending = block
    if pending:
        yield pending
