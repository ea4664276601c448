"""Extraction schemas: a JSON Schema for one block's answer, how to ask for it, and which blocks it is for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tokenopt_pipeline.domain.checks import Check, parse_checks
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import SchemaInvalid
from tokenopt_pipeline.domain.fingerprints import canonical_json, canonical_schema, digest, ordered_json

TASK_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,127}")
REF_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
RETRIEVAL = ("none", "eligible", "critical")
DEFAULT_SYSTEM = (
    "You extract facts from blocks of documents exactly as they are stated, and nothing that is not stated."
)
DEFAULT_PER_BLOCK = "Fill the fields of the schema for each block."

_OWN_REFERENCES = ("#/$defs/", "#/definitions/")
# Names of members an extraction schema file may have beside JSON Schema's own keywords.
_OWN_MEMBERS = frozenset(
    {"ref", "prompt_config", "applies_to", "retrieval", "references", "prefilter", "task", "checks"}
)
# What JSON Schema (2020-12 and draft 7) says at the top of a document. Anything else is taken for a slip of the pen.
_KEYWORDS = frozenset(
    "$schema $id $comment $defs $vocabulary $anchor $ref $dynamicRef $dynamicAnchor definitions title description default "
    "examples deprecated readOnly writeOnly type enum const properties required additionalProperties patternProperties "
    "propertyNames minProperties maxProperties unevaluatedProperties dependentRequired dependentSchemas dependencies allOf "
    "anyOf oneOf not if then else propertyOrdering".split()
)
_PROMPT_MEMBERS = frozenset(
    {"system_instructions", "per_block_prompt", "model", "temperature", "max_tokens_per_block", "max_batch_size"}
)
_PREFILTER_MEMBERS = frozenset({"heading_min_words", "keep_types"})
# A field whose name contains one of these words is taken to be about that kind of block.
_FIELD_WORDS = {
    BlockType.TABLE: ("table", "row", "column", "cell", "line_item"),
    BlockType.CODE_BLOCK: ("code", "snippet", "command", "function", "api"),
}
# Fields that repeat or rewrite the block make the answer as long as the block itself.
_REWRITING_WORDS = ("content", "rewrite", "revised", "revision")
_LONG_TEXT_WORDS = ("content", "revised", "rewrite", "revision", "analysis", "summary", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionSchema:
    """One question, asked of every block it applies to. Immutable; its hash is its version."""

    #: The name people use, `[a-z0-9][a-z0-9_-]{0,63}`.
    ref: str
    #: Digest of everything that can change an answer or what is asked.
    schema_hash: str
    #: The JSON Schema of one block's answer: an object with `properties`. Answers are validated against exactly this.
    answer_schema: Mapping[str, object]
    system_instructions: str
    per_block_prompt: str
    #: None: every block type that the pre-filter's other rules let through.
    applies_to: frozenset[BlockType] | None
    retrieval: str
    #: Names of reference documents the instructions rely on; in file order.
    references: tuple[str, ...]
    #: Headings with fewer words are skipped; 0 keeps all headings.
    heading_min_words: int
    #: Block types that no rule about types may skip.
    keep_types: frozenset[BlockType]
    #: Policy settings the schema asks for, as nested policy keys.
    policy_hints: Mapping[str, object]
    #: What kind of work this is, as routing rules and fitted tables name it; the ref when the file states none.
    task: str = ""
    #: Rules between the fields of an answer that tell a doubtful one.
    checks: tuple[Check, ...] = ()
    #: What the schema states that has no effect, one sentence each.
    notes: tuple[str, ...] = ()

    @property
    def properties(self) -> Mapping[str, object]:
        """Field name -> JSON Schema of the field."""
        return cast(Mapping[str, object], self.answer_schema["properties"])

    def names_type(self, block_type: BlockType) -> bool:
        """Whether the schema itself says that it is about this type of block."""
        if block_type in self.keep_types or (self.applies_to is not None and block_type in self.applies_to):
            return True
        words = _FIELD_WORDS.get(block_type, ())
        return any(word in name.lower() for name in field_names(self.answer_schema) for word in words)

    @property
    def is_text_heavy(self) -> bool:
        """Whether some field asks for prose, which makes answers long."""
        return any(
            name == "final" or any(word in name.lower() for word in _LONG_TEXT_WORDS)
            for name in field_names(self.answer_schema)
        )

    @property
    def repeats_block(self) -> bool:
        """Whether some field holds the block's own text again, rewritten or not."""
        return any(word in name.lower() for name in field_names(self.answer_schema) for word in _REWRITING_WORDS)


