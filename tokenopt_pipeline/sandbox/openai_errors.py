"""OpenAI's error bodies.

The words of a bad key, an unknown model, an unknown path and a number below its minimum are those of recorded exchanges; those of
the rate limit and of a schema's missing `required` are quoted in public issues. Other words are ours; statuses, types and codes
are meant to be the real API's.
"""

from __future__ import annotations

import math

from tokenopt_pipeline.sandbox.door import Refusal
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.json_value import JsonObject

_INVALID = "invalid_request_error"


class OpenAIRefused(Refusal):
    """A request the API answers with an error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = _INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers=headers)
        self.kind = kind
        self.param = param
        self.code = code

    def body(self, request_id: str) -> JsonObject:
        """The JSON body of the response."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> OpenAIRefused:
    """400: the request will never succeed as it is."""
    return OpenAIRefused(400, message, param=param, code=code)


def missing(param: str) -> OpenAIRefused:
    """400: a field that must be there."""
    return invalid(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def unknown_field(param: str) -> OpenAIRefused:
    """400: a field nobody knows."""
    return invalid(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")


def wrong_type(param: str, expected: str) -> OpenAIRefused:
    """400: a field of another type."""
    return invalid(f"Invalid type for '{param}': expected {expected}.", param=param, code="invalid_type")


def not_among(param: str, found: str, allowed: tuple[str, ...]) -> OpenAIRefused:
    """400: a value outside an enumeration."""
    options = ", ".join(f"'{value}'" for value in allowed)
    return invalid(f"Invalid value: '{found}'. Supported values are: {options}.", param=param, code="invalid_value")


def too_small(param: str, least: int, found: int) -> OpenAIRefused:
    """400: a whole number below its minimum."""
    return invalid(
        f"Invalid '{param}': integer below minimum value. Expected a value >= {least}, but got {found} instead.",
        param=param,
        code="integer_below_min_value",
    )


def not_stored(item_id: str) -> OpenAIRefused:
    """404: an item known by its name alone, where nothing was stored."""
    return OpenAIRefused(
        404,
        f"Item with id '{item_id}' not found. Items are not persisted when `store` is set to false. Try again with `store` set to"
        " true, or remove this item from your input.",
        param="input",
    )


def key_missing() -> OpenAIRefused:
    """401: no credential."""
    return OpenAIRefused(401, "You didn't provide an API key. Provide it in an Authorization header using Bearer auth.")


def key_invalid(key: str) -> OpenAIRefused:
    """401: a credential nobody issued."""
    shown = f"{key[:7]}****"
    return OpenAIRefused(
        401,
        f"Incorrect API key provided: {shown}. You can find your API key at https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
    )


def key_restricted() -> OpenAIRefused:
    """403: a known credential that may not do this."""
    return OpenAIRefused(
        403,
        "You have insufficient permissions for this operation. Missing scopes: api.responses.write.",
        code="missing_scope",
    )


def model_unknown(name: str) -> OpenAIRefused:
    """400: no such model to answer; recorded exchanges of this endpoint show this status."""
    return invalid(f"The requested model '{name}' does not exist.", param="model", code="model_not_found")


def model_not_shown(name: str) -> OpenAIRefused:
    """404: no such model to show."""
    return OpenAIRefused(404, f"The model '{name}' does not exist", param="model", code="model_not_found")


def file_unknown(identifier: str) -> OpenAIRefused:
    """404: no such file."""
    return OpenAIRefused(404, f"No such File object: {identifier}", param="id")


def batch_unknown(identifier: str) -> OpenAIRefused:
    """404: no such batch."""
    return OpenAIRefused(404, f"No batch found with id '{identifier}'.")


def path_unknown(method: str, path: str) -> OpenAIRefused:
    """404: no such endpoint."""
    return OpenAIRefused(404, f"Invalid URL ({method} {path})")


def too_large() -> OpenAIRefused:
    """413: the body exceeds the limit in bytes."""
    return OpenAIRefused(413, "The request body is too large.")


def prompt_too_long() -> OpenAIRefused:
    """400: the prompt exceeds the context window."""
    return invalid(
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        param="input",
        code="context_length_exceeded",
    )


def rate_limited(model: str, retry_after_s: float, requests_per_minute: int) -> OpenAIRefused:
    """429: wait and ask again."""
    wait = f"{retry_after_s:.3g}s" if retry_after_s >= 1 else f"{math.ceil(retry_after_s * 1000)}ms"
    return OpenAIRefused(
        429,
        f"Rate limit reached for {model} in organization org-sandbox on requests per min (RPM): Limit"
        f" {requests_per_minute}, Used {requests_per_minute}, Requested 1. Please try again in {wait}."
        " Visit https://platform.openai.com/account/rate-limits to learn more.",
        kind="requests",
        code="rate_limit_exceeded",
        headers={"retry-after": str(math.ceil(retry_after_s)), "retry-after-ms": str(math.ceil(retry_after_s * 1000))},
    )


def failure(fault: Fault) -> OpenAIRefused | None:
    """The refusal of a fault other than a rate limit."""
    match fault:
        case Fault.OVERLOADED_529:
            return OpenAIRefused(
                503,
                "Our servers are currently overloaded. Please try again later.",
                kind="service_unavailable_error",
                code="server_is_overloaded",
            )
        case Fault.SERVER_ERROR_500:
            return OpenAIRefused(
                500,
                "The server had an error while processing your request. Sorry about that!",
                kind="server_error",
                code="server_error",
            )
        case Fault.SPEND_LIMIT_429:
            # Carries no retry-after: no waiting helps.
            return OpenAIRefused(
                429,
                "You exceeded your current quota, please check your plan and billing details. For more information on this"
                " error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
                kind="insufficient_quota",
                code="insufficient_quota",
            )
        case Fault.USAGE_LIMIT_400:
            return invalid("Billing hard limit has been reached.", code="billing_hard_limit_reached")
        case _:
            return None
