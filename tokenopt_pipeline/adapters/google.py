"""Google's Gemini API through its own SDK: one call, no retries, every error mapped to ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from tokenopt_pipeline.adapters.answer_reading import mapping_in, object_in, tokens_in, without_fence
from tokenopt_pipeline.adapters.google_dialect import to_dialect
from tokenopt_pipeline.adapters.google_errors import mapped_errors, refusal, status_behind
from tokenopt_pipeline.adapters.google_tools import calls_in, contents, declarations, takes_both
from tokenopt_pipeline.adapters.http_connections import LOOPBACK_MOUNTS, SANDBOX_HEADER, check_base_url, check_key, tls
from tokenopt_pipeline.adapters.http_refusals import error_in, one_line
from tokenopt_pipeline.adapters.schema_reading import NotExpressible
from tokenopt_pipeline.adapters.tool_reading import carried
from tokenopt_pipeline.domain.errors import ProviderUnavailable
from tokenopt_pipeline.domain.fingerprints import canonical_schema, ordered_json
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse, StopReason
from tokenopt_pipeline.domain.usage import TokenUsage

if TYPE_CHECKING:
    import httpx2
    from google import genai
    from google.genai import types

_VENDOR = "google"
# The SDK's default, v1, has neither newest model names nor caches.
_API_VERSION = "v1beta"
_STOPS = {
    "MAX_TOKENS": StopReason.TRUNCATED,
    "CONTINUATION": StopReason.TRUNCATED,
    "SAFETY": StopReason.REFUSED,
    "RECITATION": StopReason.REFUSED,
    "LANGUAGE": StopReason.REFUSED,
    "BLOCKLIST": StopReason.REFUSED,
    "PROHIBITED_CONTENT": StopReason.REFUSED,
    "SPII": StopReason.REFUSED,
    "ESCALATION": StopReason.REFUSED,
    "MODEL_ARMOR": StopReason.REFUSED,
    "PUP_LIMITED_DISABLED": StopReason.REFUSED,
}
# Gateways that speak protocol buffers inside send the enum's numbers.
_REASONS = ("FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER")


class GoogleProvider:
    """`ports.Provider` for Gemini models and for whatever speaks `generateContent` at `base_url`."""

    def __init__(
        self, *, api_key: str | None = None, base_url: str | None = None, http_client: httpx2.Client | None = None
    ) -> None:
        """None: the SDK looks into the environment itself (GEMINI_API_KEY, GOOGLE_GEMINI_BASE_URL, …)."""
        self._api_key = api_key
        self._base_url = base_url
        self._http_client = http_client
        # Kept as long as this object: the SDK closes its transport with the client.
        self._client: genai.Client | None = None
        self._lock = Lock()
        self._writing = Lock()
        self._writer: genai.Client | None = None
        self._written: list[bytes] = []

    def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """One call, without any retry. Safe to call from several threads."""
        with mapped_errors(self.secrets):
            answered = self.connected().models.generate_content(
                model=request.model.ref.model, contents=[_user(request)], config=_config(request, timeout_s)
            )
            raw = answered.sdk_http_response
            headers = (raw and raw.headers) or {}
            lowered = {name.lower(): value for name, value in headers.items()}
            return _read((raw and raw.body) or "", lowered, has_tools=bool(request.tools))

    def body_of(self, request: ModelRequest) -> dict[str, Any]:
        """What a call of the request would send, written by the SDK itself; nothing is sent."""
        with self._writing, mapped_errors(self.secrets):
            if self._writer is None:
                self._writer = _writer(self._written)
            self._writer.models.generate_content(
                model=request.model.ref.model, contents=[_user(request)], config=_config(request, 1.0)
            )
            body: dict[str, Any] = json.loads(self._written.pop())
        return body

    def reach(self, *, timeout_s: float) -> int:
        """How many models it lists, at most a page of them; costs nothing."""
        from google.genai import types

        with mapped_errors(self.secrets):
            listed = self.connected().models.list(config=types.ListModelsConfig(http_options=_options(timeout_s)))
            return len(listed.page)

    def keep(self, request: ModelRequest, *, ttl_s: float, timeout_s: float) -> tuple[str, int]:
        """(name, tokens) of the request's system text, which is kept from now on. One call, without any retry."""
        from google.genai import types

        with mapped_errors(self.secrets):
            made = self.connected().caches.create(
                model=request.model.ref.model,
                config=types.CreateCachedContentConfig(
                    system_instruction=request.system, ttl=_seconds(ttl_s), http_options=_options(timeout_s)
                ),
            )
            if made.name is None or made.usage_metadata is None or made.usage_metadata.total_token_count is None:
                raise ProviderUnavailable(f"{_VENDOR}: the answer tells no name or size of what is kept")
            return made.name, made.usage_metadata.total_token_count

    def prolong(self, name: str, *, ttl_s: float, timeout_s: float) -> None:
        """Keeps it so long from now."""
        from google.genai import types

        config = types.UpdateCachedContentConfig(ttl=_seconds(ttl_s), http_options=_options(timeout_s))
        with mapped_errors(self.secrets):
            self.connected().caches.update(name=name, config=config)

    def forget(self, name: str, *, timeout_s: float) -> None:
        """Keeps it no longer."""
        from google.genai import types

        config = types.DeleteCachedContentConfig(http_options=_options(timeout_s))
        with mapped_errors(self.secrets):
            self.connected().caches.delete(name=name, config=config)

    def connected(self) -> genai.Client:
        """The client, made when it is first needed."""
        with self._lock:
            if self._client is None:
                self._client = client_at(self._base_url, key=self._api_key, http_client=self._http_client)
            return self._client

    def secrets(self) -> list[str]:
        """What no message may repeat."""
        # The SDK has no public way to the key that it found in the environment.
        found = self._client._api_client.api_key if self._client is not None else None
        return [secret for secret in (self._api_key, found) if secret]


