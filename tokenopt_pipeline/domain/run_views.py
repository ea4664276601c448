"""What a tool may see of a run: its blocks, their outcomes, its schema and the rules it refers to, never too much at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.fingerprints import canonical_json
from tokenopt_pipeline.domain.schemas import ExtractionSchema, about_other_types

#: Bounds of one answer: blocks, bytes of all their texts, bytes of one text, bytes of one block's values.
MOST_BLOCKS = 50
MOST_BYTES = 65_536
MOST_TEXT_BYTES = 16_384
MOST_VALUES_BYTES = 16_384
#: Answered blocks of the same document that are told beside the one that was asked for.
MOST_PRECEDING = 3
MOST_RULES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBlock:
    """A block of a run."""

    uid: str
    #: Its place in the run, from 0 in document order.
    ordinal: int
    type: BlockType
    text: str
    #: Bytes of the whole text.
    n_bytes: int

    @property
    def is_cut(self) -> bool:
        """Whether `text` is not the whole text."""
        return len(self.text.encode("utf-8", "surrogatepass")) < self.n_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockOutcome:
    """What has become of a block in the run so far."""

    uid: str
    ordinal: int
    #: As an overlay's status.
    status: str
    #: Confirmed values where there are any, otherwise the model's; None: there are none, or too many bytes of them.
    values: Mapping[str, Any] | None = None
    #: Whether there are values that are too long to be told.
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRule:
    """A rule, or another passage, of a reference."""

    #: Unique within its reference.
    rule_id: str
    reference: str
    text: str
    #: Higher is better; comparable within one search only.
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFindings:
    """What a search found, the best first. `message` says why there is nothing; empty otherwise."""

    rules: tuple[FoundRule, ...]
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedSchema:
    """What the run's schema asks of blocks of one type."""

    applies: bool
    #: One sentence.
    reason: str
    #: JSON Schema of one block's answer, without optional fields about other types of block.
    answer_schema: Mapping[str, object]


def bounded_blocks(blocks: Iterable[RunBlock]) -> tuple[RunBlock, ...]:
    """The first blocks that fit into one answer, at least one of those there are; long texts are cut."""
    taken: list[RunBlock] = []
    left = MOST_BYTES
    for block in blocks:
        text = _head(block.text, MOST_TEXT_BYTES)
        left -= len(text.encode())
        if len(taken) == MOST_BLOCKS or (taken and left < 0):
            break
        taken.append(replace(block, text=text))
    return tuple(taken)


def bounded_outcome(outcome: BlockOutcome) -> BlockOutcome:
    """The outcome without values that are too long to be told."""
    if (
        outcome.values is not None
        and len(canonical_json(outcome.values).encode("utf-8", "replace")) > MOST_VALUES_BYTES
    ):
        return replace(outcome, values=None, is_cut=True)
    return outcome


def bounded_rules(findings: RuleFindings) -> RuleFindings:
    """The best rules that fit into one answer; long texts are cut."""
    taken: list[FoundRule] = []
    left = MOST_BYTES
    for rule in findings.rules[:MOST_RULES]:
        text = _head(rule.text, MOST_TEXT_BYTES)
        left -= len(text.encode())
        if left < 0:
            break
        taken.append(replace(rule, text=text))
    return replace(findings, rules=tuple(taken))


def schema_for_type(schema: ExtractionSchema, block_type: BlockType) -> TypedSchema:
    """What the schema asks of blocks of this type."""
    applies = schema.applies_to is None or block_type in schema.applies_to
    types = "every type" if schema.applies_to is None else ", ".join(sorted(schema.applies_to))
    required = schema.answer_schema.get("required", [])
    others = about_other_types(schema, block_type) - set(required if isinstance(required, list) else [])
    kept = {name: part for name, part in schema.properties.items() if name not in others}
    return TypedSchema(
        applies=applies,
        reason=f"Schema {schema.ref} is asked of blocks of {types}.",
        answer_schema={**schema.answer_schema, "properties": kept},
    )


def no_index(schema: ExtractionSchema) -> RuleFindings:
    """The findings where no reference index is served."""
    names = ", ".join(schema.references) or "none"
    message = f"No reference index is served with this run, so no rule can be found. References of its schema: {names}."
    return RuleFindings(rules=(), message=message)


def _head(text: str, most_bytes: int) -> str:
    """The first whole characters that fit, without halves of surrogate pairs."""
    return text.encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore")
