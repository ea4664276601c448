"""Ours and the peers in one table: `python -m benchmarks.peers [PEER...] [--blocks N] [--venvs FOLDER] [--out FILE]`.

Every tool runs as a process of its own, in its own environment installed by name from the package registry (README.md), in the
mode that its users would take, against one stand-in; simulated. Conditions: no faults, and the same command again; all faults
together, and the same command again without them; SIGKILL once half of the blocks are answered (batches: at the first look),
or while a batch is being taken, then the same command again. At the end: which of the bars of the public study ours meets.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.peers.billing import KINDS
from benchmarks.peers.figures import MINI, MODES, SONNET, Line, Prices, bars_met, table
from benchmarks.peers.workload import blocks, check, write_inputs
from tokenopt_pipeline.measuring.stand import Stand, open_stand

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A tool in one mode."""

    #: As pip takes them; None: our own environment.
    packages: Sequence[str] | None = None
    #: Script of `their-scripts`, or `ours`.
    script: str
    prices: Prices = MINI
    is_batch: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


_INSTRUCTOR, _CURATOR = ("instructor==1.17.0", "diskcache"), ("bespokelabs-curator==0.1.31",)
PEERS: Mapping[str, Peer] = {
    "ours": Peer(script="ours"),
    "naive": Peer(script="naive"),
    "instructor_disk": Peer(script="instructor_disk", packages=_INSTRUCTOR),
    "docetl_packed": Peer(script="docetl_packed", packages=("docetl==0.3.0",)),
    "curator_online": Peer(script="curator_online", packages=_CURATOR),
    "ours_batch": Peer(
        script="ours", is_batch=True, environment={"PEER_MODEL": "openai/gpt-4.1-mini", "PEER_MODE": "async"}
    ),
    "instructor_batch": Peer(script="instructor_batch", packages=_INSTRUCTOR, is_batch=True),
    "curator_batch": Peer(script="curator_batch", packages=_CURATOR, is_batch=True),
    "ours_anthropic": Peer(script="ours", prices=SONNET, environment={"PEER_MODEL": "anthropic/claude-sonnet-4-5"}),
    "ours_anthropic_batch": Peer(
        script="ours",
        prices=SONNET,
        is_batch=True,
        environment={"PEER_MODEL": "anthropic/claude-sonnet-4-5", "PEER_MODE": "async"},
    ),
}
#: `again`: what the same command does after it has ended well; `healed`: what it does after a run with faults, without them.
CONDITIONS = ("clean", "again", "faults", "healed", "kill", "kill_in_submit")
#: Online and in batches: 5 % malformed, 2 % not carried out, 10 % of packs with a block dropped, repeated or out of order.
FAULTS = {"malformed": 0.05, "rate_limited": 0.02, "batch_errors": 0.02, "pack_faults": 0.10}
_RUN_S = 300.0
#: A batch that is taken and not yet confirmed.
_SUBMIT_DELAY_S = 5.0
# How tiktoken calls what it has fetched: SHA-1 of the address.
_O200K, _CL100K = "fb374d419588a4632f3f557e76b4b70aebbca790", "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"


class Control:
    """The stand-in's control doors."""

    def __init__(self, url: str) -> None:
        self.url = url

    def stats(self) -> dict[str, int]:
        """What was asked and billed since the reset."""
        found: dict[str, int] = json.loads(self._call("stats", None))
        return found

    def reset(self, **faults: float) -> None:
        """Forgets everything and draws these faults from now on."""
        self._call("reset", json.dumps(faults).encode())

    def faults(self, **faults: float) -> None:
        """Other faults from now on; nothing is forgotten."""
        self._call("faults", json.dumps(faults).encode())

    def _call(self, name: str, body: bytes | None) -> bytes:
        request = urllib.request.Request(f"{self.url}/control/{name}", data=body)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as response:
            told: bytes = response.read()
        return told


@contextmanager
def standin(folder: Path) -> Iterator[Control]:
    """A stand-in in a process of its own."""
    port_file = folder / "port"
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.peers.standin", "--port-file", str(port_file)])
    try:
        while not port_file.exists():
            if process.poll() is not None:
                raise SystemExit("the stand-in did not start")
            time.sleep(0.02)
        yield Control(f"http://127.0.0.1:{port_file.read_text()}")
    finally:
        process.terminate()
        process.wait()