def client_at(base_url: str | None, *, key: str | None, http_client: httpx2.Client | None = None) -> genai.Client:
    """The SDK's client for an address; None: Google's own, and what the environment names.

    Raises ProviderUnavailable and AuthenticationFailed for what no request can go to or carry.
    """
    import httpx2
    from google import genai
    from google.genai import types

    if base_url is not None:
        check_base_url(_VENDOR, base_url)
    check_key(_VENDOR, key)
    options = types.HttpOptions(
        api_version=_API_VERSION,
        base_url=base_url,
        httpx_client=http_client or httpx2.Client(mounts=LOOPBACK_MOUNTS, follow_redirects=True, verify=tls()),
        # None is one attempt: the pipeline has its own retries, which count, wait and tell.
        retry_options=None,
        # For the SDK's other transports, which nobody uses: each would read the certificates again.
        client_args={"verify": tls()},
        async_client_args={"verify": tls(), "ssl": tls()},
    )
    # Explicit, because an environment variable would turn the client to another API.
    client = genai.Client(vertexai=False, api_key=key, http_options=options)
    check_base_url(_VENDOR, str(client._api_client._http_options.base_url))
    check_key(_VENDOR, client._api_client.api_key)
    return client


def _writer(written: list[bytes]) -> genai.Client:
    """A client that goes nowhere and keeps what it would have sent: the SDK has no public way to write a body."""
    import httpx2

    def keep(request: httpx2.Request) -> httpx2.Response:
        written.append(request.read())
        return httpx2.Response(200, json={"candidates": []})

    return client_at("http://127.0.0.1", key="unsent", http_client=httpx2.Client(transport=httpx2.MockTransport(keep)))


def _user(request: ModelRequest) -> types.Content:
    from google.genai import types

    return types.Content(role="user", parts=[types.Part(text=request.user)])


def _config(request: ModelRequest, timeout_s: float) -> types.GenerateContentConfig:
    from google.genai import types

    thinking = request.model.thinking
    both = takes_both(request.model.ref.model)
    offers_tools = bool(request.tools) and (both or not request.answer_now)
    none = types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.NONE)
    # An older model answers in words while it has tools, and bound to the schema when it has them no more.
    is_bound = both or not offers_tools
    # Past the SDK's own types, which re-encode signatures and refuse members that they do not know.
    said = {"contents": contents(request)} if request.turns else None
    # Shared prefixes are found without a mark, so `cache_ttl` has no say.
    return types.GenerateContentConfig(
        # What is kept stands for the system text, and beside it the API takes none.
        system_instruction=_system(request) if request.kept_prefix is None else None,
        cached_content=request.kept_prefix,
        max_output_tokens=request.max_tokens,
        response_mime_type="application/json" if is_bound else None,
        response_json_schema=_dialect(ordered_json(canonical_schema(request.output_schema))) if is_bound else None,
        tools=[declarations(request.tools)] if offers_tools else None,
        tool_config=types.ToolConfig(function_calling_config=none) if offers_tools and request.answer_now else None,
        thinking_config=None if thinking is None else types.ThinkingConfig.model_validate_json(thinking),
        # Both would make further calls, billed and unseen.
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        automatic_continuation=False,
        http_options=_options(timeout_s, extra_body=said),
        should_return_http_response=True,
    )


