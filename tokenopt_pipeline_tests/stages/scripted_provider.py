"""A provider in memory that answers packs correctly unless its script says otherwise, and a clock that tests move."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from tokenopt_pipeline.domain.fingerprints import canonical_json, digest_text
from tokenopt_pipeline.domain.flow import Headroom
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.packing import LINE_OVERHEAD_TOKENS
from tokenopt_pipeline.domain.prompts import as_sent
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse, StopReason
from tokenopt_pipeline.domain.usage import TokenUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came in."""

    #: In the order of arrival, from 1.
    number: int
    #: How often a request with exactly these texts has come, this one included.
    nth: int
    request: ModelRequest
    #: In the pack's order.
    texts: tuple[str, ...]
    #: Requests in flight when it came in, itself included.
    company: int = 1

    @property
    def ordinal_key(self) -> str:
        return ordinal_key_of(self.request)


#: What the model answers, what the call ends with, or None: an answer as it should be.
Reply = ModelResponse | Exception | None
Script = Callable[[Asked], Reply]


class WordTokenizer:
    """One token per word."""

    def count(self, text: str) -> int:
        return len(text.split())


class FakeClock:
    """`ports.Clock`: sleeping takes no time and moves the clock."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._elapsed_s)

    def monotonic_s(self) -> float:
        return 1_000.0 + self._elapsed_s

    def sleep(self, seconds: float, *, unless: Callable[[], bool]) -> None:
        self.waits.append(seconds)
        self._elapsed_s += seconds

    def advance(self, seconds: float) -> None:
        """Time goes by without anybody waiting."""
        self._elapsed_s += seconds


@dataclass(slots=True, kw_only=True)
class ScriptedProvider:
    """`ports.Provider`. Bills by `WordTokenizer`, with a cache that a marked prefix is in once a call has ended."""

    script: Script = lambda _: None
    simulated: bool = True
    #: Whether what was written to the cache is found again.
    keeps: bool = True
    #: What every answer says is left of the limits.
    headroom: Headroom | None = None
    asked: list[Asked] = field(default_factory=list)
    #: Requests that were in flight together at most.
    peak: int = 0
    _in_flight: int = 0
    _seen: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _cached: set[tuple[str, str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        texts = tuple(texts_of(request))
        prefix = (str(request.model.ref), request.system)
        with self._lock:
            self._seen[texts] += 1
            self._in_flight += 1
            asked = Asked(
                number=len(self.asked) + 1,
                nth=self._seen[texts],
                request=request,
                texts=texts,
                company=self._in_flight,
            )
            self.asked.append(asked)
            self.peak = max(self.peak, self._in_flight)
            is_cached = prefix in self._cached
        try:
            reply = self.script(asked)
        finally:
            with self._lock:
                self._in_flight -= 1
        if isinstance(reply, Exception):
            raise reply
        with self._lock:
            if request.cache_ttl is not None and self.keeps:
                self._cached.add(prefix)
        response = reply or correct(asked)
        return ModelResponse(
            text=response.text,
            stop=response.stop,
            usage=bill(request, texts, response.text, is_cached=is_cached),
            request_id=f"request-{asked.number}",
            simulated=self.simulated,
            refusal=response.refusal,
            headroom=self.headroom,
        )

    def forget(self) -> None:
        """Empties the cache, as time would."""
        with self._lock:
            self._cached.clear()

    @property
    def texts(self) -> list[str]:
        """Every text that was asked, as often as it was asked."""
        return [text for asked in self.asked for text in asked.texts]


def texts_of(request: ModelRequest) -> list[str]:
    """The blocks' texts, read from the user part as docs/pack-prompt.md has it."""
    first, *lines, last = request.user.split("\n")
    blocks = [json.loads(line) for line in lines]
    assert first == f'<blocks format="1" count="{len(blocks)}">'
    assert last == "</blocks>"
    assert [b[ordinal_key_of(request)] for b in blocks] == list(range(1, len(blocks) + 1))
    return [b["text"] for b in blocks]


def ordinal_key_of(request: ModelRequest) -> str:
    return cast("list[str]", _entry_schema(request)["required"])[0]


