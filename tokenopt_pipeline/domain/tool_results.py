"""What a model is told about a tool's outcome: one line of JSON that nothing in the outcome can end or fake."""

from __future__ import annotations

from collections.abc import Callable

from tokenopt_pipeline.domain.fingerprints import canonical_json
from tokenopt_pipeline.domain.prompts import as_line, as_sent
from tokenopt_pipeline.domain.tools import Tool, ToolOutcome, ToolResult

_MOST_REASON_CHARS = 400


def result_of(
    call_id: str,
    outcome: ToolOutcome,
    *,
    tool: Tool,
    violation: Callable[[Tool, object], str | None],
    most_bytes: int,
) -> ToolResult:
    """The outcome as a model reads it: its structured value where it has one, otherwise its text.

    The result's text has at most `most_bytes` bytes beside the mark that says that and how much was cut. An outcome
    that breaks the output schema of its tool is an error, and none of it is shown.
    """
    if outcome.is_error:
        return _framed(
            call_id, "error", outcome.text or "the tool failed and did not say why", most_bytes, is_error=True
        )
    if tool.output_schema is not None:
        problem = (
            "there is no structured content" if outcome.structured is None else violation(tool, outcome.structured)
        )
        if problem is not None:
            return refused_result(call_id, f"the tool's result breaks its own output schema: {problem}")
    if outcome.structured is None:
        return _framed(call_id, "result", outcome.text, most_bytes)
    try:
        said = canonical_json(outcome.structured)
    except (ValueError, RecursionError):
        return refused_result(call_id, "the tool's structured content cannot be said in JSON")
    if _size(as_line(said)) > most_bytes:
        return _framed(call_id, "result", said, most_bytes)
    # The value itself, not a text that holds it: so no quotes need to be escaped.
    return ToolResult(call_id=call_id, text=f'{{"result":{as_line(said)}}}')


def refused_result(call_id: str, reason: str) -> ToolResult:
    """An error of ours."""
    return ToolResult(call_id=call_id, text=f'{{"error":"{as_sent(reason[:_MOST_REASON_CHARS])}"}}', is_error=True)


def _framed(call_id: str, member: str, text: str, most_bytes: int, *, is_error: bool = False) -> ToolResult:
    whole = _size(text)
    # Never escape much more than can be shown: an outcome may have many megabytes.
    shown = text[:most_bytes]
    escaped = as_sent(shown)
    while (size := _size(escaped)) > most_bytes:
        # Escapes take room too: fewer characters by the share that is too much, and by one at least.
        shown = shown[: min(len(shown) - 1, len(shown) * most_bytes // size)]
        escaped = as_sent(shown)
    cut = "" if len(shown) == len(text) else f',"cut":"only the first {_size(shown)} of {whole} bytes are shown"'
    return ToolResult(call_id=call_id, text=f'{{"{member}":"{escaped}"{cut}}}', is_error=is_error)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
