"""Google's error bodies.

The words of an unknown model and an unknown role are those of recorded exchanges; those of the exhausted quota and of a cache that is
too small are quoted in public issues. Other words are ours; codes, statuses and detail types are meant to be the real API's.
"""

from __future__ import annotations

from tokenopt_pipeline.sandbox.door import Refusal
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject

_TYPE = "type.googleapis.com/google.rpc."
_SERVICE = "generativelanguage.googleapis.com"


class GoogleRefused(Refusal):
    """A request the API answers with an error."""

    def __init__(self, code: int, status: str, message: str, details: list[Json] | None = None) -> None:
        super().__init__(code, message)
        self.status_name = status
        self.details = details or []

    def body(self, request_id: str) -> JsonObject:
        """The JSON body of the response."""
        error: JsonObject = {"code": self.status, "message": self.message, "status": self.status_name}
        if self.details:
            error["details"] = self.details
        return {"error": error}


def invalid(message: str, details: list[Json] | None = None) -> GoogleRefused:
    """400: the request will never succeed as it is."""
    return GoogleRefused(400, "INVALID_ARGUMENT", message, details)


def unknown_field(name: str, where: str) -> GoogleRefused:
    """400: a field nobody knows."""
    at = f" at '{where}'" if where else ""
    description = f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.'
    violation: JsonObject = {"description": description}
    if where:
        violation["field"] = where
    return invalid(description, [{"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]}])


def key_missing() -> GoogleRefused:
    """403: no credential."""
    return GoogleRefused(
        403,
        "PERMISSION_DENIED",
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form"
        " of API consumer identity to call this API.",
    )


def key_invalid() -> GoogleRefused:
    """400, not 401: a credential nobody issued."""
    message = "API key not valid. Please pass a valid API key."
    reason: JsonObject = {
        "@type": f"{_TYPE}ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": _SERVICE},
    }
    return invalid(message, [reason, {"@type": f"{_TYPE}LocalizedMessage", "locale": "en-US", "message": message}])


def key_restricted() -> GoogleRefused:
    """403: a known credential that may not do this."""
    return GoogleRefused(403, "PERMISSION_DENIED", f"Requests to this API {_SERVICE} are blocked.")


def model_unknown(name: str, version: str, method: str) -> GoogleRefused:
    """404: no such model."""
    return GoogleRefused(
        404,
        "NOT_FOUND",
        f"models/{name} is not found for API version {version}, or is not supported for {method}. Call"
        " ModelService.ListModels to see the list of available models and their supported methods.",
    )


def file_unknown(name: str) -> GoogleRefused:
    """403, not 404: no such file, or another key's."""
    return GoogleRefused(
        403,
        "PERMISSION_DENIED",
        f"You do not have permission to access the File {name.removeprefix('files/')} or it may not exist.",
    )


def batch_unknown(name: str) -> GoogleRefused:
    """404: no such batch."""
    return GoogleRefused(404, "NOT_FOUND", f"{name} is not found.")


def finished(name: str) -> GoogleRefused:
    """400: too late for what was asked of a batch."""
    return GoogleRefused(400, "FAILED_PRECONDITION", f"{name} has already finished.")


def path_unknown() -> GoogleRefused:
    """404: no such endpoint."""
    return GoogleRefused(404, "NOT_FOUND", "The requested URL was not found on this server.")


def cache_unknown() -> GoogleRefused:
    """403, not 404: no such cache, or another key's."""
    return GoogleRefused(403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)")


def cache_too_small(tokens: int, minimum_tokens: int) -> GoogleRefused:
    """400: too little to be worth keeping."""
    return invalid(f"Cached content is too small. total_token_count={tokens}, min_total_token_count={minimum_tokens}")


def too_large() -> GoogleRefused:
    """400: the body exceeds the limit in bytes."""
    return invalid("Request payload size exceeds the limit.")


def prompt_too_long(tokens: int, limit_tokens: int) -> GoogleRefused:
    """400: the prompt exceeds the context window."""
    return invalid(f"The input token count ({tokens}) exceeds the maximum number of tokens allowed ({limit_tokens}).")


def rate_limited(retry_after_s: float) -> GoogleRefused:
    """429: wait and ask again; the wait stands in the body, there is no header."""
    return _quota_exceeded(retry_after_s)


def failure(fault: Fault) -> GoogleRefused | None:
    """The refusal of a fault other than a rate limit."""
    match fault:
        case Fault.OVERLOADED_529:
            return GoogleRefused(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
        case Fault.SERVER_ERROR_500:
            return GoogleRefused(500, "INTERNAL", "An internal error has occurred. Please retry.")
        case Fault.SPEND_LIMIT_429:
            # Carries no RetryInfo: no waiting helps.
            return _quota_exceeded(None)
        case Fault.USAGE_LIMIT_400:
            return GoogleRefused(
                400,
                "FAILED_PRECONDITION",
                "Billing is not enabled for this project. Please enable billing to continue.",
            )
        case _:
            return None


def _quota_exceeded(retry_after_s: float | None) -> GoogleRefused:
    per = "PerDay" if retry_after_s is None else "PerMinute"
    violation: JsonObject = {
        "quotaMetric": f"{_SERVICE}/generate_requests_per_model",
        "quotaId": f"GenerateRequests{per}PerProjectPerModel",
    }
    details: list[Json] = [{"@type": f"{_TYPE}QuotaFailure", "violations": [violation]}]
    if retry_after_s is not None:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{retry_after_s:g}s"})
    return GoogleRefused(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details. For more information on this error, head"
        " to: https://ai.google.dev/gemini-api/docs/rate-limits.",
        details,
    )
