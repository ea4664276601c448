"""What every vendor's batches are read with: times, ids, and a stream that is written to a file byte for byte."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from tokenopt_pipeline.adapters.answer_reading import object_in
from tokenopt_pipeline.domain.errors import ProviderUnavailable


def line_of(members: dict[str, Any]) -> bytes:
    """One line of JSON, without its end."""
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()


def request_id_in(line: bytes, name: str) -> str:
    """The member of a line of results that names its request. Raises ValueError for a line that cannot be read."""
    found = object_in(line).get(name)
    if not isinstance(found, str) or not found:
        raise ValueError(f"it has no {name}")
    return found


def moment(value: object, vendor: str) -> datetime:
    """A point in time as vendors write it: RFC 3339, or seconds since 1970. Raises ProviderUnavailable."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        found = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError) as problem:
        raise ProviderUnavailable(f"{vendor}: a batch has no time that can be read: {value!r}") from problem
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def append_stream(chunks: Iterable[bytes], to: Path, *, most_bytes: int | None) -> None:
    """Writes the chunks behind what the file holds, on a line of their own, until the file has so many bytes or more."""
    with to.open("ab") as file:
        if file.tell():
            file.write(b"\n")
        for chunk in chunks:
            file.write(chunk)
            if most_bytes is not None and file.tell() >= most_bytes:
                return


class Bounded(io.RawIOBase):
    """A file to write to that refuses what goes beyond so many bytes; what came before stays."""

    def __init__(self, file: BinaryIO, most_bytes: int | None) -> None:
        self._file = file
        self._most = most_bytes

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Writes it. Raises EnoughRead."""
        written = self._file.write(data)
        if self._most is not None and self._file.tell() >= self._most:
            raise EnoughRead
        return written


class EnoughRead(Exception):
    """The bytes that were wanted have come."""
