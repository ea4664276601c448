"""Counting: what a request will be billed for, from our own tokenizer's counts of its parts and what vendors add unseen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRule:
    """What a family of models adds to what is written. Defaults add nothing."""

    #: To every request.
    base_tokens: float = 0.0
    #: To every message after the first.
    message_tokens: float = 0.0
    #: To a request with an output schema.
    schema_tokens: float = 0.0
    #: Real tokens per token of the schema's JSON; 0: it is not billed.
    schema_ratio: float = 1.0
    #: To a request with any tool.
    first_tool_tokens: float = 0.0
    #: For every tool.
    tool_tokens: float = 0.0
    #: Real tokens per token of the tools' JSON.
    tool_ratio: float = 1.0
    #: To a request whose tool is not the model's free choice.
    forced_tool_tokens: float = 0.0
    #: For every tool call in the messages, with its result.
    call_tokens: float = 0.0
    #: Per character of the sealed thoughts that go back with tool calls.
    seal_ratio: float = 0.0
    #: To a request that asks for thinking.
    thinking_tokens: float = 0.0

    def tools(self, *, counted: int, tools: int, forced: bool) -> float:
        """Tokens of so many tools, whose JSON our tokenizer counts so long."""
        if not tools:
            return 0.0
        declared = self.first_tool_tokens + self.tool_tokens * tools + self.tool_ratio * counted
        return declared + (self.forced_tool_tokens if forced else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestShape:
    """A request as counting sees it. All counts of tokens are our tokenizer's."""

    #: Of all texts.
    text: int
    messages: int = 1
    #: Of the output schema's JSON; 0: there is none.
    schema: int = 0
    #: Of the tools' JSON.
    tool_tokens: int = 0
    tools: int = 0
    is_forced: bool = False
    thinks: bool = False
    #: Tool calls in the messages.
    calls: int = 0
    #: Characters of sealed thoughts in the messages.
    seal_chars: int = 0


def expected_tokens(rule: TokenRule, token_ratio: float, shape: RequestShape) -> int:
    """Tokens that such a request is expected to be billed for; `token_ratio` is for its texts."""
    total = rule.base_tokens + rule.message_tokens * max(shape.messages - 1, 0) + token_ratio * shape.text
    if shape.schema:
        total += rule.schema_tokens + rule.schema_ratio * shape.schema
    total += rule.tools(counted=shape.tool_tokens, tools=shape.tools, forced=shape.is_forced)
    total += rule.call_tokens * shape.calls + rule.seal_ratio * shape.seal_chars
    return max(round(total + (rule.thinking_tokens if shape.thinks else 0.0)), 1)
