"""Fitting: from recorded outcomes to a tier per task, a check where it pays, and a threshold where it earns one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from statistics import median_low
from typing import TypeAlias

from tokenopt_pipeline.domain.backtesting import Replayed, replay
from tokenopt_pipeline.domain.escalation import EscalationPolicy
from tokenopt_pipeline.domain.intervals import Interval, paired_change, ratio_saving
from tokenopt_pipeline.domain.measured import MeasuredCheck, MeasuredTask, TierRate
from tokenopt_pipeline.domain.outcomes import OutcomeRow, fold_of
from tokenopt_pipeline.domain.routing import RoutingPolicy, RoutingRule
from tokenopt_pipeline.domain.thresholds import Threshold, find_thresholds
from tokenopt_pipeline.domain.tier_choices import Cell, Option, reaching, whole_cells_within
from tokenopt_pipeline.domain.tiers import TIERS
from tokenopt_pipeline.domain.ways import Key, Way, ways_of

_FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """What a fit aims at and when it does not trust its rows."""

    #: The tier that changes are measured against, and where blocks go that too little is known about.
    reference: str
    #: The change of quality over all rows that may be expected at worst: -0.01 is one point.
    target: float = -0.01
    #: Instead of the target: the share of the reference's dollars that may be spent, and the best quality within it.
    max_spend: float | None = None
    #: Tasks with fewer rows stay at the reference.
    min_rows: int = 20
    #: A way that may be so much worse on a task, by its interval, is not taken there.
    max_task_loss: float = 0.25
    #: Whether blocks of different types are fitted apart.
    by_block_type: bool = False
    #: Whether answers may be checked, where the recording has doubts.
    checks: bool = True
    #: Whether a threshold on a block's length may split a task, where it earns it.
    thresholds: bool = True
    #: Whether a task may be split by the complexity of its schemas, where it earns it.
    complexity: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedTask:
    """The choice for one task and what it rests on."""

    measured: MeasuredTask
    way: Way
    threshold: Threshold | None
    #: Against the reference, on the task's own rows.
    change: Interval
    saving: Interval
    #: Why this way, in one sentence.
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A fitted policy and what can be expected of it."""

    settings: FitSettings
    #: A task without a rule stays at the reference.
    policy: RoutingPolicy
    #: In the order of their names.
    tasks: tuple[FittedTask, ...]
    n: int
    #: On the rows it was fitted on: flattering.
    change: Interval
    saving: Interval
    #: Of fits on four fifths of the rows, each on the fifth it has not seen: what to expect.
    change_unseen: Interval
    saving_unseen: Interval


#: A policy and what its tasks rest on.
_Fit: TypeAlias = tuple[RoutingPolicy, tuple[FittedTask, ...]]


def fit(rows: Sequence[OutcomeRow], settings: FitSettings) -> Fitted:
    """The fitted policy. Same rows in any order, same policy.

    Raises ValueError when there are no rows, or the reference did not answer them all.
    """
    ordered = sorted(rows, key=lambda row: row.query_id)
    if not ordered or not all(settings.reference in row.tiers for row in ordered):
        raise ValueError(f"tier {settings.reference} did not answer every row, or there is none")
    policy, tasks = _earned(ordered, settings)
    unseen = _unseen(ordered, settings, _earned)
    seen = [(row, replay(policy, row)) for row in ordered]
    return Fitted(
        settings=settings,
        policy=policy,
        tasks=tasks,
        n=len(ordered),
        change=_change(seen, settings.reference),
        saving=_saving(seen, settings.reference),
        change_unseen=_change(unseen, settings.reference),
        saving_unseen=_saving(unseen, settings.reference),
    )


def fit_policy(rows: Sequence[OutcomeRow], settings: FitSettings) -> RoutingPolicy:
    """The policy of `fit`, without what can be expected of it."""
    return _earned(sorted(rows, key=lambda row: row.query_id), settings)[0]


def _earned(rows: Sequence[OutcomeRow], settings: FitSettings) -> _Fit:
    """The fit, with tasks split only where that earns it on rows that the split has not seen.

    What the target leaves unused on the rows of a fit is mostly luck, and the finest split spends most of it. So every kind
    of split is tried on folds of these rows: of those that keep the target there the one that saves most is taken, and
    where none does, or the spending is given, the one that loses least. Of equal ones, the coarser.
    """
    offers: list[FitSettings] = []
    for complexity in (False, True):
        for thresholds in (False, True):
            if complexity <= settings.complexity and thresholds <= settings.thresholds:
                offers.append(replace(settings, complexity=complexity, thresholds=thresholds))
    found = {offer: _fit(rows, offer) for offer in offers}
    # A split that changes nothing needs no trial.
    distinct = [o for i, o in enumerate(offers) if found[o][0] not in [found[before][0] for before in offers[:i]]]
    if len(distinct) == 1:
        return found[distinct[0]]

    def worth(offer: FitSettings) -> tuple[bool, float]:
        played = _unseen(rows, offer, _fit)
        change = _change(played, settings.reference).mean
        keeps = settings.max_spend is None and change >= settings.target
        return keeps, _saving(played, settings.reference).mean if keeps else change

    return found[max(distinct, key=worth)]


