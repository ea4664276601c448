"""Files that nobody can read, built byte by byte."""

from __future__ import annotations

import io
import zipfile


def zip_of(members: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Name -> content."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as writer:
        for name, content in members.items():
            writer.writestr(name, content)
    return archive.getvalue()


def zip_with_password_flag() -> bytes:
    """A ZIP whose central directory says that its member is encrypted."""
    archive = bytearray(zip_of({"[Content_Types].xml": b"<Types/>"}, compression=zipfile.ZIP_STORED))
    entry = archive.index(b"PK\x01\x02")
    archive[entry + 8] |= 0x01
    return bytes(archive)


def zip_bomb(n_claimed_bytes: int) -> bytes:
    """A small ZIP whose central directory promises `n_claimed_bytes`."""
    archive = bytearray(zip_of({"[Content_Types].xml": b"0" * 1000}))
    entry = archive.index(b"PK\x01\x02")
    archive[entry + 24 : entry + 28] = n_claimed_bytes.to_bytes(4, "little")
    return bytes(archive)


def encrypted_office_file() -> bytes:
    """What Office writes for a document with a password: an OLE container around the encrypted package."""
    mark = bytes.fromhex("d0cf11e0a1b11ae1")
    return mark + bytes(512) + "EncryptedPackage".encode("utf-16-le") + bytes(512)


def old_word_file() -> bytes:
    return bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512) + "WordDocument".encode("utf-16-le")


def encrypted_pdf() -> bytes:
    """A PDF of the standard security handler whose check values fit no empty password."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] >>",
        b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <" + b"41" * 32 + b"> /U <" + b"42" * 32 + b"> >>",
    ]
    pdf, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(pdf))
        pdf += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    identity = b"<" + b"43" * 16 + b">"
    trailer = b"trailer << /Size 5 /Root 1 0 R /Encrypt 4 0 R /ID [%s %s] >>" % (identity, identity)
    return pdf + b"xref\n0 5\n0000000000 65535 f \n%s%s\nstartxref\n%d\n%%%%EOF\n" % (table, trailer, len(pdf))
