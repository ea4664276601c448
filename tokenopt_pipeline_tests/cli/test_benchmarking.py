"""`tokenopt benchmark` and `tokenopt verify` from a terminal: files, one JSON object, the verdict as exit code, nothing bought."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tokenopt_pipeline.cli.benchmarking import live_budget
from tokenopt_pipeline.cli.commands import tokenopt
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.settings import read_settings
from tokenopt_pipeline_tests.measuring.conftest import on_the_stand, small_gates

__all__ = ["on_the_stand", "small_gates"]


@pytest.mark.usefixtures("on_the_stand")
def test_a_benchmark_writes_its_files_and_prints_one_object(tmp_path: Path) -> None:
    arguments = [
        "benchmark",
        "worker_batching",
        "--workload",
        "short_29",
        "--blocks",
        "4",
        "--out",
        str(tmp_path),
        "--json",
    ]
    ended = CliRunner().invoke(tokenopt, arguments)
    assert ended.exit_code == 0, ended.output
    document = json.loads(ended.stdout)
    assert [row["scenario"] for row in document["rows"]] == ["baseline", "worker_batching"]
    assert (document["gates"], document["failed"]) == (0, [])
    assert {path.name for path in tmp_path.iterdir()} == {Path(name).name for name in document["files"]}
    assert "1/2 " in ended.stderr


@pytest.mark.usefixtures("on_the_stand", "small_gates")
def test_verify_measures_keeps_writes_and_ends_with_the_verdict(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENOPT_DATABASE_URL", database_url)
    monkeypatch.setenv("TOKENOPT_HOME", str(tmp_path))
    report = tmp_path / "folder" / "report.md"
    measured = CliRunner().invoke(tokenopt, ["verify", "--out", str(report), "--json"])
    # The small gates say nothing of most locks.
    assert measured.exit_code == 1, measured.output
    document = json.loads(measured.stdout)
    assert document["passed"] is False
    assert len(document["locks"]) == 8
    assert document["locks"]["pre-filter"]["passed"]
    first = report.read_text()
    assert first.startswith("# Worker token optimization: verification")
    report.unlink()
    read = CliRunner().invoke(tokenopt, ["verify", "--read", "--out", str(report)])
    assert read.exit_code == 1
    assert "verdict       FAIL" in read.stdout
    assert report.read_text() == first


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("benchmark", "packs"), "scenario 'packs' is none of"),
        (("benchmark", "--workload", "novels"), "workload 'novels' is none of"),
        (("benchmark", "--budget", "1"), "--budget is for --live"),
        (("benchmark", "--live"), "--live needs --budget USD"),
        (("benchmark", "--live", "--budget", "much"), "--live needs --budget USD"),
        (("benchmark", "--live", "--budget", "-1"), "--live needs --budget USD"),
    ],
)
def test_bad_input_is_refused_before_anything_is_measured(
    arguments: tuple[str, ...], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sandbox")
    ended = CliRunner().invoke(tokenopt, arguments)
    assert ended.exit_code == 2
    assert problem in ended.stderr


@pytest.mark.parametrize(
    ("environment", "problem"),
    [({"CI": "true", "ANTHROPIC_API_KEY": "k"}, "continuous integration"), ({}, "no provider's key is set")],
)
def test_nothing_is_bought_in_ci_or_without_a_key(environment: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        live_budget(read_settings(environment), "1")


def test_a_read_before_the_first_benchmark_says_what_to_do(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENOPT_DATABASE_URL", database_url)
    monkeypatch.setenv("TOKENOPT_HOME", str(tmp_path))
    ended = CliRunner().invoke(tokenopt, ["verify", "--read", "--out", str(tmp_path / "report.md")])
    assert ended.exit_code == 2
    assert "no benchmark has been stored yet" in ended.stderr
