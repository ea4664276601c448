"""Models that answer what a real model once answered: recorded outputs, found by the text they were asked about.

The file is one JSON object a line (`.gz` or not) with `query_id`, `text`, `functions` and `outputs`, model -> {`raw`}; `raw` is a list
of `{function: arguments as JSON text}`, a list of texts, or a text such as `[f(a=1)]`.
"""

from __future__ import annotations

import ast
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object
from tokenopt_pipeline.sandbox.pack import AskedBlock, Pack, read_pack
from tokenopt_pipeline.sandbox.reply import Question, Reply, ToolUse
from tokenopt_pipeline.sandbox.tokens import CHARS_PER_TOKEN, tokens_of
from tokenopt_pipeline.sandbox.tool_calls import Offer, answering_tool

PREFIX = "replay/"
_SHOWN_CHARS = 80
_SAYABLE = re.compile(r"[^A-Za-z0-9_-]")


class NotRecorded(Exception):
    """Nobody recorded an answer to this; the text says to what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recording:
    functions: tuple[str, ...]
    outputs: JsonObject


def is_replay(model: str) -> bool:
    """Whether a model's name asks for recorded answers."""
    return model.startswith(PREFIX)


class Recordings:
    """Everything recorded in one file, read when it is first asked for."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._by_text: dict[str, list[_Recording]] | None = None

    def reply(self, model: str, question: Question, offer: Offer) -> Reply:
        """What `model` (`replay/…`) was recorded to answer. Raises NotRecorded.

        A pack's blocks are looked up one by one, and what was recorded of each becomes its result: the arguments of its one
        call, or all calls under `calls` when they are none or several. What cannot be read as calls is the answer's text when
        its block stands alone, and a missing result otherwise. Without a pack, calls are calls where tools are offered and
        none was called before, and text otherwise.
        """
        name = model.removeprefix(PREFIX)
        pack = read_pack(question.prompt)
        if pack is not None:
            return _limited(self._pack_reply(name, question, pack, offer), question.max_tokens)
        raw = self._raw(name, question.prompt, offer)
        calls = recorded_calls(raw)
        if calls is None or not offer.tools or offer.rounds:
            return _limited(_text_reply(_text(raw), blocks=0), question.max_tokens)
        declared = {_wire(tool.name): tool.name for tool in offer.tools}
        uses = tuple(
            ToolUse(
                name=declared.get(_wire(called), _wire(called)),
                arguments=arguments,
                text=json.dumps(arguments, ensure_ascii=False),
            )
            for called, arguments in calls
        )
        tokens = sum(tokens_of(use.text) for use in uses)
        return _limited(Reply(text="", as_tool=True, calls=uses, output_tokens=tokens), question.max_tokens)

    def _pack_reply(self, name: str, question: Question, pack: Pack, offer: Offer) -> Reply:
        raws = [(block, self._raw(name, block.text, offer)) for block in pack.blocks]
        count = len(raws)
        read = [(block, calls) for block, raw in raws if (calls := recorded_calls(raw)) is not None]
        if count == 1 and not read:
            return _text_reply(_text(raws[0][1]), blocks=1)
        value: JsonObject = {"results": [_result(pack, block, calls) for block, calls in read]}
        tool = answering_tool(question.prompt, offer) if offer.must_call else None
        reply = _text_reply(json.dumps(value, ensure_ascii=False), blocks=count)
        if tool is None:
            return reply
        return replace(
            reply, as_tool=True, value=value, calls=(ToolUse(name=tool.name, arguments=value, text=reply.text),)
        )

    def _raw(self, model: str, text: str, offer: Offer) -> Json:
        found = self._read().get(_normal(text), [])
        # One question may have been asked twice, with other functions to choose from.
        names = {_wire(tool.name) for tool in offer.tools}
        found = sorted(found, key=lambda recording: {*map(_wire, recording.functions)} != names)
        for recording in found:
            if model in recording.outputs:
                return as_object(recording.outputs[model]).get("raw")
        shown = " ".join(text.split())[:_SHOWN_CHARS]
        if found:
            known = ", ".join(sorted(found[0].outputs))
            raise NotRecorded(f"{PREFIX}{model} has no recording of {shown!r}; recorded are: {known}")
        raise NotRecorded(f"{PREFIX}{model}: nobody recorded an answer to {shown!r}")

    def _read(self) -> dict[str, list[_Recording]]:
        if self._by_text is None:
            if self._path is None:
                raise NotRecorded(f"models named {PREFIX}… need recordings: start the sandbox with --replay FILE")
            self._by_text = {}
            try:
                for text, recording in _recordings(self._path):
                    self._by_text.setdefault(text, []).append(recording)
            except (OSError, ValueError) as problem:
                self._by_text = None
                raise NotRecorded(f"the recordings in {self._path.name} cannot be read: {problem}") from problem
        return self._by_text


def recorded_calls(raw: Json) -> list[tuple[str, JsonObject]] | None:
    """(function, arguments) of every call of a recorded output; None when it is no list of calls."""
    if isinstance(raw, str):
        return _calls_in_source(raw)
    calls: list[tuple[str, JsonObject]] = []
    for entry in as_list(raw):
        if not isinstance(entry, dict):
            return None
        for name, arguments in entry.items():
            try:
                said: Json = json.loads(arguments) if isinstance(arguments, str) else arguments
            except ValueError:
                return None
            if not isinstance(said, dict):
                return None
            calls.append((name, said))
    return calls


def _calls_in_source(text: str) -> list[tuple[str, JsonObject]] | None:
    """Calls written as Python writes them; only literals are read, nothing is run."""
    try:
        body = ast.parse(text.strip(), mode="eval").body
        nodes = body.elts if isinstance(body, ast.List | ast.Tuple) else [body]
        calls: list[tuple[str, JsonObject]] = []
        for node in nodes:
            if not isinstance(node, ast.Call) or node.args or any(keyword.arg is None for keyword in node.keywords):
                return None
            arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
            # What JSON cannot say (sets, complex numbers) is no argument.
            calls.append((ast.unparse(node.func), json.loads(json.dumps(arguments))))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    return calls


def _recordings(path: Path) -> Iterator[tuple[str, _Recording]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            record: Json = json.loads(line)
            said = as_object(record)
            functions = said.get("functions")
            declared = functions if isinstance(functions, list) else [functions]
            yield (
                _normal(str(said["text"])),
                _Recording(
                    functions=tuple(str(as_object(each).get("name")) for each in declared),
                    outputs=as_object(said.get("outputs")),
                ),
            )


def _result(pack: Pack, block: AskedBlock, calls: list[tuple[str, JsonObject]]) -> JsonObject:
    if len(calls) == 1:
        return {pack.ordinal_key: block.ordinal, **calls[0][1]}
    said: list[Json] = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return {pack.ordinal_key: block.ordinal, "calls": said}


def _text_reply(text: str, *, blocks: int) -> Reply:
    return Reply(text=text, as_tool=False, output_tokens=tokens_of(text), blocks=blocks)


def _limited(reply: Reply, max_tokens: int) -> Reply:
    """The reply as far as the limit lets it go."""
    if reply.output_tokens <= max_tokens:
        return reply
    text = reply.text[: max_tokens * CHARS_PER_TOKEN]
    return replace(reply, text=text, value={}, calls=(), output_tokens=max_tokens, truncated=True)


def _text(raw: Json) -> str:
    if isinstance(raw, list) and all(isinstance(entry, str) for entry in raw):
        return "\n".join(str(entry) for entry in raw)
    return raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False)


def _wire(name: str) -> str:
    """A function's name as every wire can say it; recorders wrote some of them so, too."""
    return _SAYABLE.sub("_", name)


def _normal(text: str) -> str:
    return " ".join(text.split())
