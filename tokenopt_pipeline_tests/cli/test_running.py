"""What `tokenopt run` does around the run itself."""

from __future__ import annotations

from typing import cast

import pytest
from rich.console import Console

from tokenopt_pipeline.adapters import tokenizers
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.cli import running
from tokenopt_pipeline.cli.workspace import Workspace
from tokenopt_pipeline.domain.runs import Run


def test_the_vocabulary_that_planning_has_loaded_is_not_held_while_a_run_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Begun(Exception):
        """Stops the run where it begins."""

    def begin(_: Workspace) -> None:
        raise Begun

    monkeypatch.setattr(running, "summaries_on", begin)
    O200kTokenizer().count("planning counts a prompt")
    with pytest.raises(Begun):
        running.execute(cast(Workspace, None), cast(Run, None), console=Console())
    assert tokenizers._encoding.cache_info().currsize == 0
