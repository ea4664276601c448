"""Anthropic's Messages API through its own SDK: one call, no retries, every error mapped to ours."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from tokenopt_pipeline.adapters.answer_reading import tokens_in, without_fence
from tokenopt_pipeline.adapters.anthropic_dialect import NotExpressible, to_dialect
from tokenopt_pipeline.adapters.anthropic_errors import (
    STATUS_OF_TYPE,
    error_in,
    headroom,
    mapped_errors,
    one_line,
    refusal,
)
from tokenopt_pipeline.adapters.anthropic_tools import calls_in, declarations, messages
from tokenopt_pipeline.adapters.http_connections import SANDBOX_HEADER, tls
from tokenopt_pipeline.adapters.tool_reading import carried
from tokenopt_pipeline.domain.errors import AuthenticationFailed, ProviderUnavailable
from tokenopt_pipeline.domain.fingerprints import canonical_schema, ordered_json
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse, StopReason
from tokenopt_pipeline.domain.usage import TokenUsage

if TYPE_CHECKING:
    import anthropic
    import httpx2

TOOL = "record_results"

_VENDOR_URL = "https://api.anthropic.com"
# A proxy named in the environment is for the world outside this machine.
_LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")
_STOPS = {
    "max_tokens": StopReason.TRUNCATED,
    "model_context_window_exceeded": StopReason.TRUNCATED,
    "pause_turn": StopReason.TRUNCATED,
    "refusal": StopReason.REFUSED,
}
_SENDABLE = re.compile(r"[!-~]([ -~]*[!-~])?")


class AnthropicProvider:
    """`ports.Provider` for models of Anthropic and for whatever speaks the Messages API at `base_url`."""

    def __init__(
        self, *, api_key: str | None = None, base_url: str | None = None, http_client: httpx2.Client | None = None
    ) -> None:
        """None: the SDK looks into the environment itself (ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL, …)."""
        self._api_key = api_key
        self._base_url = base_url
        self._http_client = http_client
        self._client: anthropic.Anthropic | None = None
        self._lock = Lock()

    def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """One call, without any retry. Safe to call from several threads."""
        with mapped_errors(self.secrets):
            raw = self.connected().messages.with_raw_response.create(**request_body(request), timeout=timeout_s)
            return _read(raw, has_tools=bool(request.tools))

    def reach(self, *, timeout_s: float) -> int:
        """How many models it lists, at most a page of them; costs nothing."""
        with mapped_errors(self.secrets):
            return len(self.connected().models.list(timeout=timeout_s).data)

    def connected(self) -> anthropic.Anthropic:
        """The client, made when it is first needed."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> anthropic.Anthropic:
        import anthropic

        # At DEBUG it logs the tracebacks of transport errors, and a proxy's words may quote the key.
        logging.getLogger("anthropic._base_client").setLevel(logging.INFO)
        http_client = self._http_client or anthropic.DefaultHttpxClient(mounts=dict.fromkeys(_LOOPBACK), verify=tls())
        # No retries: the pipeline has its own, which count, wait and tell.
        client = anthropic.Anthropic(
            api_key=self._api_key, base_url=self._base_url, max_retries=0, http_client=http_client
        )
        if not str(client.base_url):
            # An empty variable counts as unset.
            client.base_url = _VENDOR_URL
        if client.base_url.scheme not in ("http", "https") or not client.base_url.host:
            shown = re.sub(r"//[^/]*@", "//", str(client.base_url))
            raise ProviderUnavailable(f"anthropic: the base URL {shown!r} is not an http or https address")
        for name, secret in (("API key", client.api_key), ("auth token", client.auth_token)):
            # Found later, the HTTP library's message would quote the whole header.
            if secret is not None and not _SENDABLE.fullmatch(secret):
                raise AuthenticationFailed(
                    f"anthropic: the {name} holds a character that no key has, such as a line break or space at its end"
                )
        return client

    def secrets(self) -> list[str]:
        """What no message may repeat."""
        client = self._client
        return [s for s in (self._api_key, client and client.api_key, client and client.auth_token) if s]


