"""OpenAI's Responses API through its own SDK: one call, no retries, every error mapped to ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from tokenopt_pipeline.adapters.answer_reading import mapping_in, object_in, tokens_in, without_fence
from tokenopt_pipeline.adapters.http_connections import LOOPBACK_MOUNTS, SANDBOX_HEADER, check_base_url, check_key, tls
from tokenopt_pipeline.adapters.http_refusals import error_in, one_line
from tokenopt_pipeline.adapters.openai_dialect import StrictSchema, to_dialect, without_added_nulls
from tokenopt_pipeline.adapters.openai_errors import headroom, mapped_errors, refusal, status_behind
from tokenopt_pipeline.adapters.openai_tools import calls_in_items, declarations, items
from tokenopt_pipeline.adapters.schema_reading import NotExpressible
from tokenopt_pipeline.adapters.tool_reading import carried
from tokenopt_pipeline.domain.errors import ProviderUnavailable
from tokenopt_pipeline.domain.fingerprints import canonical_schema, ordered_json
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse, StopReason
from tokenopt_pipeline.domain.usage import TokenUsage

if TYPE_CHECKING:
    import httpx2
    import openai

_VENDOR = "openai"
_VENDOR_URL = "https://api.openai.com/v1"
_FORMAT_NAME = "results"
# The shortest lifetime on offer that is not shorter than the one that was planned with.
_SHORTEST = "30m"
_LIFETIMES = {"5m": _SHORTEST, "1h": "12h"}
# Explicit breakpoints exist from gpt-5.6 on (prompt caching guide, autumn 2026); earlier models refuse the fields.
_NUMBERED = re.compile(r"gpt-(\d+)(?:\.(\d+))?(?![\d.])")
_FIRST_WITH_BREAKPOINTS = (5, 6)


class OpenAIProvider:
    """`ports.Provider` for models of OpenAI and for whatever speaks the Responses API at `base_url`."""

    def __init__(
        self, *, api_key: str | None = None, base_url: str | None = None, http_client: httpx2.Client | None = None
    ) -> None:
        """None: the SDK looks into the environment itself (OPENAI_API_KEY, OPENAI_BASE_URL, …)."""
        self._api_key = api_key
        self._base_url = base_url
        self._http_client = http_client
        self._client: openai.OpenAI | None = None
        self._lock = Lock()

    def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """One call, without any retry. Safe to call from several threads."""
        with mapped_errors(_VENDOR, self.secrets):
            strict = strict_schema(request)
            raw = self.connected().responses.with_raw_response.create(
                **request_body(request, strict), timeout=timeout_s
            )
            return _read(raw.content, raw.headers, request=request, strict=strict)

    def reach(self, *, timeout_s: float) -> int:
        """How many models it lists; costs nothing."""
        with mapped_errors(_VENDOR, self.secrets):
            return len(self.connected().models.list(timeout=timeout_s).data)

    def connected(self) -> openai.OpenAI:
        """The client, made when it is first needed."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> openai.OpenAI:
        import openai

        http_client = self._http_client or openai.DefaultHttpxClient(mounts=LOOPBACK_MOUNTS, verify=tls())
        # No retries: the pipeline has its own, which count, wait and tell.
        client = openai.OpenAI(api_key=self._api_key, base_url=self._base_url, max_retries=0, http_client=http_client)
        if not str(client.base_url).strip("/"):
            # An empty variable counts as unset.
            client.base_url = _VENDOR_URL
        check_base_url(_VENDOR, str(client.base_url))
        check_key(_VENDOR, client.api_key)
        return client

    def secrets(self) -> list[str]:
        """What no message may repeat."""
        client = self._client
        return [s for s in (self._api_key, client and client.api_key, client and client.admin_api_key) if s]


def strict_schema(request: ModelRequest) -> StrictSchema | None:
    """The request's schema in the strict dialect; None when it cannot be said and the prompt's words have to do."""
    # The same schema gives the same bytes, wherever the order of its keywords comes from: caches depend on it.
    return _strict(ordered_json(canonical_schema(request.output_schema)))


@lru_cache(maxsize=16)
def _strict(schema: str) -> StrictSchema | None:
    try:
        return to_dialect(json.loads(schema))
    except NotExpressible:
        return None


def request_body(request: ModelRequest, strict: StrictSchema | None) -> dict[str, Any]:
    """What is sent, alone or in a batch."""
    # `instructions` cannot carry a breakpoint, so the shared part is a developer message.
    shared: dict[str, Any] = {"type": "input_text", "text": request.system}
    body: dict[str, Any] = {
        "model": request.model.ref.model,
        "max_output_tokens": request.max_tokens,
        # Answers are not kept at the provider.
        "store": False,
    }
    mark: dict[str, str] | None = None
    if _takes_breakpoints(request.model.ref.model):
        # Without a mark this mode writes nothing, so nothing is charged; the default one writes on every request.
        body["prompt_cache_options"] = {"mode": "explicit"}
        if request.cache_ttl is not None:
            shared["prompt_cache_breakpoint"] = {"mode": "explicit"}
            lifetime = _LIFETIMES.get(request.cache_ttl, request.cache_ttl)
            body["prompt_cache_options"]["ttl"] = lifetime
            # A conversation is over in minutes, however long its prefix is to live, unless its turns are in no hurry.
            if request.marks_turns:
                mark = {"mode": "explicit"} if lifetime == _SHORTEST else {"mode": "explicit", "ttl": _SHORTEST}
    # A message of its own: the shared one ends where it ends in every other request.
    told = [[shared], *([[{"type": "input_text", "text": request.found}]] if request.found else [])]
    body["input"] = [*({"role": "developer", "content": parts} for parts in told), *items(request, mark=mark)]
    if request.model.thinking is not None:
        body["reasoning"] = json.loads(request.model.thinking)
    if request.tools:
        body["tools"] = declarations(request.tools)
        body["tool_choice"] = "none" if request.answer_now else "auto"
        if request.model.thinking is not None:
            # What is not kept at the provider is passed back, sealed. Models that do not reason refuse to be asked for it.
            body["include"] = ["reasoning.encrypted_content"]
    if strict is not None:
        body["text"] = {
            "format": {"type": "json_schema", "name": _FORMAT_NAME, "schema": strict.schema, "strict": True}
        }
    return body