def _unseen(
    rows: Sequence[OutcomeRow], settings: FitSettings, by: Callable[[Sequence[OutcomeRow], FitSettings], _Fit]
) -> list[tuple[OutcomeRow, Replayed]]:
    """Every row under the policy that is fitted on the other folds."""
    played: list[tuple[OutcomeRow, Replayed]] = []
    for fold in range(_FOLDS):
        outside = [row for row in rows if fold_of(row.query_id, _FOLDS) == fold]
        inside = [row for row in rows if fold_of(row.query_id, _FOLDS) != fold]
        policy = by(inside, settings)[0] if inside else RoutingPolicy(default_tier=settings.reference)
        played += [(row, replay(policy, row)) for row in outside]
    return played


def _change(played: Sequence[tuple[OutcomeRow, Replayed]], reference: str) -> Interval:
    return paired_change([p.score - row.tiers[reference].score for row, p in played])


def _saving(played: Sequence[tuple[OutcomeRow, Replayed]], reference: str) -> Interval:
    return ratio_saving([p.usd for _, p in played], [row.tiers[reference].usd for row, _ in played])


def _fit(rows: Sequence[OutcomeRow], settings: FitSettings) -> _Fit:
    cells = _cells(rows, settings)
    tiers = [tier for tier in TIERS if all(tier in row.tiers for row in rows)]
    reference = settings.reference
    offered = ways_of(cells, tiers, checks=settings.checks)
    expected = {key: next(w for w in ways if w.name == reference).gain for key, ways in offered.items()}
    trusted: dict[Key, list[Way]] = {}
    refusals: dict[Key, str] = {}
    for key, ways in offered.items():
        trusted[key], refusals[key] = _trusted(key, ways, cells[key], settings)
    chosen = _choose(cells, trusted, expected, settings)
    slack = sum(len(cells[key]) * (way.gain - expected[key] - settings.target) for key, way in chosen.items())
    candidates = {key: trusted[key] for key in cells if len(cells[key]) >= settings.min_rows}
    use_slack = settings.thresholds and settings.max_spend is None
    thresholds = find_thresholds(cells, candidates, chosen, slack, reference) if use_slack else {}
    rules = [rule for key, way in chosen.items() for rule in _rules(key, way, thresholds.get(key), reference)]
    policy = RoutingPolicy(
        default_tier=reference,
        rules=tuple(rules),
        escalation=EscalationPolicy(enabled=any(rule.escalate_on for rule in rules), doubts=()),
    )
    tasks = tuple(
        FittedTask(
            measured=_measured(key, cells[key], tiers, way),
            way=way,
            threshold=thresholds.get(key),
            change=_change(played, reference),
            saving=_saving(played, reference),
            reason=refusals[key]
            if way.name == reference and refusals[key]
            else _reason(way, trusted[key], expected[key], reference),
        )
        for key, way in chosen.items()
        for played in [[(row, replay(policy, row)) for row in cells[key]]]
    )
    return policy, tasks


def _cells(rows: Sequence[OutcomeRow], settings: FitSettings) -> dict[Key, list[OutcomeRow]]:
    """The rows by task, block type and complexity, in the order of their keys. A task is split at the median complexity of
    its rows; a side with too few of them stays at the reference, like any task: rare schemas are where a task's usual
    figures say least."""
    cells: dict[Key, list[OutcomeRow]] = {}
    for row in rows:
        block_type = row.facts.block_type.value if settings.by_block_type else None
        cells.setdefault(Key(task=row.task, block_type=block_type), []).append(row)
    split: dict[Key, list[OutcomeRow]] = {}
    for key, found in cells.items():
        cut = median_low(row.facts.schema.complexity for row in found)
        simple = [row for row in found if row.facts.schema.complexity <= cut]
        complex_ = [row for row in found if row.facts.schema.complexity > cut]
        if settings.complexity and complex_:
            split[replace(key, max_complexity=cut)] = simple
            split[replace(key, min_complexity=cut + 1)] = complex_
        else:
            split[key] = found
    return dict(sorted(split.items(), key=lambda cell: cell[0].name))