def _system(request: ModelRequest) -> types.Content | str:
    from google.genai import types

    if not request.found:
        return request.system
    return types.Content(role="user", parts=[types.Part(text=text) for text in (request.system, request.found)])


def _options(timeout_s: float, *, extra_body: dict[str, Any] | None = None) -> types.HttpOptions:
    from google.genai import types

    return types.HttpOptions(timeout=max(round(timeout_s * 1000), 1), extra_body=extra_body)


def _seconds(ttl_s: float) -> str:
    return f"{ttl_s:.0f}s"


@lru_cache(maxsize=16)
def _dialect(schema: str) -> dict[str, Any] | None:
    try:
        return to_dialect(json.loads(schema))
    except NotExpressible:
        return None


def _read(content: str, headers: Mapping[str, str], *, has_tools: bool) -> ModelResponse:
    try:
        message = object_in(content)
    except ValueError as problem:
        raise _unreadable(problem) from problem
    return read_response(message, headers, simulated=SANDBOX_HEADER in headers, has_tools=has_tools)


def read_response(
    message: Mapping[str, Any], headers: Mapping[str, str], *, simulated: bool, has_tools: bool
) -> ModelResponse:
    """The answer in the JSON of a response, which came alone or in a batch. Raises what it stands for, if it is an error."""
    try:
        error = error_in(message)
        if error is None:
            text, stop, words = _answer(message)
            said = _content(message) if has_tools else {}
            calls = calls_in(_parts(said)) if stop is StopReason.COMPLETE else ()
            return ModelResponse(
                text="" if stop is StopReason.REFUSED else text,
                stop=StopReason.TOOLS if calls else stop,
                usage=_usage(message),
                request_id=str(message["responseId"]) if message.get("responseId") else None,
                simulated=simulated,
                refusal=words,
                tool_calls=calls,
                carry=carried({"role": "model", **said}) if _parts(said) else None,
            )
    except ValueError as problem:
        raise _unreadable(problem) from problem
    raise refusal(status_behind(error), body=message, headers=headers)


def _unreadable(problem: Exception) -> ProviderUnavailable:
    # A 200 that holds no answer comes from something between us and the provider.
    return ProviderUnavailable(f"{_VENDOR}: the response cannot be read: {one_line(problem)}", may_be_billed=True)


def _answer(message: Mapping[str, Any]) -> tuple[str, StopReason, str | None]:
    """(text, stop, words of a refusal). Raises ValueError for JSON that is no response."""
    candidates = message.get("candidates")
    blocked = mapping_in(message, "promptFeedback")
    if blocked.get("blockReason"):
        # The prompt itself was refused; no candidate was made.
        return "", StopReason.REFUSED, _one_line_of(blocked.get("blockReasonMessage") or blocked["blockReason"])
    if not isinstance(candidates, list) or not candidates or not isinstance(candidates[0], dict):
        raise ValueError("it is no response with candidates")
    first = candidates[0]
    reason = first.get("finishReason")
    if isinstance(reason, int) and 0 <= reason < len(_REASONS):
        reason = _REASONS[reason]
    stop = _STOPS.get(str(reason), StopReason.COMPLETE)
    found = _parts(_content(message))
    text = "".join(str(part["text"]) for part in found if "text" in part and not part.get("thought"))
    refused = stop is StopReason.REFUSED
    return without_fence(text), stop, _one_line_of(first.get("finishMessage") or reason) if refused else None


def _content(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the model said; empty when there is no candidate."""
    candidates = message.get("candidates")
    found = candidates[0] if isinstance(candidates, list) and candidates else None
    return mapping_in(found, "content") if isinstance(found, dict) else {}


def _parts(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    parts = content.get("parts")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _one_line_of(words: object) -> str:
    return " ".join(str(words).split())


def _usage(message: Mapping[str, Any]) -> TokenUsage:
    usage = message.get("usageMetadata")
    if not isinstance(usage, dict):
        raise ValueError("it has no usage")
    read = tokens_in(usage, "cachedContentTokenCount", default=0)
    # The prompt's count includes what was read from a cache, and not what tools of the provider put in.
    prompt = tokens_in(usage, "promptTokenCount", default=0)
    prompt += tokens_in(usage, "toolUsePromptTokenCount", default=0)
    return TokenUsage(
        input_uncached=max(prompt - read, 0),
        cache_read=read,
        # Thoughts are billed as output and are not among the candidates' tokens.
        output=tokens_in(usage, "candidatesTokenCount", default=0) + tokens_in(usage, "thoughtsTokenCount", default=0),
    )