def values_for(text: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The values that belong to a block of this text and to no other, valid for fields of the simple kinds."""
    number = int(digest_text(text)[:8], 16)
    values: dict[str, Any] = {}
    for name, fragment in properties.items():
        if "enum" in fragment:
            values[name] = fragment["enum"][number % len(fragment["enum"])]
        elif fragment.get("type") == "integer":
            values[name] = number
        else:
            values[name] = f"{name} of {digest_text(text)[:12]}"
    return values


def entries(asked: Asked) -> list[dict[str, Any]]:
    """One right entry per block, in order."""
    key = asked.ordinal_key
    keys = keys_of(asked)
    said = cast("Mapping[str, Any]", _entry_schema(asked.request)["properties"])
    properties = {name: said[alias] for name, alias in keys.items()}
    return [
        {key: n, **{keys[name]: value for name, value in values_for(text, properties).items()}}
        for n, text in enumerate(asked.texts, start=1)
    ]


def keys_of(asked: Asked) -> dict[str, str]:
    """Field -> how the request wants it called; a model reads that in the schema's descriptions, and so does this one."""
    lines = asked.request.system.splitlines()
    schema = json.loads(lines[lines.index("## Schema of one result") + 1])
    return {str(part.get("description", key)).split(" | ")[0]: key for key, part in schema["properties"].items()}


def saying(text: str, stop: StopReason = StopReason.COMPLETE, refusal: str | None = None) -> ModelResponse:
    """A response of these words; the provider adds the bill."""
    return ModelResponse(text=text, stop=stop, usage=TokenUsage(), request_id=None, simulated=True, refusal=refusal)


def saying_entries(found: Sequence[Mapping[str, Any]]) -> ModelResponse:
    """A complete response with these entries."""
    return saying(json.dumps({"results": list(found)}))


def correct(asked: Asked) -> ModelResponse:
    """Every block's own values."""
    return saying_entries(entries(asked))


def not_json(asked: Asked) -> ModelResponse:
    """A right answer with a comma where none may be."""
    return saying(correct(asked).text.replace("[{", "[,{"))


def prose(asked: Asked) -> ModelResponse:
    """Words instead of an answer."""
    return saying(f"I have looked at all {len(asked.texts)} blocks and they seem fine to me.")


def refusing(asked: Asked) -> ModelResponse:
    """A refusal."""
    return saying("", StopReason.REFUSED, refusal="I would rather not.")


def without_first(asked: Asked) -> ModelResponse:
    """The first block's entry is missing."""
    return saying_entries(entries(asked)[1:])


def first_twice(asked: Asked) -> ModelResponse:
    """A second, different entry for the first block."""
    first, *rest = entries(asked)
    return saying_entries([first, *rest, {**first, keys_of(asked)["party"]: "somebody else"}])


def with_unknown_block(asked: Asked) -> ModelResponse:
    """One entry more, for a block that nobody asked about."""
    found = entries(asked)
    return saying_entries([*found, {**found[0], asked.ordinal_key: len(found) + 7}])


def reordered(asked: Asked) -> ModelResponse:
    """Right entries, the last one first."""
    return saying_entries(entries(asked)[::-1])


def wrong_type(asked: Asked) -> ModelResponse:
    """The last block's choice is a number."""
    found = entries(asked)
    return saying_entries([*found[:-1], {**found[-1], keys_of(asked)["kind"]: 17}])


def cut_off(asked: Asked) -> ModelResponse:
    """The answer ends in the middle of the last entry."""
    whole = correct(asked).text
    return saying(whole[: whole.rindex(f'"{keys_of(asked)["kind"]}": "') + 2], StopReason.TRUNCATED)


def on_call(replies: Mapping[int, Exception | Callable[[Asked], ModelResponse]]) -> Script:
    """A script by the number of the request, from 1."""
    return lambda asked: _reply(replies.get(asked.number), asked)


def on_text(part: str, reply: Exception | Callable[[Asked], ModelResponse], *, times: int = 10**9) -> Script:
    """A script for the requests with a block whose text contains `part`, the first so many times."""
    left = [times]

    def script(asked: Asked) -> Reply:
        if left[0] == 0 or not any(part in text for text in asked.texts):
            return None
        left[0] -= 1
        return _reply(reply, asked)

    return script


def always(reply: Exception | Callable[[Asked], ModelResponse]) -> Script:
    """The same for every request."""
    return lambda asked: _reply(reply, asked)


def bill(request: ModelRequest, texts: Sequence[str], answer: str, *, is_cached: bool) -> TokenUsage:
    """Exactly what is assumed of the input, and the answer's words."""
    tokenizer, model = WordTokenizer(), request.model
    counted = tokenizer.count(request.system) + tokenizer.count(canonical_json(request.output_schema))
    shared = model.billed_tokens(counted) + model.request_overhead_tokens
    blocks = sum(_line_tokens(model, tokenizer.count(as_sent(text))) for text in texts)
    marked = request.cache_ttl is not None
    return TokenUsage(
        input_uncached=blocks + (0 if marked else shared),
        cache_write_5m=shared if marked and not is_cached else 0,
        cache_read=shared if marked and is_cached else 0,
        output=tokenizer.count(answer),
    )


def _line_tokens(model: ModelSpec, counted: int) -> int:
    return model.billed_tokens(counted + LINE_OVERHEAD_TOKENS)


def _reply(reply: Exception | Callable[[Asked], ModelResponse] | None, asked: Asked) -> Reply:
    return reply if reply is None or isinstance(reply, Exception) else reply(asked)


def _entry_schema(request: ModelRequest) -> Mapping[str, object]:
    schema = cast("Mapping[str, Any]", request.output_schema)
    return cast("Mapping[str, object]", schema["properties"]["results"]["items"])
