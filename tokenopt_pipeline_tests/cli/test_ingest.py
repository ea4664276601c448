"""`tokenopt ingest`: names, changes and refusals, told in figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenopt_pipeline.adapters.readers import SUFFIXES
from tokenopt_pipeline.adapters.source_files import find_sources
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline_tests.end_to_end.terminal import Terminal, counts


def test_a_file_is_called_by_its_name_and_a_folders_file_by_the_path_below_it(tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "deep"
    folder.mkdir(parents=True)
    (folder / "b.MD").write_text("b")
    (folder / "skipped.xlsx").write_text("x")
    (tmp_path / "a.txt").write_text("a")
    assert list(find_sources([tmp_path / "a.txt", tmp_path / "docs"], SUFFIXES)) == ["a.txt", "docs/deep/b.MD"]


def test_two_files_of_one_name_are_refused_and_the_same_file_twice_is_one(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.md").write_text(name)
    a, b = tmp_path / "one" / "a.md", tmp_path / "two" / "a.md"
    with pytest.raises(InvalidInput, match=r"would both be named a\.md"):
        find_sources([a, b], SUFFIXES)
    assert list(find_sources([a, a], SUFFIXES)) == ["a.md"]


def test_new_known_changed_and_refused_files_are_told_apart(module_terminal: Terminal, tmp_path: Path) -> None:
    first, second = tmp_path / "first.md", tmp_path / "second.md"
    first.write_text("One paragraph.\n\nAnd another.")
    said = module_terminal.tok("ingest", first, "--collection", "mine")
    assert said.out == ("mine: 1 file, 2 blocks; 1 new document, 0 known under a new name, 0 unchanged, 0 refused\n")
    second.write_text(first.read_text())
    copied = module_terminal.tok("ingest", second, "--collection", "mine", "--json").json()
    assert copied["documents"] == {"new": 0, "known": 1, "unchanged": 0}
    before = counts(module_terminal.environment["TOKENOPT_DATABASE_URL"])
    first.write_text("One paragraph.\n\nAnd another.\n\nAnd a third.")
    (tmp_path / "empty.md").write_text("")
    changed = module_terminal.tok("ingest", first, tmp_path / "empty.md", "--collection", "mine", "--json", code=1)
    assert changed.json()["documents"] == {"new": 1, "known": 0, "unchanged": 0}
    assert changed.json()["refused"] == [{"name": "empty.md", "reason": "the file is empty (0 bytes)"}]
    assert changed.err == "refused  empty.md: the file is empty (0 bytes)\n"
    after = counts(module_terminal.environment["TOKENOPT_DATABASE_URL"])
    assert (after["document"] - before["document"], after["block"] - before["block"]) == (1, 3)


def test_a_collection_that_refused_everything_holds_nothing(module_terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "empty.md").write_text("")
    before = counts(module_terminal.environment["TOKENOPT_DATABASE_URL"])
    module_terminal.tok("ingest", tmp_path / "empty.md", "--collection", "nothing-yet", code=2)
    assert counts(module_terminal.environment["TOKENOPT_DATABASE_URL"]) == before
