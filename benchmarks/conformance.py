"""Which provider keeps which promise, and how many recorded answers are read.

python -m benchmarks.conformance

Runs the conformance tests against the sandbox (simulated) and over recorded exchanges (recorded, beside the checkout or under
TOKENOPT_SHARED) and prints their outcomes as a table: `ok n` is n tests passed, `—` a promise that is not tried there, with
its reason below.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenopt_pipeline_tests.adapters.provider_exchange import read_of, recorded_answers
from tokenopt_pipeline_tests.conformance.behaviours import BEHAVIOURS, PROVIDERS

_FOLDER = Path(__file__).parents[1] / "tokenopt_pipeline_tests" / "conformance"
#: Provider -> (file of recordings, endpoint).
_RECORDED = {
    "anthropic": ("anthropic", "POST /v1/messages"),
    "openai": ("openai", "POST /v1/responses"),
    "google": ("google", ":generateContent"),
    "custom": ("openai", "POST /v1/chat/completions"),
}


class Outcomes:
    """A pytest plugin that counts what became of the tests: (behaviour, provider) -> outcome -> tests."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._rows: dict[str, tuple[str, str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Which row and provider each test is about."""
        for item in items:
            marker = item.get_closest_marker("promise")
            if marker is not None:
                callspec = getattr(item, "callspec", None)
                provider = marker.args[1] or (callspec.params["vendor"] if callspec else "")
                self._rows[item.nodeid] = (marker.args[0], provider)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """What became of a test."""
        if report.nodeid in self._rows and (report.when == "call" or report.outcome != "passed"):
            self.counts[self._rows[report.nodeid]][report.outcome] += 1


def table(outcomes: Outcomes) -> Iterator[str]:
    """One line per behaviour."""
    yield f"{'behaviour':20}" + "".join(f"{provider:>14}" for provider in PROVIDERS) + "   promise"
    for name, behaviour in BEHAVIOURS.items():
        cells = [_cell(outcomes.counts[name, provider], provider in behaviour.gaps) for provider in PROVIDERS]
        yield f"{name:20}" + "".join(f"{cell:>14}" for cell in cells) + f"   {behaviour.promise}"
    for name, behaviour in BEHAVIOURS.items():
        for provider, why in behaviour.gaps.items():
            yield f"— {name}, {provider}: {why}"


def _cell(counts: Counter[str], is_gap: bool) -> str:
    if counts["failed"]:
        return f"FAILED {counts['failed']}"
    if counts["passed"]:
        return f"ok {counts['passed']}"
    return "—" if is_gap else "not run"


def replays() -> Iterator[str]:
    """How many recorded answers of each endpoint that we use are read, and why the rest are not."""
    for provider, (recorded, endpoint) in _RECORDED.items():
        reasons: Counter[str] = Counter()
        read = total = 0
        for _, answer in read_of(provider, recorded_answers(recorded, endpoint)):
            total += 1
            if isinstance(answer, Exception):
                reasons[str(answer).partition(": ")[2][:90]] += 1
            else:
                read += 1
        rest = "".join(f"; {n} not: {why}" for why, n in reasons.items())
        yield f"{provider:12}{endpoint:28}read {read} of {total}{rest}"


def main() -> int:
    """Prints both; 1 when a promise is broken."""
    outcomes = Outcomes()
    code = pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", str(_FOLDER)], plugins=[outcomes])
    print("\n".join(table(outcomes)))
    print("\nrecorded answers (whole ones, no event streams)")
    print("\n".join(replays()))
    return 0 if code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
