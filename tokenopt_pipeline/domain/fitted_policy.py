"""Fitted policies as files: YAML that a person can read and diff, each rule with what it rests on beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tokenopt_pipeline.domain.fitting import Fitted, FittedTask
from tokenopt_pipeline.domain.measured import MeasuredCheck, MeasuredRates, MeasuredTask, TierRate
from tokenopt_pipeline.domain.routing import RoutingRule

# Words and signs that YAML would read as something else than text.
_PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null|none)\Z)[A-Za-z][A-Za-z0-9_./-]*", re.IGNORECASE)

_BOUNDS = ("min_complexity", "max_complexity")


def measured_rates(fitted: Fitted, *, source: str, models: Mapping[str, str]) -> MeasuredRates:
    """The table that the fitted policy carries, its figures rounded as they are written."""
    return MeasuredRates(
        source=source, models=dict(models), tasks=tuple(_rounded(task.measured) for task in fitted.tasks)
    )


def policy_text(fitted: Fitted, *, source: str, models: Mapping[str, str]) -> str:
    """The policy file: its routing section resolves to the fitted policy and `measured_rates`.

    `models` says which recorded model stood for which tier; written into the tiers where it is a name of ours
    (provider/model), else only told.
    """
    ours = {tier: model for tier, model in models.items() if re.fullmatch(r"[a-z0-9_]+/\S+", model)}
    lines = [*_heading(fitted, source, models), "routing:", f"  default_tier: {fitted.policy.default_tier}"]
    if len(ours) == len(models):
        lines += ["  models:", *(f"    {tier}: [{_text(model)}]" for tier, model in ours.items())]
    else:
        lines.append(
            "  # The tiers' models are this installation's own; the recorded ones stand under measured.models."
        )
    lines += list(_rules(fitted))
    escalation = fitted.policy.escalation
    if escalation.enabled:
        lines += ["  escalation:", "    enabled: true", "    doubts: []  # each rule names its own", "    max_steps: 1"]
    lines += list(_measured(measured_rates(fitted, source=source, models=models)))
    return "\n".join(lines) + "\n"


def _heading(fitted: Fitted, source: str, models: Mapping[str, str]) -> Iterator[str]:
    settings = fitted.settings
    yield f"# Fitted by `tokenopt route fit` on {fitted.n:,} rows: {source}."
    yield f"# {', '.join(f'{tier} = {model}' for tier, model in models.items())}."
    if settings.max_spend is None:
        yield f"# Aim: no more than {-settings.target * 100:.2f} points below always-{settings.reference}, at the lowest cost."
    else:
        yield f"# Aim: the best quality for at most {settings.max_spend:.0%} of what always-{settings.reference} costs."
    yield f"# Expected, on rows a fit has not seen: {fitted.saving_unseen.mean:.1%} saved, quality {fitted.change_unseen.points}."
    yield f"# On the rows it was fitted on, which flatters: {fitted.saving.mean:.1%} saved, quality {fitted.change.points}."


def _rules(fitted: Fitted) -> Iterator[str]:
    by_task: dict[object, list[RoutingRule]] = {}
    for rule in fitted.policy.rules:
        by_task.setdefault((rule.tasks, rule.block_types, rule.min_complexity, rule.max_complexity), []).append(rule)
    yield "  rules:" if fitted.policy.rules else "  rules: []"
    for task in fitted.tasks:
        measured = task.measured
        types = None if measured.block_type is None else (measured.block_type,)
        yield f"    # {_told(task)}"
        for rule in by_task.get(((measured.task,), types, measured.min_complexity, measured.max_complexity), ()):
            yield f"    - id: {_text(rule.id)}"
            yield f"      tasks: [{_text(measured.task)}]"
            if types is not None:
                yield f"      block_types: [{types[0]}]"
            for bound in ("min_block_tokens", "max_block_tokens", *_BOUNDS):
                if getattr(rule, bound) is not None:
                    yield f"      {bound}: {getattr(rule, bound)}"
            yield f"      tier: {rule.tier}"
            yield f"      escalate_on: [{', '.join(rule.escalate_on or ())}]"


def _told(task: FittedTask) -> str:
    measured = task.measured
    told = f"{measured.name}: {task.way.tier}{' checked' if task.way.escalate_on else ''}; n = {measured.n}"
    if task.threshold is not None:
        side = "least" if task.threshold.at_least else "most"
        told += f"; at {side} {task.threshold.n_tokens} tokens: {task.threshold.tier} ({task.threshold.n} rows)"
    if task.saving.mean or task.change.mean:
        told += f"; {task.saving.mean:.0%} saved, quality {task.change.points}"
    return f"{told}; {task.reason}"


def _measured(rates: MeasuredRates) -> Iterator[str]:
    yield "  measured:"
    yield f"    source: {json.dumps(rates.source, ensure_ascii=False)}"
    yield f"    models: {{{', '.join(f'{tier}: {_text(model)}' for tier, model in rates.models.items())}}}"
    yield "    tasks:" if rates.tasks else "    tasks: []"
    for row in rates.tasks:
        yield f"      - task: {_text(row.task)}"
        if row.block_type is not None:
            yield f"        block_type: {row.block_type}"
        for bound in _BOUNDS:
            if getattr(row, bound) is not None:
                yield f"        {bound}: {getattr(row, bound)}"
        yield f"        n: {row.n}"
        yield "        tiers:"
        for tier, rate in row.tiers.items():
            yield f"          {tier}: {{quality: {_number(rate.quality)}, usd: {_number(rate.usd)}}}"
        if row.check is not None:
            shares = ("doubted", "wrong_doubted", "wrong_undoubted", "next_wrong_doubted")
            yield f"        check: {{{', '.join(f'{s}: {_number(getattr(row.check, s))}' for s in shares)}}}"


def _rounded(row: MeasuredTask) -> MeasuredTask:
    check = row.check
    return replace(
        row,
        tiers={t: TierRate(quality=round(r.quality, 4), usd=round(r.usd, 9)) for t, r in row.tiers.items()},
        check=None
        if check is None
        else MeasuredCheck(
            doubted=round(check.doubted, 4),
            wrong_doubted=round(check.wrong_doubted, 4),
            wrong_undoubted=round(check.wrong_undoubted, 4),
            next_wrong_doubted=round(check.next_wrong_doubted, 4),
        ),
    )


def _number(value: float) -> str:
    # YAML 1.1 reads 1e-05 as text.
    return f"{value:.9f}".rstrip("0").rstrip(".") or "0"


def _text(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
