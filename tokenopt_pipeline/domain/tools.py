"""Tools a model may call: their declarations, the calls, the results, and names that every provider accepts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.fingerprints import canonical_json, canonical_schema, digest_text, ordered_json

#: What every provider takes for a name: Anthropic and OpenAI `[a-zA-Z0-9_-]{1,64}`, Google with a letter or `_` in front.
WIRE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_MOST_NAME_CHARS = 64
_UNSAYABLE = re.compile(r"[^A-Za-z0-9_-]")
_DIGEST_CHARS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool of one server, as the server declares it."""

    #: The name the policy gave the server.
    server: str
    #: The server's own name of the tool.
    name: str
    description: str
    #: JSON Schema of the arguments, an object's.
    input_schema: Mapping[str, object]
    #: JSON Schema of the structured result; None: the server declares none.
    output_schema: Mapping[str, object] | None = None

    @property
    def wire_name(self) -> str:
        """What models call it."""
        return wire_name(self.server, self.name)

    @property
    def declared_schema(self) -> dict[str, object]:
        """The input schema as it is declared to a model: keywords sorted, without the one that only names a draft."""
        return {key: value for key, value in canonical_schema(self.input_schema).items() if key != "$schema"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A model asks for a tool."""

    #: Unique within its response.
    call_id: str
    #: The wire name, as the model wrote it: there may be no such tool.
    name: str
    #: None: what the model wrote is no JSON object, and `problem` says why.
    arguments: Mapping[str, object] | None
    problem: str = ""

    @property
    def key(self) -> str:
        """Equal for calls that ask the same."""
        return canonical_json([self.name, self.arguments])


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """What a server answered, unread. `structured` is its JSON value; None when it sent none."""

    text: str
    structured: object = None
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a model is told about one of its calls."""

    call_id: str
    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """The tools of a run, sorted by wire name so that prompts that declare them cache. Made by `toolbox`."""

    tools: tuple[Tool, ...] = ()

    def find(self, name: str) -> Tool | None:
        """The tool behind a wire name."""
        return next((tool for tool in self.tools if tool.wire_name == name), None)


def toolbox(tools: Iterable[Tool]) -> Toolbox:
    """The tools in their stable order. Raises InvalidInput when two would have one name."""
    box = Toolbox(tools=tuple(sorted(tools, key=lambda tool: (tool.wire_name, tool.server, tool.name))))
    for one, other in zip(box.tools, box.tools[1:], strict=False):
        if one.wire_name == other.wire_name:
            raise InvalidInput(
                f"tools {one.name!r} of {one.server} and {other.name!r} of {other.server} would both be called "
                f"{one.wire_name}: allow one of them only"
            )
    return box


def wire_name(server: str, name: str) -> str:
    """`server__tool` with every character that some provider refuses replaced by `_`.

    A name that would be too long ends in a digest of the whole instead.
    """
    whole = f"{server}__{name}"
    said = _UNSAYABLE.sub("_", whole)
    if not WIRE_NAME.match(said):
        said = f"_{said}"
    if len(said) <= _MOST_NAME_CHARS:
        return said
    return f"{said[: _MOST_NAME_CHARS - _DIGEST_CHARS - 1]}_{digest_text(whole)[:_DIGEST_CHARS]}"


def canonical_tools(tools: Iterable[Tool]) -> str:
    """Text that is equal for equal declarations; the order of properties counts, as models fill them in that order."""
    return ordered_json([[tool.wire_name, tool.description, tool.declared_schema] for tool in tools])
