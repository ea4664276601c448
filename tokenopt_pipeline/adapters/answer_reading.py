"""What every vendor's answer is read with: the JSON of a body, the JSON inside a model's text, the counts of a usage."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_FENCE = re.compile(r"```[\w-]*")
# What models that think aloud write before the answer, when their server does not take it out.
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


def object_in(body: bytes | str) -> dict[str, Any]:
    """The JSON object of a response's body. Raises ValueError for anything else."""
    try:
        value = json.loads(body)
    except RecursionError as problem:
        raise ValueError("it is nested too deeply") from problem
    if not isinstance(value, dict):
        raise ValueError(f"it is no JSON object but {type(value).__name__}")
    return value


def tokens_in(usage: Mapping[str, object], name: str, *, default: int | None = None) -> int:
    """A count of a usage; the default when it is missing or null. Raises ValueError for what is no count."""
    found = usage.get(name)
    count = default if found is None else found
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"its usage has {name} = {found!r}")
    return count


def mapping_in(members: Mapping[str, object], name: str) -> Mapping[str, object]:
    """A member that is an object; empty when it is none."""
    found = members.get(name)
    return found if isinstance(found, dict) else {}


def without_fence(text: str) -> str:
    """The answer without the Markdown fence, closed or cut, that models put around JSON when nothing binds them."""
    stripped = text.strip()
    fence = _FENCE.match(stripped)
    return text if fence is None else stripped[fence.end() :].strip().removesuffix("```").strip()


def without_thoughts(text: str) -> str:
    """The text after the thoughts that a model wrote into it."""
    return _THOUGHTS.sub("", text, count=1)