def about_other_types(schema: ExtractionSchema, block_type: BlockType) -> set[str]:
    """Fields whose names say that they are about another type of block."""
    others = [words for about, words in _FIELD_WORDS.items() if about is not block_type]
    own = _FIELD_WORDS.get(block_type, ())
    return {
        name
        for name in schema.properties
        if any(word in name.lower() for words in others for word in words)
        and not any(word in name.lower() for word in own)
    }


def field_names(schema: Mapping[str, object]) -> Iterator[str]:
    """Every property name at any object depth, in order; the items of arrays are not searched."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return
    for name, fragment in properties.items():
        yield name
        if isinstance(fragment, Mapping):
            yield from field_names(fragment)


def parse_schema(document: object, *, name: str) -> ExtractionSchema:
    """The schema in a parsed JSON document. `name` is what messages call it and the ref when the file states none.

    Raises SchemaInvalid. Whether the JSON Schema keywords themselves are right is the validator's part
    (`ports.AnswerValidators`), which the caller asks next.
    """
    if not isinstance(document, Mapping):
        raise SchemaInvalid(f"schema {name}: a JSON object is needed, found {type(document).__name__}")
    try:
        text = canonical_json(document)
        text.encode()
    except (TypeError, ValueError, RecursionError) as problem:
        raise SchemaInvalid(f"schema {name}: it cannot be said in JSON: {problem}") from problem
    # Escaped backslashes go first: they are text, and so is what follows them.
    if "\\u0000" in text.replace("\\\\", ""):
        raise SchemaInvalid(f"schema {name}: it holds the character NUL, which cannot be stored")
    if unknown := sorted(k for k in document if k not in _OWN_MEMBERS | _KEYWORDS and not k.startswith("x-")):
        raise SchemaInvalid(
            f"schema {name}: unknown member {unknown[0]!r}; beside JSON Schema's own there are {', '.join(sorted(_OWN_MEMBERS))}"
        )
    properties = document.get("properties")
    if document.get("type", "object") != "object":
        raise SchemaInvalid(f"schema {name}: type must be object, found {document['type']!r}")
    if not isinstance(properties, Mapping) or not properties:
        raise SchemaInvalid(f"schema {name}: it has no properties, so there is nothing to extract")
    answer_schema = canonical_schema(
        {
            "type": "object",
            "additionalProperties": False,
            **{k: v for k, v in document.items() if k not in _OWN_MEMBERS},
        }
    )
    if stray := next((ref for ref in _references(answer_schema) if not ref.startswith(_OWN_REFERENCES)), None):
        raise SchemaInvalid(f"schema {name}: it refers to {stray!r}; references must point into its own $defs")
    required = answer_schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(r, str) for r in required):
        raise SchemaInvalid(f"schema {name}: required must be a list of property names")
    if unknown := [r for r in required if r not in properties]:
        raise SchemaInvalid(f"schema {name}: required names {unknown[0]!r}, which is not among its properties")
    ref = _ref(document, name)
    prompt = _members(document, "prompt_config", _PROMPT_MEMBERS, name)
    prefilter = _members(document, "prefilter", _PREFILTER_MEMBERS, name)
    retrieval = document.get("retrieval", "none")
    if retrieval not in RETRIEVAL:
        raise SchemaInvalid(f"schema {name}: retrieval must be one of {', '.join(RETRIEVAL)}, found {retrieval!r}")
    references = document.get("references", [])
    if not isinstance(references, list) or not all(isinstance(r, str) for r in references):
        raise SchemaInvalid(f"schema {name}: references must be a list of names")
    heading_min_words = prefilter.get("heading_min_words", 0)
    if (
        not isinstance(heading_min_words, int)
        or isinstance(heading_min_words, bool)
        or not 0 <= heading_min_words <= 50
    ):
        raise SchemaInvalid(f"schema {name}: prefilter.heading_min_words = {heading_min_words!r}, allowed 0 to 50")
    system = _text(prompt, "system_instructions", DEFAULT_SYSTEM, name)
    per_block = _text(prompt, "per_block_prompt", DEFAULT_PER_BLOCK, name)
    applies_to = _types(document.get("applies_to"), "applies_to", name)
    keep_types = _types(prefilter.get("keep_types"), "prefilter.keep_types", name) or frozenset()
    task = _task(document, ref, name)
    checks = parse_checks(document.get("checks"), name=name, fields=frozenset(properties))
    return ExtractionSchema(
        ref=ref,
        schema_hash=digest(
            {
                "answer_schema": ordered_json(answer_schema),
                "system_instructions": system,
                "per_block_prompt": per_block,
                "applies_to": sorted(applies_to) if applies_to is not None else None,
                "prefilter": {"heading_min_words": heading_min_words, "keep_types": sorted(keep_types)},
                "retrieval": retrieval,
                "references": references,
                # Only where they say something, so that a schema without them keeps its version.
                **({"task": task} if task != ref else {}),
                **({"checks": document["checks"]} if checks else {}),
            }
        ),
        answer_schema=answer_schema,
        system_instructions=system,
        per_block_prompt=per_block,
        applies_to=applies_to,
        retrieval=str(retrieval),
        references=tuple(references),
        heading_min_words=heading_min_words,
        keep_types=keep_types,
        policy_hints=_policy_hints(prompt),
        task=task,
        checks=checks,
        notes=tuple(_notes(prompt, str(retrieval), references)),
    )


def _references(node: object) -> Iterator[str]:
    """Every `$ref` and `$dynamicRef` in a schema."""
    if isinstance(node, Mapping):
        yield from (str(node[key]) for key in ("$ref", "$dynamicRef") if isinstance(node.get(key), str))
    children = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    for child in children:
        yield from _references(child)


def _notes(prompt: Mapping[str, object], retrieval: str, references: Sequence[str]) -> Iterator[str]:
    if "temperature" in prompt:
        yield "prompt_config.temperature has no effect: current models take no sampling parameters"
    if retrieval == "none" and references:
        yield "references have no effect with retrieval: none; eligible or critical gives them to the model"
    if retrieval != "none" and not references:
        yield f"retrieval: {retrieval} has no effect without references"


def _ref(document: Mapping[str, object], name: str) -> str:
    ref = document.get("ref", name)
    if not isinstance(ref, str) or not REF_PATTERN.fullmatch(ref):
        raise SchemaInvalid(f"schema {name}: ref {ref!r} must match {REF_PATTERN.pattern}")
    return ref


def _task(document: Mapping[str, object], ref: str, name: str) -> str:
    task = document.get("task", ref)
    if not isinstance(task, str) or not TASK_PATTERN.fullmatch(task):
        raise SchemaInvalid(f"schema {name}: task {task!r} must match {TASK_PATTERN.pattern}")
    return task


def _members(document: Mapping[str, object], key: str, known: frozenset[str], name: str) -> Mapping[str, object]:
    members = document.get(key, {})
    if not isinstance(members, Mapping):
        raise SchemaInvalid(f"schema {name}: {key} must be an object")
    if unknown := sorted(set(members) - known):
        raise SchemaInvalid(f"schema {name}: unknown member {key}.{unknown[0]}; known: {', '.join(sorted(known))}")
    return members


def _text(prompt: Mapping[str, object], key: str, default: str, name: str) -> str:
    text = prompt.get(key, default)
    if not isinstance(text, str) or not text.strip():
        raise SchemaInvalid(f"schema {name}: prompt_config.{key} must be a non-empty string")
    return text


def _types(names: object, key: str, name: str) -> frozenset[BlockType] | None:
    if names is None:
        return None
    if not isinstance(names, list) or not names:
        raise SchemaInvalid(f"schema {name}: {key} must be a non-empty list of block types")
    known = [t.value for t in BlockType]
    for found in names:
        if found not in known:
            raise SchemaInvalid(f"schema {name}: {key} names {found!r}; block types are {', '.join(sorted(known))}")
    return frozenset(BlockType(n) for n in names)


def _policy_hints(prompt: Mapping[str, object]) -> Mapping[str, object]:
    """The policy keys behind prompt_config's older names; bounds are checked where every policy value is."""
    hints: dict[str, dict[str, object]] = {}
    if "model" in prompt:
        hints["routing"] = {"model": prompt["model"]}
    packing: dict[str, object] = {}
    if "max_batch_size" in prompt:
        packing["pack_size"] = prompt["max_batch_size"]
    if "max_tokens_per_block" in prompt:
        packing["single_block_output_tokens"] = prompt["max_tokens_per_block"]
    if packing:
        hints["packing"] = packing
    return hints
