"""Two-pass classification: a cheap model says whether a block is simple or complex, before the matched tier is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tokenopt_pipeline.domain.routing import TwoPass
from tokenopt_pipeline.domain.schemas import ExtractionSchema, parse_schema

#: The one field of a classification, and what it may say.
FIELD = "difficulty"
SIMPLE, COMPLEX = "simple", "complex"
_INSTRUCTIONS = (
    "You sort blocks of documents by how hard they are to extract from. You do not extract anything. Another model will be "
    "asked for the fields below; say how hard each block makes that.\n\n"
    "- simple: every field can be copied or chosen from one plainly stated place, or the block says nothing about any field.\n"
    "- complex: some field needs values to be combined, counted or converted, several places to be weighed, a reference to "
    "be followed, or a choice between close alternatives.\n\nWhen in doubt, say complex."
)
_LONGEST_REF = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Where a classified block goes."""

    tier: str
    #: One sentence a person can check.
    reason: str


def classification_schema(schema: ExtractionSchema) -> ExtractionSchema:
    """The first pass as an extraction schema of its own: asked in packs, decoded and validated like any other.

    Its prefix is short and the same for every block, its answer one word, so that a pass costs little more than the blocks.
    """
    suffix = "-two-pass"
    fields = "\n".join(f"- {name}{_described(part)}" for name, part in schema.properties.items())
    return parse_schema(
        {
            "ref": f"{schema.ref[: _LONGEST_REF - len(suffix)]}{suffix}",
            "task": schema.task,
            "type": "object",
            "properties": {FIELD: {"type": "string", "enum": [SIMPLE, COMPLEX]}},
            "required": [FIELD],
            "prompt_config": {
                "system_instructions": f"{_INSTRUCTIONS}\n\nFields:\n{fields}",
                "per_block_prompt": f"The extraction will be asked like this: {schema.per_block_prompt}",
            },
        },
        name=f"{schema.ref}{suffix}",
    )


def _described(part: object) -> str:
    if not isinstance(part, Mapping):
        return ""
    description = part.get("description") or part.get("type") or ("one of a list" if "enum" in part else "")
    return f": {description}" if isinstance(description, str) and description else ""


def matched_tier(two_pass: TwoPass, values: Mapping[str, object] | None) -> Matched:
    """The tier of a block by its classification; `values` is None when no usable one came back."""
    said = None if values is None else values.get(FIELD)
    if said == SIMPLE:
        return Matched(tier=two_pass.simple, reason=f"Tier {two_pass.classifier} calls the block simple.")
    if said == COMPLEX:
        return Matched(tier=two_pass.complex, reason=f"Tier {two_pass.classifier} calls the block complex.")
    return Matched(
        tier=two_pass.complex,
        reason=f"Tier {two_pass.classifier} gave no usable classification, so it counts as complex.",
    )


def break_even_share(*, usd_pass: float, usd_simple: float, usd_complex: float) -> float | None:
    """The share of blocks that must be simple for the first pass to pay for itself; None when no share is enough.

    Every block pays the pass; each simple one saves the difference of the tiers.
    """
    saved = usd_complex - usd_simple
    share = usd_pass / saved if saved > 0 else 2.0
    return share if share <= 1 else None
