"""Tools read back from what each provider is sent: translated without loss means that this gives the same tool again.

Without loss: the name leads back to the same tool of the same server, and the description and the schema are equal.
`$schema` is not compared: it says which draft a schema is written in, and no provider reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenopt_pipeline.adapters import anthropic_tools, google_tools, openai_tools
from tokenopt_pipeline.domain.tools import Tool, Toolbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What stands in a request about one tool."""

    name: str
    description: str
    schema: Mapping[str, Any]


def _anthropic(tools: Sequence[Tool]) -> list[Declared]:
    sent = anthropic_tools.declarations(tools, output_format=None)
    return [Declared(name=t["name"], description=t["description"], schema=t["input_schema"]) for t in sent]


def _openai(tools: Sequence[Tool]) -> list[Declared]:
    return [_of_function(t) for t in openai_tools.declarations(tools)]


def _chat(tools: Sequence[Tool]) -> list[Declared]:
    return [_of_function(t["function"]) for t in openai_tools.chat_declarations(tools)]


def _google(tools: Sequence[Tool]) -> list[Declared]:
    # As the SDK writes them.
    sent = google_tools.declarations(tools).model_dump(exclude_none=True, mode="json")["function_declarations"]
    return [Declared(name=t["name"], description=t["description"], schema=t["parameters_json_schema"]) for t in sent]


def _of_function(function: Mapping[str, Any]) -> Declared:
    return Declared(name=function["name"], description=function["description"], schema=function["parameters"])


#: Dialect -> the declarations of tools in it.
DIALECTS: dict[str, Callable[[Sequence[Tool]], list[Declared]]] = {
    "anthropic": _anthropic,
    "openai": _openai,
    "google": _google,
    "custom": _chat,
}


def losses(box: Toolbox, dialect: str) -> list[str]:
    """One line for every tool that does not come back from the dialect as it was."""
    declared = DIALECTS[dialect](box.tools)
    if len(declared) != len(box.tools):
        return [f"{len(declared)} of {len(box.tools)} tools are declared"]
    lines = []
    for tool, said in zip(box.tools, declared, strict=True):
        back = box.find(said.name)
        schema = {key: value for key, value in tool.input_schema.items() if key != "$schema"}
        if back is not tool:
            lines.append(f"{tool.server}/{tool.name}: the name {said.name} leads elsewhere")
        elif (said.description, said.schema) != (tool.description, schema):
            lines.append(f"{tool.server}/{tool.name}: description or schema differ")
    return lines
