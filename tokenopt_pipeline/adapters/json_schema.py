"""JSON Schema validation of schemas and answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tokenopt_pipeline.domain.errors import InvalidInput, SchemaInvalid
from tokenopt_pipeline.domain.schemas import ExtractionSchema
from tokenopt_pipeline.domain.tools import Tool, Toolbox

if TYPE_CHECKING:
    import jsonschema_rs

_MOST_CHARS = 300
_ACROSS_FIELDS = (
    "required",
    "dependentRequired",
    "dependentSchemas",
    "minProperties",
    "if",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
)
_DRAFT = re.compile(r"https?://json-schema\.org/(draft-0[467]|draft/2019-09|draft/2020-12)/schema#?")


class JsonSchemaValidators:
    """`ports.AnswerValidators`, draft 2020-12 unless the schema names another, formats checked."""

    def check_schema(self, schema: ExtractionSchema) -> None:
        """Raises SchemaInvalid when the answer schema is not a JSON Schema."""
        import jsonschema_rs

        try:
            _refuse_unknown_draft(schema.answer_schema.get("$schema"))
            jsonschema_rs.meta.validate(dict(schema.answer_schema))
            self._validator(schema)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as problem:
            raise SchemaInvalid(f"schema {schema.ref} is not a JSON Schema: {_one_line(problem)}") from problem

    def violation_of(self, schema: ExtractionSchema) -> Callable[[Mapping[str, object]], str | None]:
        """A function that says in one line what is wrong with one block's values; None when nothing is."""
        validator = self._validator(schema)
        return lambda values: _violation(validator, values)

    def takes(self, schema: ExtractionSchema) -> Callable[[str, object], bool]:
        """A function that says whether one field of the schema takes a value, whatever the other fields hold."""
        import jsonschema_rs

        # What binds fields to each other is not about one of them.
        alone = {key: value for key, value in schema.answer_schema.items() if key not in _ACROSS_FIELDS}
        validator = jsonschema_rs.validator_for(alone, validate_formats=True, retriever=_refuse_other_documents)
        return lambda name, value: validator.is_valid({name: value})

    def _validator(self, schema: ExtractionSchema) -> jsonschema_rs.Validator:
        import jsonschema_rs

        # References to other documents would be fetched; a schema must stand alone.
        return jsonschema_rs.validator_for(
            dict(schema.answer_schema), validate_formats=True, retriever=_refuse_other_documents
        )


class ToolSchemaValidators:
    """`ports.ToolSchemas` for the tools of a box. Patterns are the servers' own, and the library bounds how long they run."""

    def __init__(self, box: Toolbox) -> None:
        """Raises InvalidInput naming a tool whose schema is no JSON Schema."""
        self._arguments = {tool.wire_name: _tool_validator(tool, tool.input_schema, "input") for tool in box.tools}
        self._results = {
            tool.wire_name: _tool_validator(tool, tool.output_schema, "output")
            for tool in box.tools
            if tool.output_schema is not None
        }

    def arguments_violation(self, tool: Tool, arguments: Mapping[str, object]) -> str | None:
        """What is wrong with the arguments, in one line; None when nothing is."""
        return _violation(self._arguments[tool.wire_name], dict(arguments))

    def result_violation(self, tool: Tool, structured: object) -> str | None:
        """The same for a structured result of a tool that declares an output schema."""
        return _violation(self._results[tool.wire_name], structured)


def _tool_validator(tool: Tool, schema: Mapping[str, object], which: str) -> jsonschema_rs.Validator:
    import jsonschema_rs

    try:
        _refuse_unknown_draft(schema.get("$schema"))
        jsonschema_rs.meta.validate(dict(schema))
        return jsonschema_rs.validator_for(dict(schema), retriever=_refuse_other_documents)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as problem:
        raise InvalidInput(
            f"tool {tool.name!r} of server {tool.server}: its {which} schema is not a JSON Schema: {_one_line(problem)}"
        ) from problem


def _violation(validator: jsonschema_rs.Validator, value: object) -> str | None:
    try:
        if validator.is_valid(value):
            return None
        return _one_line(next(iter(validator.iter_errors(value))))
    except ValueError as unreadable:
        # The library reads neither half surrogates nor very deep values.
        return f"it cannot be validated: {_one_line(unreadable)}"


def _refuse_unknown_draft(draft: object) -> None:
    # The library would look for it on the network.
    if isinstance(draft, str) and not _DRAFT.fullmatch(draft):
        raise ValueError(f"$schema {draft!r} is not a known draft")


def _refuse_other_documents(uri: str) -> Any:
    raise ValueError(f"it refers to another document, {uri}")


def _one_line(problem: Exception) -> str:
    message = getattr(problem, "message", None) or str(problem)
    path = getattr(problem, "instance_path", None)
    where = "/".join(str(p) for p in path) if path else ""
    text = f"{where}: {message}" if where else message
    return " ".join(text.split())[:_MOST_CHARS]
