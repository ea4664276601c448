"""Results of batches as files: downloaded to a temporary one, read line by line, whatever was sent."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from tokenopt_pipeline.domain.batches import Batch, key_in
from tokenopt_pipeline.domain.errors import TransientError
from tokenopt_pipeline.ports import BatchReader

# An answer of 128 k tokens, every character of it escaped, has some six megabytes.
_LONGEST_LINE = 64 * 1024 * 1024
# Uncompressed. A hundred thousand answers of ten kilobytes have one gigabyte.
_MOST_BYTES = 8 * 1024**3
#: So much of a batch's results tells whose it is.
_FIRST_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"


class TemporaryResults:
    """`ports.ResultFiles` in the system's temporary folder, or in `folder`."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @contextmanager
    def fetched(self, reader: BatchReader, batch: Batch, *, timeout_s: float) -> Iterator[DownloadedFile | None]:
        """The results of an ended batch, for as long as the context is open; None: the provider has none.

        Raises TransientError when nothing came at all.
        """
        assert batch.batch_id is not None  # an ended batch that existed has one
        with self._file() as path:
            cut: str | None = None
            simulated: bool | None = None
            try:
                simulated = reader.download(batch.batch_id, path, timeout_s=timeout_s)
            except TransientError as problem:
                if not path.stat().st_size:
                    raise
                cut = f"the download broke off: {problem}"
            if simulated is None and cut is None:
                yield None
                return
            yield DownloadedFile(path, reader, key=batch.key, simulated=bool(simulated), cut=cut)

    def key_in_results(self, reader: BatchReader, batch_id: str, *, timeout_s: float) -> str | None:
        """The key that the ids in a batch's results begin with; empty when they are not ours, None when there is no id."""
        with self._file() as path:
            reader.download(batch_id, path, timeout_s=timeout_s, most_bytes=_FIRST_BYTES)
            for request_id, _ in DownloadedFile(path, reader, key="", simulated=False).lines():
                if request_id is not None:
                    return key_in(request_id)
        return None

    @contextmanager
    def _file(self) -> Iterator[Path]:
        # Gone with the process's last handle on it in mind: a killed process leaves at most this one file behind.
        with tempfile.NamedTemporaryFile(prefix="tokenopt-batch-", suffix=".jsonl", dir=self._folder) as file:
            yield Path(file.name)


class DownloadedFile:
    """`ports.ResultFile`."""

    def __init__(self, path: Path, reader: BatchReader, *, key: str, simulated: bool, cut: str | None = None) -> None:
        """`key` is the batch's; `cut` says why the download ended early."""
        self._path = path
        self._reader = reader
        self._key = key
        self._cut = cut
        #: Whether a stand-in sent them.
        self.simulated = simulated
        #: Why the lines ended early, once they were read.
        self.broken: str | None = None

    def lines(self) -> Iterator[tuple[str | None, str | None]]:
        """(id, text) of every line. No id: it cannot be read; no text: it is about no request of the batch."""
        self.broken = None
        read = 0
        with self._path.open("rb") as raw:
            is_gzip = raw.read(2) == _GZIP
            raw.seek(0)
            # A server or a gateway between may send it packed, whatever its headers say.
            file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if is_gzip else raw
            try:
                while line := file.readline(_LONGEST_LINE):
                    read += len(line)
                    if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
                        self.broken = f"a line has more than {_LONGEST_LINE} bytes"
                        return
                    if read > _MOST_BYTES:
                        self.broken = f"the file has more than {_MOST_BYTES} bytes"
                        return
                    if line.strip():
                        yield self._read(line)
            except (EOFError, OSError, zlib.error) as problem:
                self.broken = f"the packed file is damaged: {problem}"
                return
        self.broken = self._cut

    def _read(self, line: bytes) -> tuple[str | None, str | None]:
        try:
            request_id = self._reader.id_in(line)
            is_ours = key_in(request_id) == self._key
            return request_id, line.decode().strip() if is_ours else None
        except ValueError:
            if not line.endswith(b"\n"):
                self._cut = self._cut or "the file ends in the middle of a line"
            return None, None
