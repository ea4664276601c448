"""Learning: what earlier calls taught about models, frozen with a run so that it stays the same run when it is resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any

from tokenopt_pipeline.domain.answer_lengths import AnswerLength, lengths_document, parse_lengths
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.routing import ModelRef

#: Calls of one kind that are looked at, the newest ones: tokenizers change with their models.
MOST_CALLS = 400
# Fewer calls say nothing about a model.
_LEAST_CALLS = 3
# Fewer do not tell a ratio from an overhead, or a tail from a mean.
_LEAST_FOR_LINE, _LEAST_FOR_TAIL = 8, 20
# A correction may leave so much of the error that is there without it; one that leaves more fits noise.
_WORTH = 0.6
_TAIL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedCall:
    """One answered call: what was expected of its input without having learnt anything, and what was billed."""

    expected: int
    billed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCorrection:
    """Billed ≈ scale · expected + shift, for calls of one model, kind and template."""

    scale: float
    shift: float
    #: 95 in 100 calls were billed at most so many times that; None: too few calls to tell.
    tail: float | None
    #: Calls it was learnt from.
    calls: int

    def applied_to(self, spec: ModelSpec) -> ModelSpec:
        """The model as these calls have shown it: the mean for cost, the tail for what has to fit."""
        ratio = spec.token_ratio * self.scale
        guard = spec.token_ratio_guard * self.scale if self.tail is None else ratio * max(self.tail, 1.0)
        overhead = max(round(spec.request_overhead_tokens * self.scale + self.shift), 0)
        return replace(spec, token_ratio=ratio, token_ratio_guard=max(guard, ratio), request_overhead_tokens=overhead)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixedCall:
    """One answered call with a certain prefix."""

    #: Input that was read from or written to a cache.
    shared: int
    #: Input billed beside it.
    rest: int
    #: Our tokenizer's count of the blocks' lines.
    counted: int

    @property
    def billed(self) -> int:
        """All of its input."""
        return self.shared + self.rest


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPrefix:
    """A prefix as it was billed. Instructions and blocks are of different kinds of text, so each has its own count."""

    tokens: int
    #: Billed tokens per token of our tokenizer, of the blocks' lines.
    line_ratio: float
    calls: int
    #: Billed tokens of every request that are neither.
    beside: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """The snapshot that a run was planned with. Empty: nothing was known."""

    #: `provider/model` -> how its input tokens differ from what the model table expects.
    tokens: Mapping[str, TokenCorrection] = field(default_factory=dict)
    #: `provider/model` -> block type -> how long its answers to the run's schema are, in the run's form.
    answers: Mapping[str, Mapping[str, AnswerLength]] = field(default_factory=dict)
    #: `provider/model` -> the run's own prefix there, once it was cached.
    prefixes: Mapping[str, SeenPrefix] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON values; `parse_learned` reads them back."""
        tokens = {model: asdict(correction) for model, correction in self.tokens.items()}
        prefixes = {model: asdict(prefix) for model, prefix in self.prefixes.items()}
        return {"tokens": tokens, "answers": lengths_document(self.answers), "prefixes": prefixes}

    def answers_of(self, ref: ModelRef) -> Mapping[str, AnswerLength]:
        """Block type -> length of the model's answers; empty when too few were seen."""
        return self.answers.get(str(ref), {})


NOTHING_LEARNED = Learned()


def parse_learned(document: Mapping[str, Any]) -> Learned:
    """The snapshot behind a stored document; what this version does not know is left alone."""
    return Learned(
        tokens={model: TokenCorrection(**told) for model, told in document.get("tokens", {}).items()},
        answers=parse_lengths(document.get("answers", {})),
        prefixes={model: SeenPrefix(**told) for model, told in document.get("prefixes", {}).items()},
    )


