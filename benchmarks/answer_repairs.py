"""What it would bring to mend answers that break their schema, instead of asking again: recorded raw outputs of 14 models.

python -m benchmarks.answer_repairs [FOLDER with bfcl_replay.jsonl.gz]

Only what loses nothing and guesses nothing is mended: a number or a boolean that a string spells where the schema asks for
one, a number where it asks for a string, a list that a string holds as JSON, a list of one for its only entry and the other
way round, null for a field that need not be there. Told is how many answers that break their schema would keep it then, and how
many of those the recording calls right. A Markdown fence around an answer is taken off by the adapters already.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.recordings import routing_folder
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.measuring.bfcl import Query, read_queries

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_SCALARS = ("string", "integer", "number", "boolean")


def mended(schema: Mapping[str, Any], value: Any) -> Any:
    """The value as its schema asks for it, where nothing is lost or guessed; else the value."""
    kind = schema.get("type")
    if kind == "object" and isinstance(value, dict):
        parts, required = schema.get("properties", {}), schema.get("required", ())
        present = {k: v for k, v in value.items() if v is not None or k in required or k not in parts}
        return {k: mended(parts.get(k, {}), v) for k, v in present.items()}
    if kind == "array":
        held = _held(value)
        listed = held if isinstance(held, list) else [held]
        return [mended(schema.get("items", {}), v) for v in listed]
    if kind in _SCALARS and isinstance(value, list) and len(value) == 1:
        return mended(schema, value[0])
    if kind in ("integer", "number") and isinstance(value, str) and _NUMBER.fullmatch(value):
        return json.loads(value)
    if kind == "boolean" and value in ("true", "false"):
        return value == "true"
    if kind == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return value


def _held(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) and value.startswith("[") else value
    except ValueError:
        return value


def mended_calls(query: Query, values: Mapping[str, Any]) -> dict[str, Any]:
    """An answer's calls with the arguments of each mended by the function that it calls."""
    items: Any = query.document["properties"]
    declared = {f["properties"]["function"]["const"]: f["properties"] for f in items["calls"]["items"]["anyOf"]}
    return {
        "calls": [
            {**call, "arguments": mended(declared.get(call["function"], {}).get("arguments", {}), call["arguments"])}
            for call in values["calls"]
        ]
    }


def report(folder: Path) -> Iterator[str]:
    """How many answers are mended, by whether the recording calls them right."""
    counts: Counter[tuple[str, bool]] = Counter()
    for query in read_queries(folder / "bfcl_replay.jsonl.gz"):
        violation = JsonSchemaValidators().violation_of(query.schema)
        for answer in query.answers.values():
            if answer.values is None:
                state = "in no usable form"
            elif violation(answer.values) is None:
                state = "keeps its schema"
            else:
                state = "mended" if violation(mended_calls(query, answer.values)) is None else "breaks its schema still"
            counts[state, answer.is_correct] += 1
    yield f"{sum(counts.values()):,} recorded answers; recorded"
    for state in ("keeps its schema", "mended", "breaks its schema still", "in no usable form"):
        right, wrong = counts[state, True], counts[state, False]
        yield f"  {state:<26}{right + wrong:>7,}, of them right by the recording {right:,}"


if __name__ == "__main__":
    for line in report(routing_folder(sys.argv[1] if len(sys.argv) > 1 else None)):
        print(line)
