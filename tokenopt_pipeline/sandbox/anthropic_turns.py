"""Turns with tools in a Messages conversation: what may be called, and whether what was said has come back as it was.

The words of refusals about ids and signatures are quoted in public issues. How thinking is bound is ours, as documented for the
5.5 models: to the key and the model, and on those to the conversation before it; a lost thinking block is refused in the latest
answer only. https://platform.claude.com/docs/en/build-with-claude/extended-thinking, read 2026-11-22.
"""

from __future__ import annotations

from itertools import groupby

from tokenopt_pipeline.sandbox.anthropic_errors import invalid
from tokenopt_pipeline.sandbox.anthropic_request import ContentBlock, MessagesRequest
from tokenopt_pipeline.sandbox.json_value import Json, as_object
from tokenopt_pipeline.sandbox.seals import digest_of, says, sealed, seals, tagged
from tokenopt_pipeline.sandbox.tool_calls import Offer, OfferedTool

_THINKING = ("thinking", "redacted_thinking")
_AFTER_THINKING = "after thinking"
_PURPOSE = "anthropic thinking"
_LOST = (
    "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. These blocks must remain as"
    " they were in the original response."
)

_Messages = list[tuple[int, list[ContentBlock]]]


def offer_of(request: MessagesRequest) -> Offer:
    """What the model may call."""
    tools = [block.value for block in request.tools if "input_schema" in block.value]
    if request.forced_tool is not None:
        tools = [tool for tool in tools if tool["name"] == request.forced_tool]
    return Offer(
        tools=()
        if request.tool_choice == "none"
        else tuple(OfferedTool(name=str(tool["name"]), schema=as_object(tool["input_schema"])) for tool in tools),
        must_call=request.forces_tool,
        is_forced=request.forced_tool is not None,
        several=request.several_calls,
        rounds=sum(
            any(block.value.get("type") == "tool_use" for block in blocks)
            for _, blocks in _messages(request)
            if blocks[0].role == "assistant"
        ),
    )


def brings_results(request: MessagesRequest) -> bool:
    """Whether the last message brings results of tools."""
    return any(block.value.get("type") == "tool_result" for block in _messages(request)[-1][1])


def thinking_block(request: MessagesRequest, key: str, message_id: str) -> dict[str, Json]:
    """The thinking a reply begins with, empty and sealed."""
    nonce = digest_of("nonce", message_id)[:32]
    bound = _bound(request, key, len(request.messages), "")
    return {"type": "thinking", "thinking": "", "signature": sealed(_PURPOSE, nonce, bound)}


def tool_use_id(message_id: str, index: int, *, after_thinking: bool) -> str:
    """The identifier of a reply's call number `index`, which tells the sandbox whether thinking goes before it."""
    head = f"toolu_01{digest_of('call', message_id)[:14]}{index:02x}"
    return tagged(head, _AFTER_THINKING if after_thinking else "")


def check_turns(request: MessagesRequest, key: str) -> None:
    """Raises RequestRefused for the first turn that is not what the model said, or does not answer its calls."""
    messages = _messages(request)
    called: list[str] = []
    for place, (index, blocks) in enumerate(messages):
        _check_results(index, blocks, called, is_last=place == len(messages) - 1)
        called = _calls(index, blocks)
    if called and request.roles[-1] == "assistant":
        raise _unanswered(messages[-1][0], called)
    uses = [block.value for block in request.messages if block.value.get("type") in ("tool_use", "tool_result")]
    if uses and not request.tools:
        raise invalid("Requests which include `tool_use` or `tool_result` blocks must define tools")
    identifiers = [str(use["id"]) for use in uses if use["type"] == "tool_use"]
    if len(set(identifiers)) < len(identifiers):
        raise invalid("messages: `tool_use` ids must be unique")
    _check_thinking(request, messages, key)


def _messages(request: MessagesRequest) -> _Messages:
    return [(index, list(blocks)) for index, blocks in groupby(request.messages, lambda block: block.message)]


