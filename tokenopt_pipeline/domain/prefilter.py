"""The pre-filter: declared rules that may skip a block, in order, the first that matches wins."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.policy import PrefilterPolicy
from tokenopt_pipeline.domain.schemas import ExtractionSchema

# Chinese characters, kana, Thai, Lao, Khmer and Burmese letters: their words are not set apart by spaces.
_DENSE = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_FURNITURE = (BlockType.PAGE_HEADER, BlockType.PAGE_FOOTER)


class Verdict(StrEnum):
    """What happens to a block of a run."""

    KEEP = "keep"  # asked
    SKIP = "skip"  # not asked; a rule says why
    REUSE = "reuse"  # not asked; an identical block's answer is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFacts:
    """All that a rule may look at, computed once when the block was ingested."""

    type: BlockType
    #: Only white space, or nothing.
    is_blank: bool
    #: White-space separated words with a letter or digit, counted up to `WORDS_CAP`.
    words: int


#: Rules never ask for more words than this, so facts above it are one case. Equals the bound of heading_min_words.
WORDS_CAP = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipRule:
    """One reason to skip a block."""

    id: str
    applies: Callable[[BlockFacts], bool]
    evidence: Callable[[BlockFacts], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The verdict on a block, the rule behind it and what the rule saw. `rule_id` of a kept block is `kept`."""

    verdict: Verdict
    rule_id: str
    evidence: str


KEPT = Decision(verdict=Verdict.KEEP, rule_id="kept", evidence="No skip rule matches.")


def skip_rules(policy: PrefilterPolicy, schema: ExtractionSchema) -> tuple[SkipRule, ...]:
    """The rules that hold for this schema under this policy, in the order they are tried."""
    rules = [
        SkipRule(id="blank", applies=lambda f: f.is_blank, evidence=lambda f: f"The {f.type} holds only white space.")
    ]
    if not policy.enabled:
        return tuple(rules)
    applies_to = schema.applies_to
    if applies_to is not None:
        named = ", ".join(sorted(applies_to))
        rules.append(
            SkipRule(
                id="outside_applies_to",
                applies=lambda f: f.type not in applies_to and f.type not in schema.keep_types,
                evidence=lambda f: f"The block is a {f.type}; schema {schema.ref} applies to {named}.",
            )
        )
    if policy.figure_without_text:
        rules.append(
            SkipRule(
                id="figure_without_text",
                applies=lambda f: f.type is BlockType.FIGURE and f.words == 0,
                evidence=lambda _: "The figure carries no word to read.",
            )
        )
    minimum = schema.heading_min_words
    if policy.short_heading and minimum:
        rules.append(
            SkipRule(
                id="short_heading",
                applies=lambda f: f.type is BlockType.HEADING and f.words < minimum,
                evidence=lambda f: f"The heading has {f.words} words; schema {schema.ref} wants at least {minimum}.",
            )
        )
    for switch, rule_id, types in (
        (policy.table_without_field, "table_without_field", (BlockType.TABLE,)),
        (policy.code_without_field, "code_without_field", (BlockType.CODE_BLOCK,)),
        (policy.divider, "divider", (BlockType.DIVIDER,)),
        (policy.page_furniture, "page_furniture", _FURNITURE),
    ):
        skipped = frozenset(t for t in types if not schema.names_type(t))
        if switch and skipped:
            rules.append(_type_rule(rule_id, skipped, schema.ref))
    return tuple(rules)


def _type_rule(rule_id: str, types: frozenset[BlockType], ref: str) -> SkipRule:
    return SkipRule(
        id=rule_id,
        applies=lambda f: f.type in types,
        evidence=lambda f: f"The block is a {f.type} and schema {ref} has no field for one.",
    )


def decide(rules: Sequence[SkipRule], facts: BlockFacts) -> Decision:
    """The verdict of the first rule that applies; `KEPT` when none does."""
    for rule in rules:
        if rule.applies(facts):
            return Decision(verdict=Verdict.SKIP, rule_id=rule.id, evidence=rule.evidence(facts))
    return KEPT


def count_words(text: str) -> int:
    """White-space separated words that hold a letter or digit; in scripts without spaces, every two characters are one."""
    dense = len(_DENSE.findall(text))
    spaced = sum(1 for word in _DENSE.sub(" ", text).split() if any(c.isalnum() for c in word))
    return spaced + -(-dense // 2)
