"""The sandbox as its own process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tokenopt_pipeline.sandbox.config_reading import ConfigRefused
from tokenopt_pipeline.sandbox.serve import serve


def test_the_command_prints_its_url_and_writes_its_port_once_it_accepts_connections(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "tokenopt_pipeline.sandbox", "--port-file", str(port_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url == f"http://127.0.0.1:{int(port_file.read_text())}"
            with urllib.request.urlopen(f"{url}/healthz", timeout=5) as response:
                assert response.headers["x-tokenopt-sandbox"] == "simulated"
                assert json.load(response) == {"status": "ok", "kind": "simulated"}
        finally:
            process.terminate()


def test_a_signal_to_the_command_ends_the_server(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    command = [str(Path(sys.executable).with_name("tokenopt")), "sandbox", "serve", "--port-file", str(port_file)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not port_file.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_only_loopback_is_served() -> None:
    with pytest.raises(ConfigRefused, match="loopback only"):
        serve(host="0.0.0.0")
