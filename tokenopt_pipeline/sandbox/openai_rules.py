"""What the Responses API refuses although the request is well formed: schemas, JSON mode, tools, cache controls."""

from __future__ import annotations

from tokenopt_pipeline.sandbox import openai_errors as errors
from tokenopt_pipeline.sandbox.json_value import compact, is_number
from tokenopt_pipeline.sandbox.openai_request import ResponsesRequest
from tokenopt_pipeline.sandbox.openai_schema import strict_refusal
from tokenopt_pipeline.sandbox.openai_turns import check_tools


def check_request(request: ResponsesRequest) -> None:
    """Raises OpenAIRefused for the first rule `request` breaks."""
    _check_sampling(request)
    _check_format(request)
    _check_cache(request)
    check_tools(request)


def _check_sampling(request: ResponsesRequest) -> None:
    for name, most in (("temperature", 2), ("top_p", 1)):
        value = request.body.get(name)
        if value is None:
            continue
        if not is_number(value) or not isinstance(value, int | float):
            raise errors.wrong_type(name, "a decimal")
        if value < 0:
            raise errors.invalid(
                f"Invalid '{name}': decimal below minimum value. Expected a value >= 0, but got {value} instead.",
                param=name,
                code="decimal_below_min_value",
            )
        if value > most:
            raise errors.invalid(
                f"Invalid '{name}': decimal above maximum value. Expected a value <= {most}, but got {value} instead.",
                param=name,
                code="decimal_above_max_value",
            )


def _check_format(request: ResponsesRequest) -> None:
    said = (request.instructions, *(part.text for part in request.input))
    if request.format_kind == "json_object" and not any("json" in text.lower() for text in said):
        raise errors.invalid(
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.",
            param="input",
        )
    if request.format_schema is None or not request.strict:
        return
    refusal = strict_refusal(compact(request.format_schema))
    if refusal is not None:
        raise errors.invalid(
            f"Invalid schema for response_format '{request.format_name}': {refusal}",
            param="text.format.schema",
            code="invalid_json_schema",
        )


def _check_cache(request: ResponsesRequest) -> None:
    if request.model.breakpoints:
        return
    if "prompt_cache_options" in request.body:
        raise errors.invalid(
            "Unsupported parameter: 'prompt_cache_options' is not supported with this model.",
            param="prompt_cache_options",
            code="unsupported_parameter",
        )
    marked = next((part for part in request.input if part.marked), None)
    if marked is not None:
        param = f"{marked.location}.prompt_cache_breakpoint"
        raise errors.invalid(
            f"Unsupported parameter: '{param}' is not supported with this model.",
            param=param,
            code="unsupported_parameter",
        )
