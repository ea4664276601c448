"""`python -m tokenopt_pipeline.sandbox`: serve on loopback, print the base URL, run until interrupted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.config_reading import ConfigRefused
from tokenopt_pipeline.sandbox.faults import Fault, fault_named
from tokenopt_pipeline.sandbox.serve import serve

_BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 stopped, 2 refused."""
    parser = argparse.ArgumentParser(
        prog="python -m tokenopt_pipeline.sandbox",
        description="A provider stand-in on loopback. Everything it answers is simulated.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="loopback host (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port; 0 takes a free one (default)")
    parser.add_argument("--config", type=Path, metavar="FILE.json", help="settings; unknown keys are refused")
    parser.add_argument("--port-file", type=Path, metavar="PATH", help="written once connections are accepted")
    parser.add_argument("--latency-s", type=float, help="seconds until the first token")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="recorded outputs for models called replay/…")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="NAME=RATE", help=f"one of {', '.join(Fault)}; may be repeated"
    )
    options = parser.parse_args(arguments)
    try:
        config = _config(options.config, options.latency_s, options.fault)
        if options.replay is not None:
            config = replace(config, replay=options.replay)
        serve(options.host, options.port, config, lambda port: _announce(options.host, port, options.port_file))
    except (ConfigRefused, OSError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return _BAD_INPUT
    except KeyboardInterrupt:
        pass
    return 0


def _config(path: Path | None, latency_s: float | None, faults: Sequence[str]) -> SandboxConfig:
    config = SandboxConfig() if path is None else SandboxConfig.from_file(path)
    if latency_s is not None:
        config = replace(config, latency_s=latency_s)
    rates = dict(config.faults.rates)
    for fault in faults:
        name, separator, rate = fault.partition("=")
        try:
            rates[fault_named(name)] = float(rate)
        except ConfigRefused:
            raise
        except ValueError:
            raise ConfigRefused(f"--fault takes NAME=RATE, found {fault!r}") from None
        if not separator:
            raise ConfigRefused(f"--fault takes NAME=RATE, found {fault!r}")
    return replace(config, faults=replace(config.faults, rates=MappingProxyType(rates)))


def _announce(host: str, port: int, port_file: Path | None) -> None:
    if port_file is not None:
        # Written aside and renamed, so that a reader sees no file or a whole one.
        aside = port_file.with_name(f"{port_file.name}.part")
        aside.write_text(f"{port}\n", encoding="ascii")
        aside.replace(port_file)
    shown_host = f"[{host}]" if ":" in host else host
    print(f"http://{shown_host}:{port}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