def _calls(index: int, blocks: list[ContentBlock]) -> list[str]:
    found = []
    for block in blocks:
        if block.value.get("type") != "tool_use":
            continue
        if block.role != "assistant":
            raise invalid(f"messages.{index}: `tool_use` blocks can only be in `assistant` messages")
        for name in ("id", "name"):
            if not isinstance(block.value.get(name), str) or not block.value[name]:
                raise invalid(f"{block.location}.tool_use.{name}: Field required")
        if not isinstance(block.value.get("input"), dict):
            raise invalid(f"{block.location}.tool_use.input: Input should be a valid dictionary")
        found.append(str(block.value["id"]))
    return found


def _check_results(index: int, blocks: list[ContentBlock], called: list[str], *, is_last: bool) -> None:
    """`blocks` against the calls of the message before it."""
    answered: list[str] = []
    for block in blocks:
        if block.value.get("type") != "tool_result":
            continue
        if block.role != "user":
            raise invalid(f"messages.{index}: `tool_result` blocks can only be in `user` messages")
        identifier = str(block.value.get("tool_use_id"))
        if identifier not in called:
            raise invalid(
                f"{block.location}: unexpected `tool_use_id` found in `tool_result` blocks: {identifier}. Each `tool_result`"
                " block must have a corresponding `tool_use` block in the previous message."
            )
        if identifier in answered:
            raise invalid(
                f"{block.location}: each tool_use must have a single result. Found multiple `tool_result` blocks with id:"
                f" {identifier}"
            )
        answered.append(identifier)
    # Results count only where nothing stands before them.
    first = [str(block.value.get("tool_use_id")) for block in blocks[: len(answered)]]
    lacking = [identifier for identifier in called if identifier not in first]
    if lacking:
        raise _unanswered(index - 1, lacking)


def _unanswered(index: int, identifiers: list[str]) -> Exception:
    return invalid(
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after:"
        f" {', '.join(identifiers)}. Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )


def _check_thinking(request: MessagesRequest, messages: _Messages, key: str) -> None:
    answers = [index for index, blocks in messages if blocks[0].role == "assistant"]
    latest = answers[-1] if answers else -1
    first = 0
    for index, blocks in messages:
        for place, block in enumerate(blocks):
            kind = block.value.get("type")
            if kind == "thinking":
                _check_signature(request, block, key, first, is_latest=index == latest)
            elif kind == "tool_use" and index == latest and place == _first_call(blocks):
                thought = any(earlier.value.get("type") in _THINKING for earlier in blocks[:place])
                if says(str(block.value["id"]), _AFTER_THINKING) and not thought:
                    raise invalid(f"{block.location}: {_LOST}")
                if request.thinking == "enabled" and not thought:
                    raise invalid(
                        f"{blocks[0].location}.type: Expected `thinking` or `redacted_thinking`, but found"
                        f" `{blocks[0].value.get('type')}`. When `thinking` is enabled, a final `assistant` message must start"
                        " with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
                    )
        first += len(blocks)


def _first_call(blocks: list[ContentBlock]) -> int:
    return next(place for place, block in enumerate(blocks) if block.value.get("type") == "tool_use")


def _check_signature(request: MessagesRequest, block: ContentBlock, key: str, before: int, *, is_latest: bool) -> None:
    signature = block.value.get("signature")
    if not isinstance(signature, str):
        raise invalid(f"{block.location}.thinking.signature: Field required")
    text = block.value.get("thinking")
    if seals(signature, _PURPOSE, _bound(request, key, before, text if isinstance(text, str) else None)):
        return
    if is_latest and text != "":
        raise invalid(f"{block.location}: {_LOST}")
    raise invalid(f"{block.location}: Invalid `signature` in `thinking` block")


def _bound(request: MessagesRequest, key: str, before: int, text: str | None) -> Json:
    """What thinking with `text` is sealed with, after the first `before` blocks of the conversation."""
    said: list[Json] = []
    if request.model.binds_thinking:
        said = [[block.role, block.value] for block in request.messages[:before]]
    return [key, request.model.id, text, said]
