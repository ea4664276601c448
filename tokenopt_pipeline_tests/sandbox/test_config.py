"""Reading a sandbox's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenopt_pipeline.sandbox.__main__ import _config, main
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.config_reading import ConfigRefused
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.json_value import Json


def test_settings_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.json"
    path.write_text(
        '{"latency_s": 0.5, "requests_per_minute": 60, "hidden_prompt": {"format_tokens": 0},'
        ' "tools": {"rounds": 2}, "replay": "recorded.jsonl",'
        ' "faults": {"seed": 3, "rates": {"prose": 0.5}}}'
    )
    config = SandboxConfig.from_file(path)
    assert (config.latency_s, config.requests_per_minute, config.hidden_prompt.format_tokens) == (0.5, 60, 0)
    assert config.faults.rates == {Fault.PROSE: 0.5}
    assert (config.tools.rounds, config.replay) == (2, Path("recorded.jsonl"))


def test_nothing_said_is_the_default() -> None:
    assert SandboxConfig.from_json({}) == SandboxConfig()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"latency": 1}, id="unknown key"),
        pytest.param({"hidden_prompt": {"tokens": 1}}, id="unknown key inside"),
        pytest.param({"hidden_prompt": {"format_tokens": -1}}, id="negative tokens"),
        pytest.param({"latency_s": "1"}, id="text for a number"),
        pytest.param({"latency_s": -1}, id="negative latency"),
        pytest.param({"requests_per_minute": 0}, id="no requests at all"),
        pytest.param({"max_cache_entries": 1.5}, id="half an entry"),
        pytest.param({"replay": 1}, id="a number for a file"),
        pytest.param({"tools": {"round": 1}}, id="a plan of tools"),
        pytest.param([], id="not an object"),
    ],
)
def test_settings_that_are_not_understood_are_refused(value: Json) -> None:
    with pytest.raises(ConfigRefused):
        SandboxConfig.from_json(value)


def test_the_command_line_adds_to_the_file() -> None:
    config = _config(None, 0.25, ["prose=0.5", "slow=0.1"])
    assert config.latency_s == 0.25
    assert config.faults.rates == {Fault.PROSE: 0.5, Fault.SLOW: 0.1}


@pytest.mark.parametrize("arguments", [["--fault", "prose"], ["--fault", "prose=x"], ["--fault", "nothing=0.1"]])
def test_a_fault_that_is_not_understood_is_bad_input(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("sandbox: ")


def test_a_host_beyond_loopback_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "0.0.0.0"]) == 2
    assert "loopback only" in capsys.readouterr().err
