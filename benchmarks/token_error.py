"""How far expected input tokens are from the billed ones, on recorded requests, before and after calibration.

python -m benchmarks.token_error [DIRECTORY with token_truth/ and wire/]

Cold is what the model table expects; its constants were fitted on these recordings, so cold figures are for known families.
Calibrated is what a run would expect that had seen other requests: those whose id has the other parity (`half`), or all
others (`all but one`), learnt by the same rule as from the ledger, per model and shape of request, else per family and shape.
The recordings are other people's small requests, where one token is much; packs are a hundred times as long.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.recorded_shapes import Recorded, recorded_requests
from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.domain.counting import TokenRule, expected_tokens
from tokenopt_pipeline.domain.learning import CountedCall, TokenCorrection, learn_tokens
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.routing import ModelRef

# Models that the table does not list are expected to be like these, by parts of their names, the first that fits.
_LIKE = {
    "anthropic": (
        (("opus-4-7", "opus-4-8", "-5", "mythos"), "claude-opus-4-8"),
        (("claude",), "claude-sonnet-4-5"),
    ),
    "openai": ((("",), "gpt-6-luna"),),
    "google": ((("",), "gemini-3.8-flash"),),
}
_OLD_CLAUDE = ("4-5", "4-6", "3-5", "4-0")
# Families that are no longer in the table: (ratio of texts, rule). Gemini before 2.5 hardly billed its tools.
_GONE = {
    "gemini-1.5": (1.0, TokenRule(schema_ratio=0, tool_ratio=0.26, first_tool_tokens=5)),
    "gemini-2.0": (1.0, TokenRule(schema_ratio=0, tool_ratio=0.26, first_tool_tokens=5)),
    "gemini-2.5": (1.05, TokenRule(schema_ratio=0, message_tokens=1.3, tool_ratio=0.94, tool_tokens=3, call_tokens=8)),
}

Key = Callable[[Recorded], tuple[object, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One request's errors, as shares of what was billed."""

    request: Recorded
    cold: float
    calibrated: float
    #: Whether some calibration was known for it.
    is_known: bool


def family_of(request: Recorded) -> str:
    """The model of the table that the request's model is like."""
    name = request.model
    if name[:10] in _GONE:
        return name[:10]
    if request.provider == "anthropic" and any(part in name for part in _OLD_CLAUDE):
        return "claude-sonnet-4-5"
    return next(like for parts, like in _LIKE[request.provider] if any(part in name for part in parts))


def cold_tokens(request: Recorded) -> int:
    """What the model table expects of the request."""
    family = family_of(request)
    if family in _GONE:
        ratio, rule = _GONE[family]
        return expected_tokens(rule, ratio, request.shape)
    spec: ModelSpec = ModelTable().spec(ModelRef(provider=request.provider, model=family))
    return expected_tokens(spec.counting, spec.token_ratio, request.shape)


_KEYS: tuple[Key, ...] = (
    lambda r: (r.model, r.kind, r.shape.is_forced, r.shape.calls > 0, r.shape.thinks),
    lambda r: (r.model, r.kind),
    lambda r: (family_of(r), r.kind, r.shape.is_forced, r.shape.calls > 0),
)


def measure(requests: Sequence[Recorded], *, seen_by: Callable[[Recorded, Recorded], bool]) -> list[Measured]:
    """Errors of the requests; `seen_by(other, request)`: whether the other was known when the request was expected."""
    cold = {r.id: cold_tokens(r) for r in requests}
    measured = []
    for request in requests:
        seen = [other for other in requests if seen_by(other, request)]
        if not seen:
            continue
        correction = _correction(request, seen, cold)
        expected = float(cold[request.id])
        calibrated = expected if correction is None else correction.scale * expected + correction.shift
        measured.append(
            Measured(
                request=request,
                cold=expected / request.billed - 1,
                calibrated=calibrated / request.billed - 1,
                is_known=correction is not None,
            )
        )
    return measured


def _correction(request: Recorded, seen: Sequence[Recorded], cold: dict[str, int]) -> TokenCorrection | None:
    for key in _KEYS:
        wanted = key(request)
        calls = [CountedCall(expected=cold[o.id], billed=o.billed) for o in seen if key(o) == wanted]
        correction = learn_tokens(calls)
        if correction is not None:
            return correction
    return None


def by_half(requests: Sequence[Recorded]) -> list[Measured]:
    """The requests of odd id, expected after those of even id."""
    return measure(requests, seen_by=lambda other, request: _parity(request) == 1 and _parity(other) == 0)


def by_one(requests: Sequence[Recorded]) -> list[Measured]:
    """Each request, expected after all others."""
    return measure(requests, seen_by=lambda other, request: other.id != request.id)


def _parity(request: Recorded) -> int:
    return int(request.id, 16) % 2


def table(requests: Sequence[Recorded]) -> Iterator[str]:
    """Median absolute errors per provider and kind of request."""
    yield f"{'provider':12}{'kind':8}{'calibrated on':16}{'n':>5}{'cold':>8}{'calibrated':>12}{'corrected':>11}"
    for provider in ("anthropic", "openai", "google"):
        own = [r for r in requests if r.provider == provider]
        for how, measured in (("half", by_half(own)), ("all but one", by_one(own))):
            groups: dict[str, list[Measured]] = defaultdict(list)
            for each in measured:
                groups[each.request.kind].append(each)
                groups["all"].append(each)
            for kind in ("text", "schema", "tools", "all"):
                yield _line(provider, kind, how, groups[kind])


def _line(provider: str, kind: str, how: str, measured: Sequence[Measured]) -> str:
    if not measured:
        return f"{provider:12}{kind:8}{how:16}{0:5}{'—':>8}{'—':>12}{'—':>11}"
    cold, calibrated = median(abs(m.cold) for m in measured), median(abs(m.calibrated) for m in measured)
    known = sum(m.is_known for m in measured)
    return f"{provider:12}{kind:8}{how:16}{len(measured):5}{cold:8.1%}{calibrated:12.1%}{known:11}"


if __name__ == "__main__":
    shared = Path(os.environ.get("TOKENOPT_SHARED") or Path(__file__).parents[2] / "shared") / "data"
    for line in table(recorded_requests(Path(sys.argv[1]) if len(sys.argv) > 1 else shared)):
        print(line)
