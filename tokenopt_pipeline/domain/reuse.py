"""Reuse: why an answer that is there is not taken, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How a run asks: what its answers depend on beside the blocks."""

    #: Empty: a run that is not there yet.
    run_id: str
    kind: str
    schema_ref: str
    schema_hash: str
    #: How answers are said.
    form: str
    #: Models by tier, as the policy has them.
    models: str
    recipe: str
    #: Blocks of ours that it has answered.
    blocks: int = 1


def why_not_reused(ours: Asking, others: Sequence[Asking], *, is_enabled: bool) -> str:
    """Why blocks that other runs have answered are asked again; `others` are those runs, the newest first."""
    if not is_enabled:
        return "reuse.enabled is false, so nothing is taken from other runs."
    if not others:
        return "no run has answered an identical block."
    nearest = min(others, key=lambda other: len(_differences(ours, other)))
    told = _differences(ours, nearest)
    if not told:
        return f"run {nearest.run_id} asks the same, and answered it after this run had decided."
    return f"run {nearest.run_id} answered it under {', '.join(told)}."


def _differences(ours: Asking, other: Asking) -> list[str]:
    if ours.recipe == other.recipe:
        return []
    told = []
    if ours.kind != other.kind:
        told.append(f"another kind of answers ({other.kind})")
    if ours.schema_ref != other.schema_ref:
        told.append(f"another schema ({other.schema_ref})")
    elif ours.schema_hash != other.schema_hash:
        told.append(f"an earlier version of schema {other.schema_ref} ({other.schema_hash[:12]})")
    if ours.form != other.form:
        told.append(f"the {other.form} form of answers")
    if ours.models != other.models:
        told.append("other models")
    # All the rest of a recipe.
    return told or ["another way of asking (routing rules, servers, output method or pack format)"]
