"""The peers' workload: blocks that state their own right answer, so that every output can be checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUBJECTS = ("delivery", "payment", "defects", "notices")
#: What a block states; the stand-in reads its answers from it.
STATED = re.compile(r"Clause (\d{5})\. Under it the party (\w+-\d+ Limited) pays (\d+) euros; subject: (\w+)\.")
FIELDS = ("party", "amount", "subject")
# Characters: with its line around it a block makes about 75 tokens, instructions make 3,000; four characters are one.
_BLOCK_CHARS, _INSTRUCTION_CHARS = 280, 12_000
_FILLER = "The parties agree that notice is given in writing to the office of record before the end of the month in which it is due. "
_SENTENCE = (
    "Read the clause, name the party that pays, state the amount in whole euros, and choose the subject it is about. "
)

SCHEMA: Mapping[str, Any] = {
    "ref": "peer-clauses",
    "type": "object",
    "properties": {
        "party": {"type": "string", "maxLength": 60},
        "amount": {"type": "integer"},
        "subject": {"type": "string", "enum": list(SUBJECTS)},
    },
    "required": list(FIELDS),
    "additionalProperties": False,
    "prompt_config": {"system_instructions": (_SENTENCE * 200)[:_INSTRUCTION_CHARS]},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A tool's outputs, checked."""

    right: int
    wrong: int
    missing: int


def blocks(n: int) -> list[dict[str, str]]:
    """`n` blocks with their ids."""
    return [{"id": f"{i:05}", "text": _text(i)} for i in range(n)]


def _text(i: int) -> str:
    stated = f"Clause {i:05}. Under it the party Vostok-{i * 7 % 9973} Limited pays {i * 37 % 99_991} euros; subject: {SUBJECTS[i % 4]}. "
    return (stated + _FILLER * 3)[:_BLOCK_CHARS]


def facts_in(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(block id, right answer) of every clause in a text, in order."""
    for block_id, party, amount, subject in STATED.findall(text):
        yield block_id, {"party": party, "amount": int(amount), "subject": subject}


def check(asked: Sequence[Mapping[str, str]], outputs: Mapping[str, Any]) -> Outcome:
    """How many blocks have exactly their right answer, another one, or none."""
    right = wrong = missing = 0
    for block in asked:
        ((_, expected),) = facts_in(block["text"])
        found = outputs.get(block["id"])
        if found is None:
            missing += 1
        elif {name: found.get(name) for name in FIELDS} == expected and type(found["amount"]) is int:
            right += 1
        else:
            wrong += 1
    return Outcome(right=right, wrong=wrong, missing=missing)


def write_inputs(folder: Path, n: int) -> None:
    """`blocks.json` and `instructions.txt`, which every tool reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "blocks.json").write_text(json.dumps(blocks(n)))
    (folder / "instructions.txt").write_text(str(SCHEMA["prompt_config"]["system_instructions"]))
