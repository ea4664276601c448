"""Anthropic's endpoints: messages, token counting, models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tokenopt_pipeline.sandbox import anthropic_errors as errors
from tokenopt_pipeline.sandbox.anthropic_errors import RequestRefused
from tokenopt_pipeline.sandbox.anthropic_message import (
    Answered,
    block_texts,
    events,
    message_body,
    question_text,
    thinks,
)
from tokenopt_pipeline.sandbox.anthropic_models import BY_NAME, MODELS
from tokenopt_pipeline.sandbox.anthropic_prompt import cache_scope, render
from tokenopt_pipeline.sandbox.anthropic_request import MessagesRequest, read_request
from tokenopt_pipeline.sandbox.anthropic_rules import check_request, check_version
from tokenopt_pipeline.sandbox.anthropic_turns import check_turns, offer_of
from tokenopt_pipeline.sandbox.connection import ConnectionReset
from tokenopt_pipeline.sandbox.door import INVALID_KEY_PREFIX, Door, json_response
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.reply import Question

# Token limits are shown but never enforced; the figures of recorded exchanges.
_SHOWN_TOKEN_LIMITS = {"input-tokens": 400_000, "output-tokens": 80_000, "tokens": 480_000}


class AnthropicDoor(Door):
    """The handlers of one sandbox."""

    def routes(self) -> list[Route]:
        """Every path, relative to where the provider is mounted."""
        return [
            Route("/v1/messages", self._answering(self._create_message, counted=True), methods=["POST"]),
            Route("/v1/messages/count_tokens", self._answering(self._count_tokens), methods=["POST"]),
            Route("/v1/models", self._answering(self._list_models), methods=["GET"]),
            Route("/v1/models/{model_id}", self._answering(self._show_model), methods=["GET"]),
            Route("/{path:path}", self._answering(self._unknown), methods=["GET", "POST", "DELETE", "PUT", "PATCH"]),
        ]

    async def _create_message(self, http: Request, request_id: str) -> Response:
        key = _key(http)
        self._admit()
        body = await self._body(http)
        request = _read(http, body, key, counting=False)
        fault = self._draw_fault(body, lambda: block_texts(request))
        # The prompt's cache state is settled when the request starts, before anything is waited for.
        blocks = render(request, self._engine.config.hidden_prompt)
        total_tokens = blocks[-1].tokens_through
        if total_tokens > request.model.context_tokens:
            raise errors.prompt_too_long(total_tokens, request.model.context_tokens)
        if fault is Fault.CONNECTION_RESET:
            return ConnectionReset()
        self._raise_fault(fault)
        counters = self._engine.counters
        use = self._engine.cache.look_up(
            scope=cache_scope(request, key),
            blocks=blocks,
            minimum_tokens=request.model.cache_minimum_tokens,
            now_s=self._engine.clock(),
        )
        thinking_tokens = self._thinking_tokens(request)
        system, prompt = question_text(request)
        reply = self._say(
            request.asked_model,
            Question(
                system=system,
                prompt=prompt,
                schema=request.format_schema,
                as_tool=False,
                max_tokens=max(0, request.max_tokens - (thinking_tokens or 0)),
            ),
            offer_of(request),
            fault,
        )
        await self._begin_response(fault, use)
        answered = Answered(
            message_id=self._engine.identifier("msg_01"),
            request=request,
            reply=reply,
            key=key,
            thinking_tokens=thinking_tokens,
            use=use,
        )
        counters.count_call(
            model=request.model.id,
            stop_reason=answered.stop_reason,
            use=use,
            output_tokens=answered.output_tokens,
            blocks=reply.blocks,
            tool_calls=len(reply.calls),
        )
        if request.stream:
            per_token_s = self._engine.config.latency_per_output_token_s
            return StreamingResponse(_stream(answered, per_token_s), media_type="text/event-stream; charset=utf-8")
        await self._write_out(answered.output_tokens)
        return json_response(message_body(answered), 200)

    async def _count_tokens(self, http: Request, request_id: str) -> Response:
        key = _key(http)
        self._engine.counters.counting_requests += 1
        request = _read(http, await self._body(http), key, counting=True)
        blocks = render(request, self._engine.config.hidden_prompt)
        return json_response({"input_tokens": blocks[-1].tokens_through}, 200)

    async def _list_models(self, http: Request, request_id: str) -> Response:
        _key(http)
        limit = http.query_params.get("limit", "20")
        if not limit.isdigit() or not 1 <= int(limit) <= 1000:
            raise errors.invalid("limit: Input should be between 1 and 1000")
        ids = [model.id for model in MODELS]
        after = http.query_params.get("after_id")
        start = ids.index(after) + 1 if after in ids else 0
        page = MODELS[start : start + int(limit)]
        return json_response(
            {
                "data": [model.as_json() for model in page],
                "has_more": start + len(page) < len(MODELS),
                "first_id": page[0].id if page else None,
                "last_id": page[-1].id if page else None,
            },
            200,
        )

    async def _show_model(self, http: Request, request_id: str) -> Response:
        _key(http)
        name = http.path_params["model_id"]
        if name not in BY_NAME:
            raise errors.model_unknown(name)
        return json_response(BY_NAME[name].as_json(), 200)

    def _caller(self, http: Request) -> str:
        """The caller's key. Raises RequestRefused."""
        return _key(http)

    async def _unknown(self, http: Request, request_id: str) -> Response:
        raise errors.path_unknown()

    def _new_request_id(self) -> str:
        return self._engine.identifier("req_01")

    def _sign(self, response: Response, request_id: str) -> None:
        response.headers["request-id"] = request_id
        response.headers.update(self._rate_headers())

    def _too_large(self) -> RequestRefused:
        return errors.too_large()

    def _rate_limited(self, retry_after_s: float, requests_per_minute: int) -> RequestRefused:
        return errors.rate_limited(retry_after_s, requests_per_minute)

    def _failure(self, fault: Fault) -> RequestRefused | None:
        return errors.failure(fault)

    def _not_recorded(self, message: str) -> RequestRefused:
        return errors.invalid(message)

    def _thinking_tokens(self, request: MessagesRequest) -> int | None:
        return min(self._engine.config.thinking_tokens, request.max_tokens) if thinks(request) else None

    def _rate_headers(self) -> dict[str, str]:
        now_s = self._engine.clock()
        state = self._engine.limit.look(now_s)
        headers = {
            "anthropic-ratelimit-requests-limit": str(state.limit),
            "anthropic-ratelimit-requests-remaining": str(state.remaining),
            "anthropic-ratelimit-requests-reset": _rfc3339(now_s + state.reset_s),
        }
        for name, limit in _SHOWN_TOKEN_LIMITS.items():
            headers[f"anthropic-ratelimit-{name}-limit"] = str(limit)
            headers[f"anthropic-ratelimit-{name}-remaining"] = str(limit)
            headers[f"anthropic-ratelimit-{name}-reset"] = _rfc3339(now_s)
        return headers


def _read(http: Request, body: bytes, key: str, *, counting: bool) -> MessagesRequest:
    version = check_version(http.headers.get("anthropic-version"))
    request = read_request(body, counting=counting)
    check_request(request, version, counting=counting)
    check_turns(request, key)
    return request


def _key(http: Request) -> str:
    key = http.headers.get("x-api-key") or http.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if not key:
        raise errors.key_missing()
    if key.startswith(INVALID_KEY_PREFIX):
        raise errors.key_invalid()
    return key


async def _stream(answered: Answered, per_token_s: float) -> AsyncIterator[bytes]:
    for event, tokens in events(answered):
        if per_token_s and tokens:
            await asyncio.sleep(per_token_s * tokens)
        yield event


def _rfc3339(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
