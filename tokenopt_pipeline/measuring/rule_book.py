"""A made-up reference: rules about 25,000 tokens long, each with a word of its own, and blocks that break two of them each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

N_RULES = 312
_WORDS = (
    "supplier delivers pumps valves and control panels to site before the end of month while buyer pays invoice within "
    "thirty days after receipt unless notice of defect was given in writing to the office of record at that address"
).split()
_ADVICE = (
    "Readers stumble over it, translators render it in three ways, and it adds nothing that the sentence does not say. "
    "Name the thing that is meant, or leave the word out; in headings, tables and captions the same holds, and so it "
    "does for the words that are built with it. Quotations stay as they were said."
)

#: What is asked of a block: the rule that it breaks.
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "rule": {"type": "string", "maxLength": 120, "description": "the rule that the block breaks"},
        "kind": {"enum": ["broken", "kept", "unclear"]},
        "passage": {"type": "string", "maxLength": 300},
        "proposal": {"type": "string", "maxLength": 300},
    },
    "required": ["rule", "kind", "passage", "proposal"],
    "prompt_config": {"system_instructions": "Name the rule of the reference that each block breaks, and propose."},
}


def rules() -> dict[str, str]:
    """Name -> rule file; together about 25,000 tokens."""
    return {
        f"Rule{n}.yml": json.dumps(
            {
                "extends": "existence",
                "message": f"Don't write '%s'. {_ADVICE}",
                "level": "error",
                "ignorecase": True,
                "tokens": [f"term{n:03}"],
            }
        )
        for n in range(N_RULES)
    }


def texts(n_blocks: int) -> Iterator[str]:
    """Blocks of about 325 tokens, each with two words that a rule is about."""
    for i in range(n_blocks):
        words = [_WORDS[(i * 7 + k * (3 + i % 5)) % len(_WORDS)] for k in range(270)]
        words[40], words[180] = f"term{i % N_RULES:03}", f"term{(i * 3 + 1) % N_RULES:03}"
        yield f"Clause {i}: {' '.join(words)}."


def questions() -> Iterator[tuple[str, str]]:
    """(What is searched for, the rule file that should be found), for one rule in five."""
    for n in range(0, N_RULES, 5):
        for i in range(2):
            yield f"A sentence with term{n:03} in it, probe {i}.", f"Rule{n}.yml"
