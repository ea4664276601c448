"""What tool servers declare and answer, read from the SDK's types into ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.tools import Tool, ToolOutcome, canonical_tools

if TYPE_CHECKING:
    from mcp.types import CallToolResult

#: Longest declaration of one tool: it is sent with every request.
MOST_DECLARATION_BYTES = 32_768
_MOST_CHARS = 300


def tool_of(server: str, declared: Any, *, where: str) -> Tool:
    """A tool as the server declares it. Raises InvalidInput for one that no model can be given."""
    tool = Tool(
        server=server,
        name=declared.name,
        description=declared.description or "",
        input_schema=declared.input_schema,
        output_schema=declared.output_schema,
    )
    try:
        size = len(canonical_tools([tool]).encode())
        json.dumps(tool.output_schema, allow_nan=False)
    except (ValueError, RecursionError) as problem:
        raise InvalidInput(f"{where}: its declaration cannot be said in JSON: {told_in_one_line(problem)}") from problem
    if size > MOST_DECLARATION_BYTES:
        raise InvalidInput(f"{where}: its declaration has {size} bytes, allowed up to {MOST_DECLARATION_BYTES}")
    if tool.input_schema.get("type") != "object":
        raise InvalidInput(f"{where}: its input schema is of type {tool.input_schema.get('type')!r}, allowed object")
    return tool


def outcome_of(result: CallToolResult) -> ToolOutcome:
    """A result: its texts, and of what is no text a line that says what it was."""
    return ToolOutcome(
        text="\n".join(_text(part) for part in result.content),
        structured=result.structured_content,
        is_error=result.is_error,
    )


def told_in_one_line(problem: BaseException) -> str:
    """What somebody else's error says, short; of several at once, the first."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return " ".join(str(problem).split())[:_MOST_CHARS] or type(problem).__name__


def _text(part: Any) -> str:
    if part.type == "text":
        return str(part.text)
    if part.type == "resource_link":
        return f"[resource {part.name}: {part.uri}]"
    if part.type == "resource":
        text = getattr(part.resource, "text", None)
        return str(text) if text is not None else f"[resource {part.resource.uri}, not shown]"
    # Images and sounds: base64 has four characters for three bytes.
    return f"[{part.type} {part.mime_type}, {len(part.data) * 3 // 4} bytes, not shown]"
