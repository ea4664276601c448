"""Which tiers of a scenario the product can do now: the product is asked, and its own words are the reason where it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.policy import resolve
from tokenopt_pipeline.domain.runs import RunKind
from tokenopt_pipeline.domain.schemas import parse_schema
from tokenopt_pipeline.measuring.scenarios import Scenario, Tier
from tokenopt_pipeline.measuring.workloads import Workload
from tokenopt_pipeline.stages.plan import RunRequest, check_askable

#: Name of the reference that a retrieval tier looks up.
REFERENCE = "benchmark-guide"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What holds for a run whatever its scenario."""

    kind: RunKind
    budget_usd: str | None = None
    #: Asked for everything instead of the scenario's tiers.
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """What is left of a scenario."""

    scenario: Scenario
    #: Tier -> why it is left out.
    left_out: Mapping[str, str]
    #: Why nothing can be measured; None: it can.
    refusal: str | None = None


def ability(scenario: Scenario, workload: Workload, under: Conditions) -> Ability:
    """The tiers of the scenario that a run over the workload would follow.

    A tier is left out when the product refuses it, alone or beside the tiers before it, or says in a note that what it asks
    for has no effect.
    """
    left_out: dict[str, str] = {}
    taken: list[Tier] = []
    for tier in scenario.tiers:
        reason = _refusal(Scenario(name=tier.name, tiers=(tier,)), workload, under)
        if reason := reason or _refusal(Scenario(name=scenario.name, tiers=(*taken, tier)), workload, under):
            left_out[tier.name] = reason
        else:
            taken.append(tier)
    able = replace(scenario, tiers=tuple(t for t in scenario.tiers if t.name not in left_out))
    if scenario.tiers and not able.tiers:
        return Ability(scenario=able, left_out=left_out, refusal="; ".join(dict.fromkeys(left_out.values())))
    return Ability(scenario=able, left_out=left_out, refusal=_refusal(able, workload, under))


def request_for(scenario: Scenario, workload: Workload, under: Conditions, *, collection: str) -> RunRequest:
    """The run request of a scenario over a workload. Raises InvalidInput."""
    source = workload.asked_with(scenario.schema, reference=REFERENCE if scenario.uses_reference else None)
    schema = parse_schema(source, name=workload.name)
    layers: list[tuple[str, Mapping[str, object]]] = [
        ("schema", schema.policy_hints),
        (f"scenario {scenario.name}", scenario.policy),
    ]
    if under.model is not None:
        layers.append(("model", {"routing": {"model": under.model}}))
    if under.budget_usd is not None:
        layers.append(("budget", {"run": {"budget_usd": under.budget_usd}}))
    return RunRequest(
        collection=collection,
        schema=schema,
        schema_source=source,
        resolved=resolve(layers),
        mode=scenario.mode,
        kind=under.kind,
    )


def _refusal(scenario: Scenario, workload: Workload, under: Conditions) -> str | None:
    if (known := workload.recorded_tiers) is not None:
        others = [tier.name for tier in scenario.tiers if tier.name not in known]
        return f"nothing was recorded of {', '.join(others)}" if others else None
    if scenario.uses_reference and not workload.reference:
        return "the workload has no reference to look things up in"
    try:
        request = request_for(scenario, workload, under, collection="asked")
        policy = request.resolved.policy
        check_askable(
            request,
            models=assembly.models_under(policy),
            prices=assembly.prices_under(policy),
            validators=JsonSchemaValidators(),
        )
    except InvalidInput as refused:
        return str(refused)
    plain = parse_schema(
        workload.asked_with({"retrieval": "none", "references": []}, reference=None), name=workload.name
    )
    return next((note for note in request.schema.notes if note not in plain.notes), None)
