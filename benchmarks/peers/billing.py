"""What the stand-in says and bills: the right answer in the shape that is asked for, seeded faults, a prompt cache."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers.batches import Batch
from benchmarks.peers.dialects import Asked, Bill, Request, answered, asked_in
from benchmarks.peers.workload import facts_in

#: What tokens are counted as.
KINDS = ("input", "cached", "written", "written_long", "output")
_CHARS_PER_TOKEN = 4
#: OpenAI's: prefixes from 1,024 tokens on, in steps of 128 (https://platform.openai.com/docs/guides/prompt-caching, 2026-11).
_CACHE_FROM, _CACHE_STEP = 1024 * _CHARS_PER_TOKEN, 128 * _CHARS_PER_TOKEN


@dataclass(slots=True)
class State:
    """What was asked and billed since the last reset."""

    malformed: float = 0.0
    rate_limited: float = 0.0
    #: Of packed answers: one block's is dropped, repeated or out of its order.
    pack_faults: float = 0.0
    #: Of the requests of a batch: not carried out, not billed.
    batch_errors: float = 0.0
    #: Seconds until a batch has ended, and from its being taken to the reply.
    turnaround_s: float = 2.0
    submit_delay_s: float = 0.0
    seed: int = 0
    seen: Counter[bytes] = field(default_factory=Counter)
    prefixes: set[bytes] = field(default_factory=set)
    #: Block id -> how often an answer about it was billed.
    paid: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    #: Prefixes that a batch being made writes.
    later: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)

    def fault(self, body: bytes, *, in_batch: bool = False) -> str | None:
        """The fault of this request: drawn by its bytes and how often they came, so that a retry can end differently."""
        self.seen[body] += 1
        digest = hashlib.sha256(b"%d:%d:" % (self.seed, self.seen[body]) + body).digest()
        point = int.from_bytes(digest[:8], "big") / 2**64
        refused = self.batch_errors if in_batch else self.rate_limited
        if point < refused:
            return "refused"
        if point < refused + self.malformed:
            return ("cut", "misnamed", "prose", "wrong_type")[digest[8] % 4]
        if point < refused + self.malformed + self.pack_faults:
            return ("dropped", "repeated", "swapped")[digest[8] % 3]
        return None

    def cached_chars(self, prompt: str) -> int:
        """Characters of the longest prefix that an answered request had."""
        best = 0
        running = hashlib.sha256()
        for end in range(_CACHE_STEP, len(prompt) + 1, _CACHE_STEP):
            running.update(prompt[end - _CACHE_STEP : end].encode())
            if end >= _CACHE_FROM and running.digest() in self.prefixes:
                best = end
        return best

    def remember(self, prompt: str) -> None:
        """Writes the prompt to the cache."""
        running = hashlib.sha256()
        for end in range(_CACHE_STEP, len(prompt) + 1, _CACHE_STEP):
            running.update(prompt[end - _CACHE_STEP : end].encode())
            if end >= _CACHE_FROM:
                self.prefixes.add(running.digest())


def answer(schema: Mapping[str, Any], facts: list[dict[str, Any]], root: Mapping[str, Any]) -> Any:
    """The facts in the shape of a schema: one object, or a list of them with their ordinals."""
    schema = _resolved(schema, root)
    properties: Mapping[str, Any] = schema.get("properties", {})
    filled: dict[str, Any] = {}
    for name, fragment in properties.items():
        part = _resolved(fragment, root)
        if part.get("type") == "array" and "properties" in _resolved(part.get("items", {}), root):
            item = _resolved(part["items"], root)
            ordinal = next((key for key in item["properties"] if key.strip("_") == "n"), None)
            filled[name] = [
                {**({} if ordinal is None else {ordinal: n}), **answer(item, [each], root)}
                for n, each in enumerate(facts, start=1)
            ]
        elif facts and name in facts[0]:
            filled[name] = facts[0][name]
        elif not facts:
            # A question of a tool's own, such as whether the model can be bound to a schema at all.
            filled[name] = {"integer": 1, "number": 1.0, "boolean": True}.get(str(part.get("type")), "x")
    return filled


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    node: Any = root
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return dict(node)


def spoilt(text: str, fault: str | None) -> str:
    """The answer as a fault leaves it."""
    match fault:
        case "cut":
            return text[: len(text) // 2]
        case "misnamed":
            return text.replace('"party"', '"partty"', 1)
        case "prose":
            return "The clause says who pays whom, but I would rather tell it in my own words."
        case "wrong_type":
            return text.replace('"amount": ', '"amount": "about ', 1).replace(', "subject"', '", "subject"', 1)
        case _:
            return text


def unpacked(right: Any, fault: str | None) -> Any:
    """The answer with a fault of packs; one that holds no pack has none."""
    lists = [v for v in right.values() if isinstance(v, list) and len(v) > 1] if isinstance(right, dict) else []
    for entries in lists:
        if fault == "dropped":
            del entries[1]
        elif fault == "repeated":
            entries.insert(1, entries[0])
        elif fault == "swapped":
            entries[0], entries[1] = entries[1], entries[0]
    return right


def reply(state: State, request: Request, fault: str | None, *, in_batch: bool) -> dict[str, Any]:
    """The answer to a request, billed."""
    asked = asked_in(request)
    facts = list(facts_in(asked.user))
    right = answer(asked.schema, [v for _, v in facts], asked.schema) if asked.schema else facts[0][1] if facts else {}
    text = spoilt(json.dumps(unpacked(right, fault)), fault)
    bill = _bill(state, asked, text, in_batch=in_batch)
    state.paid.update(block_id for block_id, _ in facts)
    return answered(request, asked, text, bill, number=state.counts["calls"])


def _bill(state: State, asked: Asked, text: str, *, in_batch: bool) -> Bill:
    sent, said = -(-len(asked.prompt) // _CHARS_PER_TOKEN), -(-len(text) // _CHARS_PER_TOKEN)
    read = written = 0
    if asked.marked is None:
        # OpenAI keeps prefixes unasked, and its batches have no price for reading them.
        if not in_batch:
            read = state.cached_chars(asked.prompt) // _CHARS_PER_TOKEN
            state.remember(asked.prompt)
    elif asked.marked >= _CACHE_FROM:
        prefix = asked.prompt[: asked.marked]
        if state.cached_chars(prefix) >= asked.marked - _CACHE_STEP:
            read = asked.marked // _CHARS_PER_TOKEN
        else:
            written = asked.marked // _CHARS_PER_TOKEN
        # What a batch writes is read by later ones, and not by its other requests (public reports, facts of 2026-11).
        if in_batch:
            state.later.append(prefix)
        else:
            state.remember(prefix)
    long = written if asked.is_long else 0
    bill = Bill(fresh=sent - read - written, read=read, written=written - long, written_long=long, output=said)
    mode = "batch_" if in_batch else ""
    named = dict(zip(KINDS, (bill.fresh, read, bill.written, long, said), strict=True))
    state.counts.update({"calls": 1, **{f"{mode}{name}": n for name, n in named.items()}})
    return bill
