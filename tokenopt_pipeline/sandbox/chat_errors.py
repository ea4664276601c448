"""Error bodies of OpenAI-compatible servers: the same refusal in the shape the configured server uses.

The shapes are vLLM's, and OpenAI's as llama.cpp and Ollama imitate it; the words are ours but for the context length's, which
several servers share.
"""

from __future__ import annotations

import math

from starlette.responses import PlainTextResponse, Response

from tokenopt_pipeline.sandbox.chat_config import CustomServer, ErrorShape
from tokenopt_pipeline.sandbox.door import Refusal
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.json_value import JsonObject

_KINDS = {
    400: "BadRequestError",
    404: "NotFoundError",
    413: "RequestEntityTooLargeError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "ServiceUnavailableError",
}
_OPENAI_KINDS = {429: "rate_limit_error", 500: "server_error", 503: "unavailable_error"}


class ChatRefused(Refusal):
    """A request such a server answers with an error."""

    def __init__(
        self,
        server: CustomServer,
        status: int,
        message: str,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers=headers)
        self.shape = server.errors
        self.param = param

    def body(self, request_id: str) -> JsonObject:
        """The JSON body of the response."""
        if self.shape is ErrorShape.VLLM:
            return {
                "object": "error",
                "message": self.message,
                "type": _KINDS[self.status],
                "param": self.param,
                "code": self.status,
            }
        kind = _OPENAI_KINDS.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": None}}

    def response(self, request_id: str) -> Response:
        """The whole response; as text where the server knows no better."""
        if self.shape is ErrorShape.TEXT:
            return PlainTextResponse(self.message, self.status, headers=self.headers)
        return super().response(request_id)


def invalid(server: CustomServer, message: str, param: str | None = None) -> ChatRefused:
    """400: the request will never succeed as it is."""
    return ChatRefused(server, 400, message, param=param)


def model_unknown(server: CustomServer, name: str) -> ChatRefused:
    """404: no such model."""
    return ChatRefused(server, 404, f"The model `{name}` does not exist.", param="model")


def path_unknown(server: CustomServer) -> ChatRefused:
    """404: no such endpoint."""
    return ChatRefused(server, 404, "Not Found")


def too_large(server: CustomServer) -> ChatRefused:
    """413: the body exceeds the limit in bytes."""
    return ChatRefused(server, 413, "Request body too large")


def context_exceeded(server: CustomServer, prompt_tokens: int, asked_tokens: int) -> ChatRefused:
    """400: prompt and answer together exceed the context."""
    return invalid(
        server,
        f"This model's maximum context length is {server.context_tokens} tokens. However, you requested"
        f" {prompt_tokens + asked_tokens} tokens ({prompt_tokens} in the messages, {asked_tokens} in the completion). Please"
        " reduce the length of the messages or completion.",
        "messages",
    )


def rate_limited(server: CustomServer, retry_after_s: float) -> ChatRefused:
    """429: wait and ask again."""
    return ChatRefused(server, 429, "Too many requests", headers={"retry-after": str(math.ceil(retry_after_s))})


def failure(server: CustomServer, fault: Fault) -> ChatRefused | None:
    """The refusal of a fault other than a rate limit."""
    match fault:
        case Fault.OVERLOADED_529:
            return ChatRefused(server, 503, "Service Unavailable")
        case Fault.SERVER_ERROR_500:
            return ChatRefused(server, 500, "Internal Server Error")
        case Fault.SPEND_LIMIT_429:
            # Carries no retry-after: no waiting helps.
            return ChatRefused(server, 429, "You exceeded your current quota.")
        case Fault.USAGE_LIMIT_400:
            return invalid(server, "Usage limit reached.")
        case _:
            return None
