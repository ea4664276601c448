"""Ours and the peers in one table: `python -m benchmarks.peers [PEER...] [--blocks N] [--venvs FOLDER] [--out FILE]`.

Every tool runs as a process of its own, in its own environment installed by name from the package registry (README.md), in the
mode that its users would take, against one stand-in; simulated. Three conditions: no faults; 5 % malformed answers and 2 % 429;
SIGKILL once half of the blocks are answered, then the same command again.
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
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.peers.workload import blocks, check, write_inputs
from tokenopt_pipeline.measuring.stand import Stand, open_stand

_HERE = Path(__file__).parent
#: Peer -> packages, as pip takes them; None: our own environment.
PEERS: Mapping[str, Sequence[str] | None] = {
    "ours": None,
    "naive": None,
    "instructor_disk": ("instructor==1.17.0", "diskcache"),
    "docetl_packed": ("docetl==0.3.0",),
    "curator_online": ("bespokelabs-curator==0.1.31",),
}
CONDITIONS = ("clean", "faults", "kill")
# gpt-4.1-mini's list prices per million tokens (facts of 2026-11): input, cached input, output.
_USD = (0.40, 0.10, 1.60)
_MALFORMED, _RATE_LIMITED = 0.05, 0.02
_RUN_S = 300.0
# How tiktoken calls what it has fetched: SHA-1 of the address.
_O200K, _CL100K = "fb374d419588a4632f3f557e76b4b70aebbca790", "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One tool under one condition."""

    peer: str
    condition: str
    blocks: int
    exit_status: int
    right: int
    wrong: int
    missing: int
    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: float
    #: Answers about a block that was answered before, billed again.
    paid_again: int
    wall_s: float
    cpu_s: float
    peak_rss_mb: float


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


def measure(peer: str, condition: str, n: int, *, venvs: Path, control: Control, stand: Stand) -> Line:
    """Runs the tool under the condition and checks every output."""
    faults = {"malformed": _MALFORMED, "rate_limited": _RATE_LIMITED} if condition == "faults" else {}
    control.reset(**faults)
    with tempfile.TemporaryDirectory() as name, stand.database() as database:
        folder = Path(name)
        write_inputs(folder, n)
        environment = {**os.environ, "PEER_BASE_URL": f"{control.url}/v1", "TOKENOPT_DATABASE_URL": database}
        command = _command(peer, venvs, folder)
        costs: list[tuple[float, float, float]] = []
        if condition == "kill":
            costs.append(_run(command, environment, folder, kill_after=n // 2, control=control)[1:])
        status, *cost = _run(command, environment, folder, kill_after=None, control=control)
        costs.append((cost[0], cost[1], cost[2]))
        written = folder / "outputs.json"
        outcome = check(blocks(n), json.loads(written.read_text()) if written.exists() else {})
    stats = control.stats()
    fresh = stats["input"] - stats["cached"]
    return Line(
        peer=peer,
        condition=condition,
        blocks=n,
        exit_status=status,
        right=outcome.right,
        wrong=outcome.wrong,
        missing=outcome.missing,
        calls=stats["calls"],
        input_tokens=stats["input"],
        cached_tokens=stats["cached"],
        output_tokens=stats["output"],
        usd=round((fresh * _USD[0] + stats["cached"] * _USD[1] + stats["output"] * _USD[2]) / 1e6, 4),
        paid_again=stats["paid_again"],
        wall_s=round(sum(c[0] for c in costs), 1),
        cpu_s=round(sum(c[1] for c in costs), 1),
        peak_rss_mb=round(max(c[2] for c in costs)),
    )


def _command(peer: str, venvs: Path, folder: Path) -> list[str]:
    if peer == "ours":
        return [sys.executable, "-m", "benchmarks.peers.ours", str(folder)]
    python = sys.executable if PEERS[peer] is None else str(venvs / peer / "bin" / "python")
    return [python, str(_HERE / "their-scripts" / f"{peer}.py"), str(folder)]


def _run(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, *, kill_after: int | None, control: Control
) -> tuple[int, float, float, float]:
    """(exit status, wall seconds, CPU seconds, peak MiB) of a process, children included; killed after so many answers."""
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
        if (kill_after is not None and control.stats()["answered"] >= kill_after) or time.perf_counter() > deadline:
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


def install(peer: str, venvs: Path) -> None:
    """The peer's own environment, from the registry that pip is configured for."""
    packages = PEERS[peer]
    if packages is None or (venvs / peer / "bin" / "python").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", str(venvs / peer)], check=True)
    subprocess.run([str(venvs / peer / "bin" / "pip"), "install", "--quiet", *packages], check=True)


def table(lines: Sequence[Line]) -> Iterator[str]:
    """The lines as Markdown."""
    yield "| tool | condition | right / wrong / missing | exit | calls | input k | cached | output k | USD | paid again | wall s | CPU s | MiB |"
    yield "|---" * 13 + "|"
    for line in lines:
        cached = line.cached_tokens / line.input_tokens if line.input_tokens else 0
        yield (
            f"| {line.peer} | {line.condition} | {line.right} / {line.wrong} / {line.missing} | {line.exit_status} | {line.calls} | "
            f"{line.input_tokens / 1000:,.0f} | {cached:.0%} | {line.output_tokens / 1000:.1f} | {line.usd:.4f} | {line.paid_again} | "
            f"{line.wall_s} | {line.cpu_s} | {line.peak_rss_mb:.0f} |"
        )


def main() -> None:
    """Prints the table and writes the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="*", choices=[*PEERS, []], help="default: all")
    parser.add_argument("--blocks", type=int, default=500)
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
                    lines.append(
                        measure(
                            peer, condition, options.blocks, venvs=options.venvs.resolve(), control=control, stand=stand
                        )
                    )
                    print(f"{peer} {condition} done", file=sys.stderr)
    finally:
        shutil.rmtree(folder)
    print(f"{options.blocks} blocks, simulated, list prices of gpt-4.1-mini")
    print("\n".join(table(lines)))
    if options.out is not None:
        written: list[dict[str, Any]] = [asdict(line) for line in lines]
        options.out.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