def measure(name: str, condition: str, n: int, *, venvs: Path, control: Control, stand: Stand) -> Line:
    """Runs the tool under the condition and checks every output."""
    peer = PEERS[name]
    control.reset(**(FAULTS if condition in ("faults", "healed") else {}))
    with tempfile.TemporaryDirectory() as at, stand.database() as database:
        folder = Path(at)
        write_inputs(folder, n)
        keys = {f"{vendor}_API_KEY": "standin" for vendor in ("OPENAI", "ANTHROPIC")}
        urls = {"PEER_BASE_URL": f"{control.url}/v1", "OPENAI_BASE_URL": f"{control.url}/v1"}
        environment = {
            **os.environ,
            **keys,
            **urls,
            "ANTHROPIC_BASE_URL": control.url,
            "TOKENOPT_DATABASE_URL": database,
            **peer.environment,
        }
        run = partial(_run, _command(name, venvs, folder), environment, folder, control=control)
        costs: list[tuple[float, float, float]] = []
        before: Mapping[str, int] = {}
        if condition in ("again", "healed"):
            run(kill_when=None)
            before = control.stats()
            (folder / "outputs.json").unlink(missing_ok=True)
            control.faults(**dict.fromkeys(FAULTS, 0.0))
        elif condition == "kill":
            costs.append(run(kill_when=("polls", 1) if peer.is_batch else ("answered", n // 2))[1:])
        elif condition == "kill_in_submit":
            control.faults(submit_delay_s=_SUBMIT_DELAY_S)
            costs.append(run(kill_when=("batches", 1))[1:])
            control.faults(submit_delay_s=0.0)
        status, *cost = run(kill_when=None)
        costs.append((cost[0], cost[1], cost[2]))
        written = folder / "outputs.json"
        outcome = check(blocks(n), json.loads(written.read_text()) if written.exists() else {})
    stats = {key: value - before.get(key, 0) for key, value in control.stats().items()}
    return Line(
        peer=name,
        condition=condition,
        blocks=n,
        exit_status=status,
        right=outcome.right,
        wrong=outcome.wrong,
        missing=outcome.missing,
        calls=stats["calls"],
        input_tokens=sum(stats[f"{mode}{kind}"] for mode in MODES for kind in KINDS[:-1]),
        cached_tokens=sum(stats[f"{mode}cached"] for mode in MODES),
        output_tokens=sum(stats[f"{mode}output"] for mode in MODES),
        usd=round(peer.prices.usd(stats), 4),
        paid_again=stats["paid_again"],
        wall_s=round(sum(c[0] for c in costs), 1),
        cpu_s=round(sum(c[1] for c in costs), 1),
        peak_rss_mb=round(max(c[2] for c in costs)),
    )


def _command(name: str, venvs: Path, folder: Path) -> list[str]:
    peer = PEERS[name]
    if peer.script == "ours":
        return [sys.executable, "-m", "benchmarks.peers.ours", str(folder)]
    python = sys.executable if peer.packages is None else str(_venv(peer, venvs) / "bin" / "python")
    return [python, str(_HERE / "their-scripts" / f"{peer.script}.py"), str(folder)]


def _venv(peer: Peer, venvs: Path) -> Path:
    assert peer.packages is not None
    return venvs / peer.packages[0].replace("==", "-")


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    kill_when: tuple[str, int] | None,
    control: Control,
) -> tuple[int, float, float, float]:
    """(exit status, wall seconds, CPU seconds, peak MiB) of a process, children included; killed once a count is reached."""
    started = time.perf_counter()
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            command, env=dict(environment), stdout=log, stderr=log, cwd=_HERE.parents[1], start_new_session=True
        )
    deadline = started + _RUN_S
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if (kill_when is not None and control.stats()[kill_when[0]] >= kill_when[1]) or time.perf_counter() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            _, status, usage = os.wait4(process.pid, 0)
            break
        time.sleep(0.01)
    process.returncode = code = os.waitstatus_to_exitcode(status)
    return code, time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def vocabularies(folder: Path, venvs: Path) -> Path:
    """tiktoken's two vocabularies where its users' machines have them; it would fetch them from the internet otherwise.

    One is ours, the other comes with litellm, which some peers bring.
    """
    folder.mkdir()
    ours = files("tokenopt_pipeline.adapters").joinpath("vocabularies/o200k_base.tiktoken.gz").read_bytes()
    (folder / _O200K).write_bytes(gzip.decompress(ours))
    for found in venvs.glob(f"*/lib/*/site-packages/litellm/litellm_core_utils/tokenizers/{_CL100K}"):
        shutil.copy(found, folder / _CL100K)
    return folder


def install(name: str, venvs: Path) -> None:
    """The peer's own environment, from the registry that pip is configured for."""
    peer = PEERS[name]
    if peer.packages is None or (_venv(peer, venvs) / "bin" / "python").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", str(_venv(peer, venvs))], check=True)
    subprocess.run([str(_venv(peer, venvs) / "bin" / "pip"), "install", "--quiet", *peer.packages], check=True)


def main() -> None:
    """Prints the table and writes the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="*", choices=[*PEERS, []], help="default: all")
    parser.add_argument("--blocks", type=int, default=500)
    parser.add_argument("--large", type=int, default=0, help="also this many blocks, ours without faults")
    parser.add_argument("--conditions", nargs="+", default=list(CONDITIONS), choices=CONDITIONS)
    parser.add_argument("--venvs", type=Path, default=Path("peer-venvs"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    peers = options.peers or list(PEERS)
    for peer in peers:
        install(peer, options.venvs.resolve())
    lines: list[Line] = []
    # No sandbox of ours: everybody talks to the stand-in.
    folder = Path(tempfile.mkdtemp())
    os.environ["TIKTOKEN_CACHE_DIR"] = str(vocabularies(folder / "vocabularies", options.venvs.resolve()))
    try:
        with open_stand(live=True) as stand, standin(folder) as control:
            for peer in peers:
                for condition in options.conditions:
                    if condition == "kill_in_submit" and not PEERS[peer].is_batch:
                        continue
                    lines.append(
                        measure(
                            peer, condition, options.blocks, venvs=options.venvs.resolve(), control=control, stand=stand
                        )
                    )
                    print(f"{peer} {condition} done", file=sys.stderr)
            if "ours" in peers and options.large:
                lines.append(measure("ours", "clean", options.large, venvs=folder, control=control, stand=stand))
    finally:
        shutil.rmtree(folder)
    print("Simulated; list prices of gpt-4.1-mini, and of claude-sonnet-4-5 where the name says anthropic")
    print("\n".join(table(lines)))
    print()
    print("\n".join(bars_met(lines)))
    if options.out is not None:
        written: list[dict[str, Any]] = [asdict(line) for line in lines]
        options.out.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
