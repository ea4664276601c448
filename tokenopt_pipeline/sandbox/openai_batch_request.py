"""What a batch is to be, read from its create, and from its input file as OpenAI reads it while `validating`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tokenopt_pipeline.sandbox import openai_errors as errors
from tokenopt_pipeline.sandbox.batches import BatchItem
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_object, compact
from tokenopt_pipeline.sandbox.openai_models import model_named

RESPONSES, CHAT = "/v1/responses", "/v1/chat/completions"
_ENDPOINTS = (RESPONSES, CHAT)
_FIELDS = ("input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after")
# The documented limits; https://developers.openai.com/api/docs/guides/batch, read 2026-11-22.
MAX_REQUESTS = 50_000
SHORTEST_KEPT_S, LONGEST_KEPT_S = 3600, 30 * 24 * 3600
_MOST_TAGS, _LONGEST_TAG, _LONGEST_VALUE = 16, 64, 512
_MOST_ERRORS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """What a file asks for."""

    items: list[BatchItem]
    model: str | None
    errors: list[Json]
    """Why it is no good; the codes are the documented ones, most words are ours."""


def read_create(body: bytes) -> JsonObject:
    """What a create asks for, every field there. Raises OpenAIRefused."""
    try:
        fields: Json = json.loads(body)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise errors.invalid("We could not parse the JSON body of your request.")
    for name in fields:
        if name not in _FIELDS:
            raise errors.unknown_field(name)
    for name in ("input_file_id", "endpoint", "completion_window"):
        if fields.get(name) is None:
            raise errors.missing(name)
        if not isinstance(fields[name], str):
            raise errors.wrong_type(name, "a string")
    if fields["endpoint"] not in _ENDPOINTS:
        raise errors.not_among("endpoint", str(fields["endpoint"]), _ENDPOINTS)
    if fields["completion_window"] != "24h":
        raise errors.not_among("completion_window", str(fields["completion_window"]), ("24h",))
    after = fields.get("output_expires_after")
    if after is not None:
        seconds = as_object(after).get("seconds")
        if as_object(after).get("anchor") != "created_at" or not isinstance(seconds, int):
            raise errors.wrong_type("output_expires_after", "an anchor 'created_at' and seconds")
        if not SHORTEST_KEPT_S <= seconds <= LONGEST_KEPT_S:
            message = f"output_expires_after.seconds must be from {SHORTEST_KEPT_S} to {LONGEST_KEPT_S}."
            raise errors.invalid(message, param="output_expires_after")
    return {
        **{name: fields[name] for name in ("input_file_id", "endpoint", "completion_window")},
        "metadata": _read_metadata(fields.get("metadata")),
        "output_expires_after": after,
    }


def _read_metadata(value: Json) -> Json:
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise errors.wrong_type("metadata", "an object of strings")
    if len(value) > _MOST_TAGS:
        raise errors.invalid(f"metadata has {len(value)} keys; the maximum is {_MOST_TAGS}.", param="metadata")
    for name, text in value.items():
        if len(name) > _LONGEST_TAG or len(str(text)) > _LONGEST_VALUE:
            message = f"metadata keys have at most {_LONGEST_TAG} characters, values at most {_LONGEST_VALUE}."
            raise errors.invalid(message, param=f"metadata.{name[:_LONGEST_TAG]}")
    return value


def read_lines(lines: Sequence[bytes], endpoint: str, limit: int) -> InputFile:
    """The requests in `lines`; one bad line fails the whole batch."""
    if not any(line.strip() for line in lines):
        return InputFile(items=[], model=None, errors=[_error("empty_file", "The input file is empty.", None)])
    if len(lines) > limit:
        message = f"The input file has {len(lines)} requests; the maximum is {limit}."
        return InputFile(items=[], model=None, errors=[_error("too_many_tasks", message, None)])
    reading = _Reading(endpoint)
    for number, line in enumerate(lines, 1):
        reading.line(number, line)
        if len(reading.errors) >= _MOST_ERRORS:
            break
    return InputFile(items=list(reading.items.values()), model=reading.model, errors=reading.errors)


class _Reading:
    """One file being read."""

    def __init__(self, endpoint: str) -> None:
        self.items: dict[str, BatchItem] = {}
        self.model: str | None = None
        self.errors: list[Json] = []
        self._endpoint = endpoint

    def line(self, number: int, line: bytes) -> None:
        """Take one line in, or say what is wrong with it."""
        try:
            value: Json = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            self._refuse("invalid_json_line", "This line is not parseable as valid JSON.", number)
            return
        for name in ("custom_id", "method", "url", "body"):
            if not value.get(name):
                self._refuse("missing_required_parameter", f"Missing required parameter: '{name}'.", number, name)
                return
        custom_id, body = str(value["custom_id"]), as_object(value["body"])
        if value["method"] != "POST":
            self._refuse("invalid_method", "The only supported method is POST.", number, "method")
        elif value["url"] != self._endpoint:
            message = f"The URL provided for this request does not match the batch endpoint {self._endpoint}."
            self._refuse("url_mismatch", message, number, "url")
        elif custom_id in self.items:
            message = (
                "The custom_id for this request is a duplicate of another request's; it must be unique in a batch."
            )
            self._refuse("duplicate_custom_id", message, number, "custom_id")
        elif self._model_fits(number, body.get("model")):
            encoded = compact(body).encode("utf-8", "surrogatepass")
            self.items[custom_id] = BatchItem(custom_id=custom_id, body=encoded)

    def _model_fits(self, number: int, model: Json) -> bool:
        if not isinstance(model, str) or model_named(model) is None:
            message = f"The provided model '{model}' is not supported by the Batch API."
            self._refuse("model_not_found", message, number, "body.model")
            return False
        if self.model not in (None, model):
            message = f"The model '{model}' differs from that of other requests, '{self.model}'; a batch has one model."
            self._refuse("model_mismatch", message, number, "body.model")
            return False
        self.model = model
        return True

    def _refuse(self, code: str, message: str, line: int, param: str | None = None) -> None:
        self.errors.append(_error(code, message, line, param))


def _error(code: str, message: str, line: int | None, param: str | None = None) -> JsonObject:
    return {"code": code, "line": line, "message": message, "param": param}