def _trusted(key: Key, ways: Sequence[Way], rows: Sequence[OutcomeRow], settings: FitSettings) -> tuple[list[Way], str]:
    """The ways that the rows are enough for, and why others are not; empty when all are."""
    at_reference = [way for way in ways if way.name == settings.reference]
    if len(rows) < settings.min_rows:
        return at_reference, f"n = {len(rows)} is below {settings.min_rows}, so it stays at {settings.reference}"
    trusted, refusals = list(at_reference), []
    for way in ways:
        if way in at_reference:
            continue
        policy = RoutingPolicy(
            default_tier=settings.reference,
            rules=tuple(_rules(key, way, None, settings.reference)),
            escalation=EscalationPolicy(enabled=True, doubts=()),
        )
        change = _change([(row, replay(policy, row)) for row in rows], settings.reference)
        if change.low >= -settings.max_task_loss:
            trusted.append(way)
        elif not way.escalate_on:
            refusals.append(f"{way.tier} may be {-change.low * 100:.0f} points worse")
    return trusted, "; ".join(refusals)


def _choose(
    cells: Mapping[Key, Sequence[OutcomeRow]],
    trusted: Mapping[Key, Sequence[Way]],
    expected: Mapping[Key, float],
    settings: FitSettings,
) -> dict[Key, Way]:
    named = {key.name: key for key in cells}
    choices = [
        Cell(
            name=name,
            n_blocks=len(cells[key]),
            options=tuple(Option(name=w.name, usd=Decimal(repr(w.usd)), quality=w.gain) for w in trusted[key]),
        )
        for name, key in named.items()
    ]
    if settings.max_spend is None:
        picked = reaching(choices, sum(len(rows) * (expected[key] + settings.target) for key, rows in cells.items()))
    else:
        full = sum(row.tiers[settings.reference].usd for rows in cells.values() for row in rows)
        picked = whole_cells_within(choices, Decimal(repr(full * settings.max_spend)))
    return {key: next(w for w in trusted[key] if w.name == picked[name].name) for name, key in named.items()}


def _rules(key: Key, way: Way, threshold: Threshold | None, reference: str) -> list[RoutingRule]:
    about = f"fit-{key.task}" if key.block_type is None else f"fit-{key.task}-{key.block_type}"
    about += "" if key.max_complexity is None else f"-to-{key.max_complexity}"
    about += "" if key.min_complexity is None else f"-from-{key.min_complexity}"
    rule = RoutingRule(
        id=about,
        tier=way.tier,
        tasks=(key.task,),
        block_types=None if key.block_type is None else (key.block_type,),
        min_complexity=key.min_complexity,
        max_complexity=key.max_complexity,
        escalate_on=way.escalate_on,
    )
    rules = []
    if threshold is not None:
        rules.append(
            replace(
                rule,
                id=f"{about}-{'long' if threshold.at_least else 'short'}",
                tier=threshold.tier,
                min_block_tokens=threshold.n_tokens if threshold.at_least else None,
                max_block_tokens=None if threshold.at_least else threshold.n_tokens,
                escalate_on=(),
            )
        )
    if way.name != reference:
        rules.append(rule)
    return rules


def _measured(key: Key, rows: Sequence[OutcomeRow], tiers: Sequence[str], way: Way) -> MeasuredTask:
    def rate(tier: str) -> TierRate:
        found = [row.tiers[tier] for row in rows]
        return TierRate(quality=sum(o.score for o in found) / len(found), usd=sum(o.usd for o in found) / len(found))

    check = None
    if way.escalate_on:
        cheap, following = way.tier, tiers[tiers.index(way.tier) + 1]
        wanted = set(way.escalate_on)
        caught = [row for row in rows if (row.tiers[cheap].doubts or frozenset()) & wanted]
        passed = [row for row in rows if not (row.tiers[cheap].doubts or frozenset()) & wanted]
        check = MeasuredCheck(
            doubted=len(caught) / len(rows),
            wrong_doubted=_wrong(caught, cheap),
            wrong_undoubted=_wrong(passed, cheap),
            next_wrong_doubted=_wrong(caught, following),
        )
    return MeasuredTask(
        task=key.task,
        block_type=key.block_type,
        n=len(rows),
        tiers={t: rate(t) for t in tiers},
        check=check,
        min_complexity=key.min_complexity,
        max_complexity=key.max_complexity,
    )


def _wrong(rows: Sequence[OutcomeRow], tier: str) -> float:
    return sum(1 - row.tiers[tier].score for row in rows) / len(rows) if rows else 0.0


def _reason(way: Way, trusted: Sequence[Way], expected: float, reference: str) -> str:
    if way.name != reference:
        # Minus zero would be written as such.
        points = round((way.gain - expected) * 100, 1) + 0.0
        return f"expected to change the quality by {points:+.1f} points here"
    others = [w for w in trusted if w.name != reference and not w.escalate_on]
    if not others:
        return "no other tier was recorded"
    nearest = max(others, key=lambda w: w.gain)
    worse = (expected - nearest.gain) * 100
    return f"{nearest.tier} is expected to be {worse:.1f} points worse, more than the aim leaves room for"