def request_body(request: ModelRequest) -> dict[str, Any]:
    """What is sent, alone or in a batch."""
    system: dict[str, Any] = {"type": "text", "text": request.system}
    if request.cache_ttl is not None:
        system["cache_control"] = {"type": "ephemeral", "ttl": request.cache_ttl}
    body: dict[str, Any] = {
        "model": request.model.ref.model,
        "max_tokens": request.max_tokens,
        "system": [system, {"type": "text", "text": request.found}] if request.found else [system],
        "messages": messages(request),
    }
    if request.model.thinking is not None:
        body["thinking"] = json.loads(request.model.thinking)
    # The same schema gives the same bytes, wherever the order of its keywords comes from: caches depend on it.
    schema = ordered_json(canonical_schema(request.output_schema))
    if request.model.output_method == "tool":
        record = {"name": TOOL, "description": "Record the results.", "input_schema": json.loads(schema)}
        body["tools"] = [*declarations(request.tools, output_format=None, strict=False), record]
        body["tool_choice"] = {"type": "tool", "name": TOOL, "disable_parallel_tool_use": True}
        if request.tools and not request.answer_now:
            # Any tool: one of ours, or the one that ends it.
            body["tool_choice"] = {"type": "any"}
        return body
    translated = _dialect(schema)
    # A schema that structured outputs cannot express is asked for in words; the answer is validated all the same.
    if translated is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": translated}}
    if request.tools:
        # Also for the last answer: a conversation in which tools were called is refused without them.
        body["tools"] = declarations(request.tools, output_format=translated)
        body["tool_choice"] = {"type": "none" if request.answer_now else "auto"}
    return body


@lru_cache(maxsize=16)
def _dialect(schema: str) -> dict[str, Any] | None:
    try:
        return to_dialect(json.loads(schema))
    except NotExpressible:
        return None


def _read(raw: anthropic.APIResponse[anthropic.types.Message], *, has_tools: bool) -> ModelResponse:
    try:
        message: Any = raw.json()
    except (ValueError, RecursionError) as problem:
        raise _unreadable(problem) from problem
    return read_message(message, raw.headers, simulated=SANDBOX_HEADER in raw.headers, has_tools=has_tools)


def read_message(message: Any, headers: Mapping[str, str], *, simulated: bool, has_tools: bool) -> ModelResponse:
    """The answer in the JSON of a message, which came alone or in a batch. Raises what it stands for, if it is an error."""
    try:
        error = error_in(message)
        if error is None:
            response = _response(message, simulated=simulated, request_id=headers.get("request-id"))
            response = replace(response, headroom=headroom(headers, response.usage))
            return _with_calls(response, message["content"]) if has_tools else response
    except (ValueError, RecursionError) as problem:
        raise _unreadable(problem) from problem
    raise refusal(STATUS_OF_TYPE.get(str(error.get("type")), 500), body=message, headers=headers)


def _unreadable(problem: Exception) -> ProviderUnavailable:
    # A 200 that holds no message comes from something between us and the provider.
    return ProviderUnavailable(f"anthropic: the response cannot be read: {one_line(problem)}", may_be_billed=True)


def _response(message: Any, *, simulated: bool, request_id: str | None) -> ModelResponse:
    """Raises ValueError for JSON that is no message."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise ValueError("it is no message with content")
    stop = _STOPS.get(str(message.get("stop_reason")), StopReason.COMPLETE)
    text = without_fence("".join(str(block.get("text", "")) for block in content if block.get("type") == "text"))
    for block in content:
        if block.get("type") == "tool_use" and block.get("name") == TOOL:
            text = json.dumps(block.get("input"), ensure_ascii=False)
            if stop is StopReason.TRUNCATED:
                # The API closes what it had to cut. Opened again, the entry that was cut does not pass for a whole one.
                text = text.rstrip(']}"')
    refused = stop is StopReason.REFUSED
    return ModelResponse(
        text="" if refused else text,
        stop=stop,
        usage=_usage(message.get("usage")),
        request_id=request_id,
        simulated=simulated,
        refusal=_refusal_words(message.get("stop_details")) if refused else None,
    )


def _with_calls(response: ModelResponse, content: list[dict[str, Any]]) -> ModelResponse:
    """The response to a request with tools. Raises ValueError. Of a cut answer the last call may be half a call."""
    response = replace(response, carry=carried(content))
    calls = calls_in(content, but=TOOL) if response.stop is StopReason.COMPLETE else ()
    return replace(response, stop=StopReason.TOOLS, tool_calls=calls) if calls else response


def _usage(usage: object) -> TokenUsage:
    if not isinstance(usage, dict):
        raise ValueError("it has no usage")
    written = tokens_in(usage, "cache_creation_input_tokens", default=0)
    split = usage.get("cache_creation")
    written_1h = tokens_in(split, "ephemeral_1h_input_tokens", default=0) if isinstance(split, dict) else 0
    written_5m = tokens_in(split, "ephemeral_5m_input_tokens", default=0) if isinstance(split, dict) else 0
    return TokenUsage(
        input_uncached=tokens_in(usage, "input_tokens"),
        # Whatever is written and not split was written for the default lifetime.
        cache_write_5m=max(written - written_1h, written_5m),
        cache_write_1h=written_1h,
        cache_read=tokens_in(usage, "cache_read_input_tokens", default=0),
        output=tokens_in(usage, "output_tokens"),
    )


def _refusal_words(details: object) -> str:
    told = details if isinstance(details, dict) else {}
    words = told.get("explanation") or told.get("category") or "refused"
    return " ".join(str(words).split())
