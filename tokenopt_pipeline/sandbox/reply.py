"""What the model says to a request: the answer, cut where the output limit cuts it, spoilt where a fault spoils it.

No provider's wire shape is known here; a provider turns a `Reply` into its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from tokenopt_pipeline.sandbox.answers import answerer_for
from tokenopt_pipeline.sandbox.choice import Choice
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object
from tokenopt_pipeline.sandbox.pack import Pack, read_extraction_schema, read_pack
from tokenopt_pipeline.sandbox.prose import snippet
from tokenopt_pipeline.sandbox.tokens import CHARS_PER_TOKEN, tokens_of

_TRUNCATED_SHARE = 0.6
_REFUSAL_TOKENS = 5
_PROSE = "I have read the text, but I would rather describe it in my own words: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request as a model sees it."""

    system: str
    prompt: str
    """The last user message's text."""
    schema: JsonObject | None
    """What the answer must fit; None asks for prose."""
    as_tool: bool
    """Whether the answer is a tool's input rather than text."""
    max_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """One call of a tool."""

    name: str
    arguments: JsonObject
    """For dialects whose arguments are an object."""
    text: str
    """The arguments as the model wrote them: JSON, unless it was told to write something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the model said."""

    text: str
    """The answer's text; a tool call's input as JSON text."""
    value: Json = None
    """The tool call's input, as far as the text got."""
    as_tool: bool
    calls: tuple[ToolUse, ...] = ()
    """Tools it calls, in order; then `text` is no answer of its own."""
    output_tokens: int
    truncated: bool = False
    refused: bool = False
    blocks: int = 0
    """How many blocks the request asked about; 0 when it was no pack."""


def compose_reply(question: Question, fault: Fault | None) -> Reply:
    """The reply to `question`, with `fault` if there is one."""
    pack = read_pack(question.prompt)
    blocks = 0 if pack is None else len(pack.blocks)
    if fault in (Fault.REFUSE, Fault.BLOCK_PROMPT):
        return Reply(text="", as_tool=False, output_tokens=_REFUSAL_TOKENS, refused=True, blocks=blocks)
    if question.schema is None or fault is Fault.PROSE:
        text = snippet(question.prompt, Choice.of(question.prompt))
        said = f"{_PROSE}{text}" if fault is Fault.PROSE else f'The text says "{text}".'
        return _limited(Reply(text=said, as_tool=False, output_tokens=0, blocks=blocks), question.max_tokens, fault)
    value = _spoilt(_answer(question, question.schema, pack), fault, pack)
    text = json.dumps(value, ensure_ascii=False)
    if fault is Fault.MALFORMED:
        # A tool's input is always an object; what models get wrong there is nesting JSON as a string.
        if question.as_tool:
            value = {name: json.dumps(child) for name, child in as_object(value).items()}
            text = json.dumps(value)
        else:
            text = text.rstrip("]}") or "{"
    reply = Reply(text=text, value=value, as_tool=question.as_tool, output_tokens=0, blocks=blocks)
    return _limited(reply, question.max_tokens, fault)


def _answer(question: Question, schema: JsonObject, pack: Pack | None) -> Json:
    original = read_extraction_schema(question.system)
    entry = as_object(as_object(as_object(schema.get("properties")).get("results")).get("items"))
    if pack is None or not entry:
        return answerer_for(schema, None).answer(question.prompt)
    # Definitions stay reachable: references in the entry point at the root of the whole schema.
    definitions: JsonObject = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    answerer = answerer_for({**definitions, **_entry_schema(entry, schema)}, original, without=pack.ordinal_key)
    return {
        "results": [
            {pack.ordinal_key: block.ordinal, **as_object(answerer.answer(block.text))} for block in pack.blocks
        ]
    }


def _entry_schema(entry: JsonObject, root: JsonObject) -> JsonObject:
    reference = entry.get("$ref")
    if not isinstance(reference, str):
        return entry
    node: Json = root
    for part in reference.removeprefix("#").split("/")[1:]:
        node = as_object(node).get(part)
    return as_object(node)


def _spoilt(value: Json, fault: Fault | None, pack: Pack | None) -> Json:
    results = as_list(as_object(value).get("results"))
    if fault is Fault.WRONG_TYPE:
        return with_a_wrong_type(value, pack)
    if pack is None or not results:
        return value
    victim = Choice.of(pack.blocks[0].text).below(len(results), "victim")
    match fault:
        case Fault.DROP_BLOCK:
            results = results[:victim] + results[victim + 1 :]
        case Fault.REPEAT_BLOCK:
            results = [*results, results[victim]]
        case Fault.REORDER:
            results = results[::-1]
        case Fault.UNKNOWN_BLOCK:
            unasked = max(block.ordinal for block in pack.blocks) + 1
            results = [*results, {**as_object(results[victim]), pack.ordinal_key: unasked}]
    return {"results": results}


def with_a_wrong_type(value: Json, pack: Pack | None) -> Json:
    """`value`, or the first result of a pack's answer, with one member of another type."""
    results = as_list(as_object(value).get("results")) if pack is not None else [value]
    victim = as_object(results[0]) if results else {}
    names = [name for name in victim if pack is None or name != pack.ordinal_key]
    if not names:
        return value
    wrong: Json = "not an object" if isinstance(victim[names[0]], dict) else {"unexpected": True}
    spoilt: JsonObject = {**victim, names[0]: wrong}
    return spoilt if pack is None else {"results": [spoilt, *results[1:]]}


def _limited(reply: Reply, max_tokens: int, fault: Fault | None) -> Reply:
    needed = tokens_of(reply.text)
    limit = max_tokens
    if fault is Fault.TRUNCATE:
        limit = min(limit, max(1, int(needed * _TRUNCATED_SHARE)))
    if needed <= limit:
        return replace(reply, output_tokens=needed)
    text = reply.text[: limit * CHARS_PER_TOKEN]
    return replace(reply, text=text, value=_whole_part(reply.value, len(text)), output_tokens=limit, truncated=True)


def _whole_part(value: Json, chars: int) -> JsonObject:
    """What of a cut tool input can still be an object: the results that were complete within `chars`."""
    results = as_list(as_object(value).get("results"))
    while results and len(json.dumps({"results": results}, ensure_ascii=False)) > chars:
        results = results[:-1]
    return {"results": results} if results else {}
