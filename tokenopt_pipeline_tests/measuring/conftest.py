"""One stand for all tests of the folder: starting a server and a sandbox is what costs time here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tokenopt_pipeline.adapters.files import shipped_path
from tokenopt_pipeline.measuring import bench
from tokenopt_pipeline.measuring.bench import Documents
from tokenopt_pipeline.measuring.stand import Stand, open_stand


@pytest.fixture(scope="session")
def stand() -> Iterator[Stand]:
    with open_stand() as running:
        yield running


@pytest.fixture
def on_the_stand(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks of the test use the session's stand."""

    @contextmanager
    def opened(*, live: bool = False) -> Iterator[Stand]:
        assert not live
        yield stand

    monkeypatch.setattr(bench, "open_stand", opened)


@pytest.fixture
def documents() -> Documents:
    return Documents(shipped=shipped_path("demo") / "collection", data=None)


@pytest.fixture
def shared_documents(shared: Path) -> Documents:
    return Documents(shipped=shipped_path("demo") / "collection", data=shared / "data")
