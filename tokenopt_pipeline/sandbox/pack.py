"""Reading a pack prompt, format 1, as `docs/pack-prompt.md` describes it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_object

SCHEMA_LINE = "## Schema of one result"
_FIRST_LINE = re.compile(r'<blocks format="1" count="(\d+)">')
_LAST_LINE = "</blocks>"
_ORDINAL_KEY = re.compile(r"_*n")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedBlock:
    """One block of a pack."""

    ordinal: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The blocks of one request, in their order."""

    ordinal_key: str
    blocks: tuple[AskedBlock, ...]


def read_pack(prompt: str) -> Pack | None:
    """The pack in a user message's text; None when the text is not a pack prompt."""
    lines = prompt.strip("\n").split("\n")
    first = _FIRST_LINE.fullmatch(lines[0])
    if first is None or lines[-1] != _LAST_LINE or len(lines) != int(first[1]) + 2:
        return None
    blocks = []
    keys = set()
    for line in lines[1:-1]:
        try:
            entry: Json = json.loads(line)
        except ValueError:
            return None
        fields = as_object(entry)
        key = next((name for name in fields if _ORDINAL_KEY.fullmatch(name)), None)
        ordinal, text = fields.get(key or ""), fields.get("text")
        if key is None or not isinstance(ordinal, int) or not isinstance(text, str):
            return None
        keys.add(key)
        blocks.append(AskedBlock(ordinal=ordinal, text=text))
    return Pack(ordinal_key=keys.pop(), blocks=tuple(blocks)) if len(keys) == 1 else None


def asked_in(texts: Sequence[str]) -> str:
    """What the user asks in a conversation's user texts: the last pack, which no later word takes back; else the last text."""
    packs = [text for text in texts if read_pack(text) is not None]
    return packs[-1] if packs else texts[-1] if texts else ""


def read_extraction_schema(system: str) -> JsonObject | None:
    """The extraction schema a pack prompt's system part carries; None when it carries none.

    It holds what the output schema may not say (bounds, lengths), and a model would see it too.
    """
    _, found, after = system.rpartition(f"{SCHEMA_LINE}\n")
    if not found:
        return None
    for line in after.split("\n"):
        if line.strip():
            try:
                schema: Json = json.loads(line)
            except ValueError:
                return None
            return schema if isinstance(schema, dict) else None
    return None


def promised_schema(system: str, prompt: str) -> JsonObject:
    """The schema a model keeps to when it was told to answer in JSON but bound to no schema.

    A pack prompt's system part says it; without one, a model invents a shape of its own.
    """
    entry = read_extraction_schema(system)
    if read_pack(prompt) is None or entry is None:
        return {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    return {
        "type": "object",
        "properties": {"results": {"type": "array", "items": entry}},
        "required": ["results"],
        **{key: entry[key] for key in ("$defs", "definitions") if key in entry},
    }


def promises_json(system: str, prompt: str) -> bool:
    """Whether the prompt alone asks for a pack's JSON answer."""
    return read_pack(prompt) is not None and read_extraction_schema(system) is not None
