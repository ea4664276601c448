"""Files of one sandbox, as callers upload them and batches make them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tokenopt_pipeline.sandbox.json_value import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file; moments are simulated seconds since the epoch."""

    provider: str
    id: str
    key: str
    """Whose it is."""
    lines: tuple[bytes, ...]
    """Its content, cut at newlines, which are not part of it."""
    size: int
    """Bytes."""
    created_s: float
    expires_s: float
    batch_id: str | None = None
    """The batch that made it."""
    shown: JsonObject = field(default_factory=dict)
    """What else the provider shows of it."""


@dataclass(slots=True, kw_only=True)
class Upload:
    """A file on its way here in pieces."""

    key: str
    name: str | None
    """As the caller wants it; None takes a new one."""
    display_name: str
    mime_type: str
    content: bytearray = field(default_factory=bytearray)


class FileStore:
    """Every file of one sandbox; time is an argument of every call."""

    def __init__(self) -> None:
        self._files: dict[str, StoredFile] = {}
        self.uploads: dict[str, Upload] = {}

    def add(self, stored: StoredFile) -> None:
        """Keep `stored`."""
        self._files[stored.id] = stored

    def find(self, provider: str, identifier: str, key: str, now_s: float) -> StoredFile | None:
        """The file, if it is this key's and not expired."""
        stored = self._files.get(identifier)
        if stored is None or stored.provider != provider or stored.key != key or stored.expires_s <= now_s:
            return None
        return stored

    def of(self, provider: str, key: str, now_s: float) -> list[StoredFile]:
        """This key's files, newest first."""
        mine = [stored for stored in self._files.values() if stored.provider == provider and stored.key == key]
        return [stored for stored in mine if stored.expires_s > now_s][::-1]

    def remove(self, stored: StoredFile) -> None:
        """Forget `stored`."""
        del self._files[stored.id]


def lines_of(content: bytes) -> tuple[bytes, ...]:
    """`content` cut at newlines; the one at its end begins no line."""
    lines = content.split(b"\n")
    return tuple(lines[:-1] if lines[-1] == b"" else lines)


def size_of(lines: Iterable[bytes]) -> int:
    """Bytes of `lines` with a newline each."""
    return sum(len(line) + 1 for line in lines)
