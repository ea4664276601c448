"""What every vendor's tool calls are read with: arguments that are an object, ids, and answers that are passed back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from tokenopt_pipeline.domain.fingerprints import ordered_json
from tokenopt_pipeline.domain.tools import ToolCall

_End = TypeVar("_End")


def marked_ends(ends: Sequence[_End]) -> list[_End]:
    """Which ends of a conversation's turns are marked as cacheable, of all of them, the first prompt's first.

    The newest, which the next request reads; the one before it, because reads look back from a mark over twenty blocks
    only, and one turn may have more; and the first, which is read when a turn was too short to be cached. With the mark of
    the prefix they are the four that a request may have (prompt caching guides, 2026-08).
    """
    return [end for place, end in enumerate(ends) if place == 0 or place >= len(ends) - 2]


def tool_call(call_id: object, name: object, arguments: object) -> ToolCall:
    """A call whose arguments are an object, or the text of one; for anything else it says what is wrong.

    Raises ValueError for a call without id or name: nobody could answer it.
    """
    if not isinstance(call_id, str) or not call_id or not isinstance(name, str) or not name:
        raise ValueError("it calls a tool without an id or a name")
    try:
        return ToolCall(call_id=call_id, name=name, arguments=_arguments(arguments))
    except (ValueError, RecursionError) as problem:
        return ToolCall(call_id=call_id, name=name, arguments=None, problem=str(problem))


def distinct(calls: Iterable[ToolCall]) -> tuple[ToolCall, ...]:
    """The calls. Raises ValueError when two have one id: their results could not be told apart."""
    found = tuple(calls)
    if len({call.call_id for call in found}) < len(found):
        raise ValueError("it calls two tools under one id")
    return found


def carried(answer: object) -> str:
    """A part of an answer as it is passed back. Raises ValueError for what no request can say."""
    said = ordered_json(answer)
    said.encode()
    return said


def carried_back(carry: str) -> Any:
    """The part of the answer again, every string of it as it came."""
    return json.loads(carry)


def _arguments(found: object) -> Mapping[str, object]:
    # Models that need no argument write nothing, or null.
    arguments: object = {} if found is None else found
    if isinstance(arguments, str):
        said = arguments.strip()
        arguments = json.loads(said, parse_constant=_refused, object_pairs_hook=_without_repeats) if said else {}
    if not isinstance(arguments, dict):
        raise ValueError(f"it is {type(arguments).__name__}, not an object")
    carried(arguments)
    return arguments


def _refused(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member stands twice in one object")
    return members
