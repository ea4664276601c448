"""Any server that speaks OpenAI's Chat Completions: what it cannot do is found out once and remembered."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

from tokenopt_pipeline.adapters.answer_reading import (
    mapping_in,
    object_in,
    tokens_in,
    without_fence,
    without_thoughts,
)
from tokenopt_pipeline.adapters.http_connections import LOOPBACK_MOUNTS, SANDBOX_HEADER, check_base_url, check_key, tls
from tokenopt_pipeline.adapters.http_refusals import body_of, error_in, one_line
from tokenopt_pipeline.adapters.openai import strict_schema
from tokenopt_pipeline.adapters.openai_dialect import StrictSchema, without_added_nulls
from tokenopt_pipeline.adapters.openai_errors import headroom, mapped_errors, refusal, status_behind
from tokenopt_pipeline.adapters.openai_tools import chat_answer, chat_declarations, chat_messages
from tokenopt_pipeline.adapters.tool_reading import carried
from tokenopt_pipeline.domain.errors import ContextWindowExceeded, ProviderUnavailable
from tokenopt_pipeline.domain.providers import Capability
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse, StopReason
from tokenopt_pipeline.domain.usage import TokenUsage

if TYPE_CHECKING:
    import httpx2
    import openai

_FORMAT_NAME = "results"
# Stands where the SDK wants a key; the header that would carry it is left out.
_NO_KEY = "none"
# 400 says the protocol, 422 say servers that check fields, 500 and 501 say some that fail on what they do not know.
_REFUSED_FIELD = (400, 422, 500, 501)
_UNKNOWN_FIELD = ("unsupported", "not supported", "not permitted", "unknown", "unrecognized", "unrecognised")


_LADDER = tuple(Capability)


class CustomProvider:
    """`ports.Provider` for the OpenAI-compatible server at `base_url`."""

    def __init__(
        self,
        *,
        base_url: str,
        name: str = "custom",
        api_key: str | None = None,
        capability: Capability | str | None = None,
        http_client: httpx2.Client | None = None,
    ) -> None:
        """`name` is what messages call the server.

        No `api_key`: requests carry none, whatever the environment holds for other servers.

        No `capability`: the best is tried, and a lower one remembered when the server refuses it.
        Raises ValueError for a capability that is none.
        """
        self._base_url = base_url
        self._name = name
        self._api_key = api_key
        self._http_client = http_client
        self._declared = None if capability is None else Capability(capability)
        self._rung = 0 if self._declared is None else _LADDER.index(self._declared)
        self._limit_name = "max_tokens"
        self._client: openai.OpenAI | None = None
        self._lock = Lock()

    @property
    def capability(self) -> Capability:
        """What requests ask for now."""
        return _LADDER[self._rung]

    def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """One answered call. Safe to call from several threads.

        Only a request whose very form the server refuses is sent again, in another form, and that is remembered.
        """
        with mapped_errors(self._name, self._secrets):
            strict = strict_schema(request)
            client = self._connected()
            while True:
                rung, limit_name = self._rung, self._limit_name
                # Few servers bind an answer and take tools at once: the last answer is asked for without tools.
                asked = {} if _declares_tools(request) else self._format(rung, strict)
                body = {**_body(request), limit_name: request.max_tokens, **asked}
                try:
                    raw = self._send(client, body, _extra(request), timeout_s)
                except _status_error() as problem:
                    if not self._learned(problem, rung=rung, limit_name=limit_name, asked=bool(asked)):
                        raise
                    continue
                bound = strict if asked.get("response_format", {}).get("type") == Capability.JSON_SCHEMA else None
                return _read(self._name, raw.content, raw.headers, request=request, strict=bound)

    def reach(self, *, timeout_s: float) -> int:
        """How many models it lists; costs nothing. Not every such server does."""
        import openai

        headers = None if self._api_key else {"Authorization": openai.omit}
        with mapped_errors(self._name, self._secrets):
            return len(self._connected().models.list(extra_headers=headers, timeout=timeout_s).data)

    def _send(self, client: openai.OpenAI, body: dict[str, Any], extra: dict[str, Any] | None, timeout_s: float) -> Any:
        import openai

        headers = None if self._api_key else {"Authorization": openai.omit}
        return client.chat.completions.with_raw_response.create(
            **body, extra_body=extra, extra_headers=headers, timeout=timeout_s
        )

    def _format(self, rung: int, strict: StrictSchema | None) -> dict[str, Any]:
        capability = _LADDER[rung]
        if capability is Capability.PROMPT_ONLY:
            return {}
        if capability is Capability.JSON_OBJECT or strict is None:
            return {"response_format": {"type": "json_object"}}
        schema = {"name": _FORMAT_NAME, "schema": strict.schema, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}

    def _learned(self, problem: openai.APIStatusError, *, rung: int, limit_name: str, asked: bool) -> bool:
        """Whether the refusal named a form that the next request will not have. Each is given up once."""
        body = body_of(problem.response)
        error = refusal(self._name, problem.status_code, body=body, headers=problem.response.headers)
        if problem.status_code not in _REFUSED_FIELD or isinstance(error, ContextWindowExceeded):
            return False
        told = problem.response.text
        with self._lock:
            # Another thread may have learned it meanwhile; then the request is only sent again.
            if limit_name == "max_tokens" and _refuses_max_tokens(told):
                self._limit_name = "max_completion_tokens"
                return True
            if "response_format" in told and asked and self._declared is None and rung + 1 < len(_LADDER):
                self._rung = max(self._rung, rung + 1)
                return True
        return False

    def _connected(self) -> openai.OpenAI:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> openai.OpenAI:
        import openai

        check_base_url(self._name, self._base_url)
        check_key(self._name, self._api_key)
        client = openai.OpenAI(
            api_key=self._api_key or _NO_KEY,
            # Empty, so that the SDK does not look into the environment.
            admin_api_key="",
            base_url=self._base_url,
            max_retries=0,
            http_client=self._http_client or openai.DefaultHttpxClient(mounts=LOOPBACK_MOUNTS, verify=tls()),
        )
        # What the environment holds for OpenAI is not for this server; the SDK has no public way to say so.
        client.organization = client.project = None
        client._custom_headers = {}
        return client

    def _secrets(self) -> list[str]:
        return [self._api_key] if self._api_key else []


def _refuses_max_tokens(told: str) -> bool:
    """Whether the field itself is refused, rather than its value."""
    lowered = told.lower()
    return "max_completion_tokens" in told or (
        "max_tokens" in told and any(words in lowered for words in _UNKNOWN_FIELD)
    )


def _status_error() -> type[openai.APIStatusError]:
    import openai

    return openai.APIStatusError


def _declares_tools(request: ModelRequest) -> bool:
    return bool(request.tools) and not request.answer_now


def _body(request: ModelRequest) -> dict[str, Any]:
    # Nothing but what every such server knows: unknown fields are refused by some.
    system = "\n\n".join(part for part in (request.system, request.found) if part)
    return {
        "model": request.model.ref.model,
        "messages": [{"role": "system", "content": system}, *chat_messages(request)],
        **({"tools": chat_declarations(request.tools)} if _declares_tools(request) else {}),
    }


def _extra(request: ModelRequest) -> dict[str, Any] | None:
    """Members that make the model think least; every server has its own."""
    return None if request.model.thinking is None else dict(object_in(request.model.thinking))


def _read(
    name: str, content: bytes, headers: Mapping[str, str], *, request: ModelRequest, strict: StrictSchema | None
) -> ModelResponse:
    try:
        message = object_in(content)
        error = error_in(message)
        if error is None:
            text, stop, words = _answer(message)
            if strict is not None and strict.adds_null:
                text = without_added_nulls(text, request.output_schema)
            passed, calls = chat_answer(message["choices"][0]["message"]) if request.tools else (None, ())
            waits = bool(calls) and stop is StopReason.COMPLETE
            usage = _usage(message)
            return ModelResponse(
                text="" if stop is StopReason.REFUSED else text,
                stop=StopReason.TOOLS if waits else stop,
                usage=usage,
                headroom=headroom(headers, usage),
                request_id=headers.get("x-request-id"),
                simulated=SANDBOX_HEADER in headers,
                refusal=words,
                tool_calls=calls if waits else (),
                carry=None if passed is None else carried(passed),
            )
    except ValueError as problem:
        raise ProviderUnavailable(
            f"{name}: the response cannot be read: {one_line(problem)}", may_be_billed=True
        ) from problem
    raise refusal(name, status_behind(error), body=message, headers=headers)


def _answer(message: Mapping[str, Any]) -> tuple[str, StopReason, str | None]:
    """(text, stop, words of a refusal). Raises ValueError for JSON that is no completion."""
    choices = message.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError("it is no completion with choices")
    said = mapping_in(choices[0], "message")
    content, refused = said.get("content"), said.get("refusal")
    text = without_fence(without_thoughts(content)) if isinstance(content, str) else ""
    reason = choices[0].get("finish_reason")
    if isinstance(refused, str) and refused:
        return text, StopReason.REFUSED, " ".join(refused.split())
    if reason == "content_filter":
        return text, StopReason.REFUSED, reason
    return text, StopReason.TRUNCATED if reason == "length" else StopReason.COMPLETE, None


def _usage(message: Mapping[str, Any]) -> TokenUsage:
    usage = message.get("usage")
    if not isinstance(usage, dict):
        # What it cost would be unknown, and unknown is not nothing.
        raise ValueError("it has no usage")
    details = mapping_in(usage, "prompt_tokens_details")
    read = tokens_in(details, "cached_tokens", default=0)
    written = tokens_in(details, "cache_write_tokens", default=0)
    return TokenUsage(
        # The total includes what was read from and written to a cache. Chat writes live 30 minutes: see openai.py.
        input_uncached=max(tokens_in(usage, "prompt_tokens") - read - written, 0),
        cache_write_5m=written,
        cache_read=read,
        output=tokens_in(usage, "completion_tokens", default=0),
    )
