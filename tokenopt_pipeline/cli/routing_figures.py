"""What `tokenopt route` tells: figures of fits and backtests as JSON, as lines and as a plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenopt_pipeline.adapters.outcomes import Recorded
    from tokenopt_pipeline.domain.backtesting import Backtest
    from tokenopt_pipeline.domain.fitting import Fitted
    from tokenopt_pipeline.domain.intervals import Interval


def _interval(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else {"mean": interval.mean, "low": interval.low, "high": interval.high}


def fitted_document(fitted: Fitted, recorded: Recorded, out: Path | None) -> dict[str, Any]:
    """The fit as one JSON object."""
    return {
        "out": None if out is None else str(out),
        "kind": "recorded",
        "source": recorded.source,
        "models": dict(recorded.models),
        "reference": fitted.settings.reference,
        "target": fitted.settings.target,
        "max_spend": fitted.settings.max_spend,
        "n": fitted.n,
        "incomplete": recorded.incomplete,
        "change": _interval(fitted.change),
        "saving": _interval(fitted.saving),
        "change_unseen": _interval(fitted.change_unseen),
        "saving_unseen": _interval(fitted.saving_unseen),
        "tasks": [
            {
                "task": task.measured.task,
                "block_type": task.measured.block_type,
                "min_complexity": task.measured.min_complexity,
                "max_complexity": task.measured.max_complexity,
                "n": task.measured.n,
                "tier": task.way.tier,
                "escalate_on": list(task.way.escalate_on),
                "change": _interval(task.change),
                "saving": _interval(task.saving),
                "reason": task.reason,
            }
            for task in fitted.tasks
        ],
    }


def fitted_lines(fitted: Fitted, recorded: Recorded) -> list[str]:
    """The fit as a person reads it."""
    settings = fitted.settings
    aim = f"{settings.target * 100:+.2f} pp" if settings.max_spend is None else f"{settings.max_spend:.0%} of the cost"
    lines = [
        f"fit         {fitted.n:,} rows of {recorded.source}; recorded; aim {aim} against always-{settings.reference}",
        f"left out    {recorded.incomplete:,} queries without a score and a price of every tier",
        f"unseen      {fitted.saving_unseen.mean:.1%} saved, quality {fitted.change_unseen.points}",
        f"seen        {fitted.saving.mean:.1%} saved, quality {fitted.change.points}; flattering",
    ]
    for task in fitted.tasks:
        way = f"{task.way.tier}{' checked' if task.way.escalate_on else ''}"
        lines.append(f"  {task.measured.name:<36} n {task.measured.n:>5}  {way:<14} {task.reason}")
    return lines


def backtest_document(result: Backtest, recorded: Recorded, plot: Path | None) -> dict[str, Any]:
    """The backtest as one JSON object."""
    return {
        "kind": "recorded",
        "source": recorded.source,
        "models": dict(recorded.models),
        "reference": result.reference,
        "n": result.n,
        "incomplete": recorded.incomplete,
        "escalated": result.escalated,
        "answered_by": dict(result.answered_by),
        "plot": None if plot is None else str(plot),
        "strategies": [
            {
                "name": s.name,
                "quality": s.quality,
                "usd_per_1000": s.usd * 1000,
                "change": _interval(s.change),
                "saving": _interval(s.saving),
            }
            for s in result.strategies
        ],
    }


def backtest_lines(result: Backtest, recorded: Recorded) -> list[str]:
    """The backtest as a table."""
    models = ", ".join(f"{tier} = {model}" for tier, model in recorded.models.items())
    lines = [
        f"backtest    n = {result.n:,} rows of {recorded.source}; recorded; {models}",
        f"reference   always-{result.reference}; changes with 95 % intervals",
        f"{'':14}{'quality':>9}{'$ per 1,000':>13}{'saved':>9}   change",
    ]
    for s in result.strategies:
        saved = "—" if s.saving is None else f"{s.saving.mean:.1%}"
        change = (
            "—"
            if s.change is None
            else f"{s.change.mean * 100:+.2f} pp ({s.change.low * 100:+.2f} to {s.change.high * 100:+.2f})"
        )
        lines.append(f"{s.name:<14}{s.quality:>9.4f}{s.usd * 1000:>13.4f}{saved:>9}   {change}")
    shares = ", ".join(f"{tier} {share:.0%}" for tier, share in result.answered_by)
    lines.append(f"policy      answered by {shares}; {result.escalated:.0%} escalated")
    return lines


def draw_pareto(path: Path, result: Backtest, recorded: Recorded) -> None:
    """Quality over dollars of every strategy, as PNG. Raises InvalidInput, PlotterMissing."""
    from tokenopt_pipeline.adapters.plots import Point, write_pareto
    from tokenopt_pipeline.domain.backtesting import mixture

    # The axis of dollars is logarithmic, so what costs nothing has no place on it.
    shown = [s for s in result.strategies if s.usd > 0 and s.name != "random"]
    reference = result.of(f"always-{result.reference}")
    points = [
        Point(
            name=s.name,
            usd=s.usd * 1000,
            quality=s.quality,
            low=None if s.change is None or s.name != "policy" else reference.quality + s.change.low,
            high=None if s.change is None or s.name != "policy" else reference.quality + s.change.high,
        )
        for s in shown
    ]
    always = [s for s in shown if s.name.startswith("always-")]
    low, high = min(s.usd for s in always), max(s.usd for s in always)
    line = [(usd * 1000, mixture(always, usd)) for i in range(101) for usd in [low + (high - low) * i / 100]]
    write_pareto(path, points, line, title=f"{recorded.source}, n = {result.n:,}, recorded")
