"""The public truth about block types, where it is present."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.block_type_truth import shared_folder


@pytest.fixture(scope="session")
def shared_block_types() -> Path:
    folder = shared_folder()
    if not folder.is_dir():
        pytest.skip("the shared block type truth is absent; set TOKENOPT_SHARED")
    return folder
