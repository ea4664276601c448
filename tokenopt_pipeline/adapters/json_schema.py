"""JSON Schema validation of schemas and answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs

from tokenopt_pipeline.domain.errors import SchemaInvalid
from tokenopt_pipeline.domain.schemas import ExtractionSchema

_MOST_CHARS = 300
_DRAFT = re.compile(r"https?://json-schema\.org/(draft-0[467]|draft/2019-09|draft/2020-12)/schema#?")


class JsonSchemaValidators:
    """`ports.AnswerValidators`, draft 2020-12 unless the schema names another, formats checked."""

    def check_schema(self, schema: ExtractionSchema) -> None:
        """Raises SchemaInvalid when the answer schema is not a JSON Schema."""
        try:
            _refuse_unknown_draft(schema.answer_schema.get("$schema"))
            jsonschema_rs.meta.validate(dict(schema.answer_schema))
            self._validator(schema)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as problem:
            raise SchemaInvalid(f"schema {schema.ref} is not a JSON Schema: {_one_line(problem)}") from problem

    def violation_of(self, schema: ExtractionSchema) -> Callable[[Mapping[str, object]], str | None]:
        """A function that says in one line what is wrong with one block's values; None when nothing is."""
        validator = self._validator(schema)

        def violation(values: Mapping[str, object]) -> str | None:
            try:
                if validator.is_valid(values):
                    return None
                return _one_line(next(iter(validator.iter_errors(values))))
            except ValueError as unreadable:
                # The library reads neither half surrogates nor very deep values.
                return f"it cannot be validated: {_one_line(unreadable)}"

        return violation

    def _validator(self, schema: ExtractionSchema) -> jsonschema_rs.Validator:
        # References to other documents would be fetched; a schema must stand alone.
        return jsonschema_rs.validator_for(
            dict(schema.answer_schema), validate_formats=True, retriever=_refuse_other_documents
        )


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