def _takes_breakpoints(model: str) -> bool:
    found = _NUMBERED.match(model)
    return found is not None and (int(found[1]), int(found[2] or 0)) >= _FIRST_WITH_BREAKPOINTS


def _read(
    content: bytes, headers: Mapping[str, str], *, request: ModelRequest, strict: StrictSchema | None
) -> ModelResponse:
    try:
        message = object_in(content)
    except ValueError as problem:
        raise _unreadable(problem) from problem
    return read_response(message, headers, request=request, strict=strict, simulated=SANDBOX_HEADER in headers)


def read_response(
    message: Mapping[str, Any],
    headers: Mapping[str, str],
    *,
    request: ModelRequest,
    strict: StrictSchema | None,
    simulated: bool,
) -> ModelResponse:
    """The answer in the JSON of a response, which came alone or in a batch. Raises what it stands for, if it is an error."""
    try:
        error = error_in(message)
        if error is None:
            text, stop, words = _answer(message)
            if strict is not None and strict.adds_null:
                text = without_added_nulls(text, request.output_schema)
            # Of a cut answer, the last call may be half a call.
            calls = calls_in_items(message["output"]) if request.tools and stop is StopReason.COMPLETE else ()
            usage = _usage(message)
            return ModelResponse(
                text="" if stop is StopReason.REFUSED else text,
                stop=StopReason.TOOLS if calls else stop,
                usage=usage,
                headroom=headroom(headers, usage),
                request_id=headers.get("x-request-id"),
                simulated=simulated,
                refusal=words,
                tool_calls=calls,
                carry=carried(message["output"]) if request.tools else None,
            )
    except ValueError as problem:
        raise _unreadable(problem) from problem
    raise refusal(_VENDOR, status_behind(error), body=message, headers=headers)


def _unreadable(problem: Exception) -> ProviderUnavailable:
    # A 200 that holds no answer comes from something between us and the provider.
    return ProviderUnavailable(f"{_VENDOR}: the response cannot be read: {one_line(problem)}", may_be_billed=True)


def _answer(message: Mapping[str, Any]) -> tuple[str, StopReason, str | None]:
    """(text, stop, words of a refusal). Raises ValueError for JSON that is no finished response."""
    status = message.get("status")
    if status in ("queued", "in_progress", "cancelled", "failed"):
        raise ValueError(f"it is {status}")
    output = message.get("output")
    if not isinstance(output, list) or not all(isinstance(each, dict) for each in output):
        raise ValueError("it is no response with output")
    parts = [part for each in output for part in _parts(each)]
    refused = [str(part.get("refusal") or "refused") for part in parts if part.get("type") == "refusal"]
    text = without_fence("".join(str(part.get("text", "")) for part in parts if part.get("type") == "output_text"))
    if refused:
        return text, StopReason.REFUSED, " ".join(refused[0].split())
    if status == "incomplete":
        reason = mapping_in(message, "incomplete_details").get("reason")
        if reason == "content_filter":
            return text, StopReason.REFUSED, reason
        return text, StopReason.TRUNCATED, None
    return text, StopReason.COMPLETE, None


def _parts(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parts of a message; none of anything else, nor of what is said on the way to the answer."""
    content = item.get("content")
    if item.get("type") != "message" or item.get("phase") == "commentary" or not isinstance(content, list):
        return []
    return [part for part in content if isinstance(part, dict)]


def _usage(message: Mapping[str, Any]) -> TokenUsage:
    usage = message.get("usage")
    if not isinstance(usage, dict):
        raise ValueError("it has no usage")
    details = mapping_in(usage, "input_tokens_details")
    read = tokens_in(details, "cached_tokens", default=0)
    written = tokens_in(details, "cache_write_tokens", default=0)
    # Our classes are named after prices, not lifetimes: what lives 30 minutes costs 1.25 times plain input, as five
    # minutes do at Anthropic, and 12 hours cost twice, as an hour does there (OpenAI's price page, as read in 2026-11).
    split = mapping_in(details, "cache_write_tokens_details")
    whole = written if mapping_in(message, "prompt_cache_options").get("ttl") == "12h" else 0
    long_lived = min(tokens_in(split, "ttl_12h_tokens", default=0 if split else whole), written)
    return TokenUsage(
        # The total includes what was read from and written to the cache.
        input_uncached=max(tokens_in(usage, "input_tokens") - read - written, 0),
        cache_write_5m=written - long_lived,
        cache_write_1h=long_lived,
        cache_read=read,
        output=tokens_in(usage, "output_tokens"),
    )
