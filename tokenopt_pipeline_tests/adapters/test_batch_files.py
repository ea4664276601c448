"""Whatever a provider sends as results is read to its end or said to be broken, in bounded memory."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.anthropic_batches import AnthropicBatches
from tokenopt_pipeline.adapters.batch_files import DownloadedFile, TemporaryResults
from tokenopt_pipeline.domain.batches import custom_id
from tokenopt_pipeline.domain.errors import ProviderUnavailable
from tokenopt_pipeline_tests.domain.test_batches import a_batch

READER = AnthropicBatches(AnthropicProvider(api_key="unused"))
BATCH = a_batch()


def line(number: int, *, key: str = BATCH.key) -> bytes:
    return json.dumps({"custom_id": custom_id(key, number), "result": {"type": "expired"}}).encode()


def read(content: bytes, folder: Path) -> tuple[list[tuple[str | None, bool]], str | None]:
    """(id, whether the text came along) of every line, and why they ended early."""
    path = folder / "results"
    path.write_bytes(content)
    file = DownloadedFile(path, READER, key=BATCH.key, simulated=True)
    return [(request_id, text is not None) for request_id, text in file.lines()], file.broken


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_lines_are_read_in_any_order_with_blank_ones_between(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    found, broken = read(pack(b"\n" + line(2) + b"\r\n\n" + line(1)), tmp_path)
    assert found == [(custom_id(BATCH.key, 2), True), (custom_id(BATCH.key, 1), True)]
    assert broken is None


def test_lines_of_another_batch_keep_their_id_and_lose_their_text(tmp_path: Path) -> None:
    found, broken = read(line(1, key="f" * 16) + b"\n" + b'{"custom_id": "theirs"}\n', tmp_path)
    assert found == [(custom_id("f" * 16, 1), False), ("theirs", False)]
    assert broken is None


@given(cut=st.integers(1, len(line(7)) - 1))
def test_a_file_that_ends_in_a_line_says_so_and_keeps_the_lines_before(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    found, broken = read(line(1) + b"\n" + line(7)[:cut], tmp_path_factory.mktemp("cut"))
    assert found == [(custom_id(BATCH.key, 1), True), (None, False)]
    assert broken == "the file ends in the middle of a line"


@given(st.binary(max_size=300))
def test_no_bytes_whatever_stop_the_reading(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    found, broken = read(line(1) + b"\n" + junk, tmp_path_factory.mktemp("junk"))
    assert found[0] == (custom_id(BATCH.key, 1), True)
    assert broken is None or isinstance(broken, str)


def test_a_packed_file_that_is_cut_says_so_and_keeps_what_came(tmp_path: Path) -> None:
    content = b"".join(line(n) + b"\n" for n in range(2000))
    found, broken = read(gzip.compress(content)[:-200], tmp_path)
    assert broken is not None
    assert broken.startswith("the packed file is damaged")
    assert 0 < len(found) < 2000


@pytest.mark.parametrize("content", [b"", b"\n\n", b"null\n", b"[1]\n", b"{}\n", b'{"custom_id": 3}\n', b"\xff\xfe\n"])
def test_what_is_no_line_of_results_is_counted_as_one_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    found, broken = read(content, tmp_path)
    assert found == ([(None, False)] if content.strip() else [])
    assert broken is None


def test_a_large_file_of_nobody_is_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "results"
    with path.open("wb") as out:
        for n in range(400):
            out.write(json.dumps({"custom_id": f"unknown-{n}", "filling": "x" * 100_000}).encode() + b"\n")
    file = DownloadedFile(path, READER, key=BATCH.key, simulated=True)
    tracemalloc.start()
    count = sum(1 for _ in file.lines())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 400
    # Forty megabytes went by.
    assert peak < 2_000_000


class Sending:
    """A provider whose downloads send these bytes, and then break off or end."""

    def __init__(self, content: bytes, *, breaks: bool = False, has_results: bool = True) -> None:
        self._content, self._breaks, self._has_results = content, breaks, has_results

    def __getattr__(self, name: str) -> Any:
        return getattr(READER, name)

    def download(self, batch_id: str, to: Path, *, timeout_s: float, most_bytes: int | None = None) -> bool | None:
        to.write_bytes(self._content)
        if self._breaks:
            raise ProviderUnavailable("the connection is gone")
        return True if self._has_results else None


def test_what_came_before_a_download_broke_off_is_used_and_nothing_is_left_behind(tmp_path: Path) -> None:
    from dataclasses import replace

    results, batch = TemporaryResults(tmp_path), replace(BATCH, batch_id="b")
    with results.fetched(Sending(line(1) + b"\n", breaks=True), batch, timeout_s=1) as file:
        assert file is not None
        assert len(list(file.lines())) == 1
        assert file.broken == "the download broke off: the connection is gone"
    with (
        pytest.raises(ProviderUnavailable),
        results.fetched(Sending(b"", breaks=True), batch, timeout_s=1),
    ):
        pass
    with results.fetched(Sending(b"", has_results=False), batch, timeout_s=1) as nothing:
        assert nothing is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "key"),
    [(line(1), BATCH.key), (b"garbled\n" + line(1), BATCH.key), (b'{"custom_id": "theirs"}', ""), (b"", None)],
)
def test_the_first_id_in_results_tells_whose_they_are(tmp_path: Path, content: bytes, key: str | None) -> None:
    assert TemporaryResults(tmp_path).key_in_results(Sending(content), "b", timeout_s=1) == key
