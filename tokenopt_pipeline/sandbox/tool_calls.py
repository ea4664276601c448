"""Whether the model calls tools or answers: decided by the plan, the conversation and the prompt, never by chance.

No provider's wire shape is known here; a provider turns an `Offer` out of its request and a `Reply` into its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tokenopt_pipeline.sandbox.answers import answerer_for
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_object
from tokenopt_pipeline.sandbox.pack import read_pack
from tokenopt_pipeline.sandbox.reply import Question, Reply, ToolUse, compose_reply, with_a_wrong_type
from tokenopt_pipeline.sandbox.tokens import CHARS_PER_TOKEN, tokens_of
from tokenopt_pipeline.sandbox.tool_plan import ToolPlan

_TRUNCATED_SHARE = 0.6
# The model says something else instead, or nothing.
_NO_CALL = (Fault.REFUSE, Fault.BLOCK_PROMPT, Fault.PROSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedTool:
    """One tool the model may call."""

    name: str
    schema: JsonObject
    """JSON Schema of its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a request lets the model do with tools."""

    tools: tuple[OfferedTool, ...] = ()
    """Those it may call now: none where the request forbids calls."""
    must_call: bool = False
    """Whether it has to call one of them."""
    is_forced: bool = False
    """Whether the request names the one tool it has to call, which then takes the answer."""
    several: bool = True
    """Whether one answer may call more than one."""
    rounds: int = 0
    """Answers of the conversation so far that called tools."""


def answer_or_call(question: Question, offer: Offer, plan: ToolPlan, fault: Fault | None) -> Reply:
    """The reply: calls while the plan has rounds left, then the answer, through a tool where there is no other way."""
    may_call = offer.tools and fault not in _NO_CALL
    if may_call:
        uses = _planned(question.prompt, offer, plan)
        if uses:
            return _calling(uses, question.max_tokens, fault)
    tool = None
    if may_call and (offer.must_call or offer.rounds < plan.rounds):
        tool = answering_tool(question.prompt, offer)
    if tool is None:
        return compose_reply(question, fault)
    reply = compose_reply(replace(question, schema=tool.schema, as_tool=True), fault)
    return replace(reply, calls=(ToolUse(name=tool.name, arguments=as_object(reply.value), text=reply.text),))


def _planned(prompt: str, offer: Offer, plan: ToolPlan) -> tuple[ToolUse, ...]:
    """The calls on the way to the answer."""
    others = {tool.name: tool for tool in offer.tools if not _takes_answer(tool, prompt)}
    if offer.is_forced or offer.rounds >= plan.rounds or not others:
        return ()
    names = plan.tools or tuple(others)
    first = offer.rounds * plan.parallel
    count = plan.parallel if offer.several else 1
    return tuple(
        _use(names[number % len(names)], others, plan, _about(prompt, number)) for number in range(first, first + count)
    )


def answering_tool(prompt: str, offer: Offer) -> OfferedTool | None:
    """The tool whose arguments are the answer; None when the answer is text."""
    takes = next((tool for tool in offer.tools if _takes_answer(tool, prompt)), None)
    return takes or (offer.tools[0] if offer.must_call else None)


def _takes_answer(tool: OfferedTool, prompt: str) -> bool:
    """Whether the tool records a pack's results, rather than finding something out."""
    results = as_object(as_object(tool.schema.get("properties")).get("results"))
    return bool(as_object(results.get("items"))) and read_pack(prompt) is not None


def _use(name: str, tools: dict[str, OfferedTool], plan: ToolPlan, about: str) -> ToolUse:
    given: Json
    if name in plan.arguments:
        given = plan.arguments[name]
    elif name in tools:
        given = answerer_for(tools[name].schema, None).answer(about)
    else:
        given = {}
    if isinstance(given, str):
        return ToolUse(name=name, arguments=_object_in(given), text=given)
    return ToolUse(name=name, arguments=as_object(given), text=json.dumps(given, ensure_ascii=False))


def _object_in(text: str) -> JsonObject:
    """What a dialect without room for text makes of text that is no object."""
    try:
        found: Json = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"INVALID_JSON": text}


def _about(prompt: str, number: int) -> str:
    """The text one call is about: the blocks in turn, their words turned further every time, so that calls differ."""
    pack = read_pack(prompt)
    texts = [prompt] if pack is None or not pack.blocks else [block.text for block in pack.blocks]
    words = texts[number % len(texts)].split()
    turned = number // len(texts) % max(1, len(words))
    return " ".join([*words[turned:], *words[:turned]])


def _calling(uses: Sequence[ToolUse], max_tokens: int, fault: Fault | None) -> Reply:
    first, *rest = uses
    if fault is Fault.MALFORMED:
        nested: JsonObject = {name: json.dumps(child) for name, child in first.arguments.items()}
        first = replace(first, arguments=nested, text=first.text.rstrip("]}") or "{")
    if fault is Fault.WRONG_TYPE:
        wrong = as_object(with_a_wrong_type(first.arguments, None))
        first = replace(first, arguments=wrong, text=json.dumps(wrong, ensure_ascii=False))
    needed = [tokens_of(use.text) for use in (first, *rest)]
    limit = min(max_tokens, int(sum(needed) * _TRUNCATED_SHARE)) if fault is Fault.TRUNCATE else max_tokens
    if sum(needed) <= limit:
        return Reply(text="", as_tool=True, calls=(first, *rest), output_tokens=sum(needed))
    said = []
    left = limit
    for use, tokens in zip((first, *rest), needed, strict=True):
        if left <= 0:
            break
        # What of a cut call can still be an object is nothing.
        cut = replace(use, arguments={}, text=use.text[: left * CHARS_PER_TOKEN])
        said.append(use if tokens <= left else cut)
        left -= tokens
    return Reply(text="", as_tool=True, calls=tuple(said), output_tokens=limit, truncated=True)
