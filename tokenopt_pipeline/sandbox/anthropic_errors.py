"""Anthropic's error bodies.

The words of 401, 404, 529, the rate limit, the effort levels and the invalid tool schema are the real API's, from recordings and
public issues; other words are ours. Statuses and error types are the real API's throughout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from tokenopt_pipeline.sandbox.door import Refusal
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.json_value import JsonObject


class RequestRefused(Refusal):
    """A request the API answers with an error."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        error_code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers=headers)
        self.kind = kind
        self.error_code = error_code

    def body(self, request_id: str) -> JsonObject:
        """The JSON body of the response."""
        error: JsonObject = {"type": self.kind, "message": self.message}
        if self.error_code is not None:
            error["details"] = {"error_code": self.error_code}
        return {"type": "error", "error": error, "request_id": request_id}


def invalid(message: str) -> RequestRefused:
    """400: the request will never succeed as it is."""
    return RequestRefused(400, "invalid_request_error", message)


def key_missing() -> RequestRefused:
    """401: no credential."""
    return RequestRefused(
        401, "authentication_error", "x-api-key header is required", headers={"x-should-retry": "false"}
    )


def key_invalid() -> RequestRefused:
    """401: a credential nobody issued."""
    return RequestRefused(401, "authentication_error", "invalid x-api-key", headers={"x-should-retry": "false"})


def model_unknown(name: str) -> RequestRefused:
    """404: no such model."""
    return RequestRefused(404, "not_found_error", f"model: {name}")


def batch_unknown(identifier: str) -> RequestRefused:
    """404: no such batch."""
    return RequestRefused(404, "not_found_error", f"No message batch with id {identifier} was found")


def path_unknown() -> RequestRefused:
    """404: no such endpoint."""
    return RequestRefused(404, "not_found_error", "Not Found")


def too_large() -> RequestRefused:
    """413: the body exceeds the limit in bytes."""
    return RequestRefused(413, "request_too_large", "Request exceeds the maximum size")


def prompt_too_long(tokens: int, limit_tokens: int) -> RequestRefused:
    """400: the prompt exceeds the context window."""
    return invalid(f"prompt is too long: {tokens} tokens > {limit_tokens} maximum")


def rate_limited(retry_after_s: float, requests_per_minute: int) -> RequestRefused:
    """429: wait and ask again."""
    return RequestRefused(
        429,
        "rate_limit_error",
        f"This request would exceed the rate limit for your organization of {requests_per_minute:,} requests per minute."
        " For details, refer to: https://docs.anthropic.com/en/api/rate-limits. You can see the response headers for"
        " current usage. Please reduce the prompt length or the maximum tokens requested, or try again later.",
        headers={"retry-after": str(math.ceil(retry_after_s))},
    )


def spend_limit_reached() -> RequestRefused:
    """429 that no waiting helps: it carries no retry-after."""
    return RequestRefused(
        429,
        "rate_limit_error",
        "Your organization has reached its monthly API usage threshold.",
        error_code="enforced_spend_limit_reached",
    )


def usage_limit_reached() -> RequestRefused:
    """400: the organization's own spend limit."""
    return invalid(
        "You have reached your specified API usage limits. You will regain access on 2027-01-01 at 00:00 UTC."
    )


def server_error() -> RequestRefused:
    """500: may succeed later."""
    return RequestRefused(500, "api_error", "Internal server error")


def overloaded() -> RequestRefused:
    """529: may succeed later."""
    return RequestRefused(529, "overloaded_error", "Overloaded")


def failure(fault: Fault) -> RequestRefused | None:
    """The refusal of a fault other than a rate limit."""
    match fault:
        case Fault.OVERLOADED_529:
            return overloaded()
        case Fault.SERVER_ERROR_500:
            return server_error()
        case Fault.SPEND_LIMIT_429:
            return spend_limit_reached()
        case Fault.USAGE_LIMIT_400:
            return usage_limit_reached()
        case _:
            return None