def learn_prefix(calls: Sequence[PrefixedCall]) -> SeenPrefix | None:
    """The prefix that these calls have; None when they are too few, or too alike to tell it from their lines.

    What a cache held is the prefix. Where none held it, packs of different lengths tell it from what grows with them.
    """
    known = [call for call in calls if call.counted > 0]
    cached = [call for call in known if call.shared > 0]
    is_cached = len(cached) >= _LEAST_CALLS
    used = cached if is_cached else known
    points = [(call.counted, call.rest if is_cached else call.billed) for call in used]
    counts = [counted for counted, _ in points]
    if len(points) >= _LEAST_FOR_LINE and max(counts) >= 2 * min(counts):
        ratio, constant = _least_squares(points)
        if ratio > 0 and constant >= 0:
            tokens = float(median(call.shared for call in cached)) if is_cached else constant
            return _seen(tokens, ratio, constant if is_cached else 0.0, len(used))
    if not is_cached:
        return None
    return _seen(median(call.shared for call in cached), median(rest / n for n, rest in points), 0.0, len(used))


def _seen(tokens: float, ratio: float, beside: float, calls: int) -> SeenPrefix:
    return SeenPrefix(tokens=round(tokens), line_ratio=round(ratio, 4), beside=round(beside, 2), calls=calls)


def _least_squares(points: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """(slope, intercept) of what was billed over what was counted; the error of a sum grows with its length."""
    weights = [1 / x for x, _ in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True)) / spread
    return slope, mean_y - slope * mean_x


def learn_tokens(calls: Sequence[CountedCall], *, overhead: int = 0) -> TokenCorrection | None:
    """The correction that these calls, all of one kind, teach; None when they are too few or need none. `overhead`: tokens that the
    model table expects of a request beside its texts; nothing is billed less for being asked, so that no more is taken away.

    One number at a time: a factor, or an overhead; both only where enough calls of different lengths tell them apart. The
    simplest that removes most of the median relative error wins.
    """
    known = [call for call in calls if call.expected > 0 and call.billed > 0]
    if len(known) < _LEAST_CALLS:
        return None
    candidates = [
        (median(c.billed / c.expected for c in known), 0.0),
        (1.0, float(median(c.billed - c.expected for c in known))),
    ]
    if len(known) >= _LEAST_FOR_LINE and (line := _line(known)) is not None:
        candidates.append(line)
    plain = _error(known, 1.0, 0.0)
    # A line through calls of much the same length may start far below nothing, and misses all others.
    possible = [(scale, shift) for scale, shift in candidates if scale * overhead + shift >= 0]
    scale, shift = min(possible, key=lambda each: _error(known, *each))
    if _error(known, scale, shift) > plain * _WORTH:
        scale, shift = 1.0, 0.0
    tail = _tail(known, scale, shift)
    if (scale, shift) == (1.0, 0.0) and tail is None:
        return None
    return TokenCorrection(scale=round(scale, 4), shift=round(shift, 2), tail=tail, calls=len(known))


def _line(calls: Sequence[CountedCall]) -> tuple[float, float] | None:
    """Least squares of relative errors; None when the calls are too alike, or the slope makes no sense."""
    weights = [1 / c.billed**2 for c in calls]
    total = sum(weights)
    mean_x = sum(w * c.expected for w, c in zip(weights, calls, strict=True)) / total
    mean_y = sum(w * c.billed for w, c in zip(weights, calls, strict=True)) / total
    spread = sum(w * (c.expected - mean_x) ** 2 for w, c in zip(weights, calls, strict=True))
    if spread <= 1e-3 * total * mean_x**2:
        return None
    together = sum(w * (c.expected - mean_x) * (c.billed - mean_y) for w, c in zip(weights, calls, strict=True))
    slope = together / spread
    return (slope, mean_y - slope * mean_x) if 0.25 <= slope <= 4 else None


def _error(calls: Sequence[CountedCall], scale: float, shift: float) -> float:
    return median(abs((scale * c.expected + shift) / c.billed - 1) for c in calls)


def _tail(calls: Sequence[CountedCall], scale: float, shift: float) -> float | None:
    if len(calls) < _LEAST_FOR_TAIL:
        return None
    over = sorted(c.billed / max(scale * c.expected + shift, 1.0) for c in calls)
    return round(over[min(int(len(over) * _TAIL), len(over) - 1)], 4)
