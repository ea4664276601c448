"""OpenAI's endpoints: responses, token counting, models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tokenopt_pipeline.sandbox import openai_errors as errors
from tokenopt_pipeline.sandbox.connection import ConnectionReset
from tokenopt_pipeline.sandbox.door import INVALID_KEY_PREFIX, RESTRICTED_KEY_PREFIX, Door, json_response
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.json_value import JsonObject
from tokenopt_pipeline.sandbox.openai_errors import OpenAIRefused
from tokenopt_pipeline.sandbox.openai_models import BY_NAME
from tokenopt_pipeline.sandbox.openai_prompt import cache_use, prompt_tokens
from tokenopt_pipeline.sandbox.openai_request import ResponsesRequest, question_text, read_request
from tokenopt_pipeline.sandbox.openai_response import Answered, events, response_body
from tokenopt_pipeline.sandbox.openai_rules import check_request
from tokenopt_pipeline.sandbox.openai_turns import check_turns, offer_of
from tokenopt_pipeline.sandbox.pack import promised_schema
from tokenopt_pipeline.sandbox.reply import Question, Reply

# Shown but never enforced; the figures of recorded exchanges.
_SHOWN_TOKEN_LIMIT = 30_000_000
_METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH"]


class OpenAIDoor(Door):
    """The handlers of one sandbox."""

    def routes(self) -> list[Route]:
        """Every path, relative to where the provider is mounted."""
        return [
            Route("/v1/responses", self._answering(self._create_response, counted=True), methods=["POST"]),
            Route("/v1/responses/input_tokens", self._answering(self._count_tokens), methods=["POST"]),
            Route("/v1/models", self._answering(self._list_models), methods=["GET"]),
            Route("/v1/models/{model_id}", self._answering(self._show_model), methods=["GET"]),
            Route("/{path:path}", self._answering(self._unknown), methods=_METHODS),
        ]

    def _new_request_id(self) -> str:
        return self._engine.identifier("req_")

    def _sign(self, response: Response, request_id: str) -> None:
        state = self._engine.limit.look(self._engine.clock())
        response.headers.update(
            {
                "x-request-id": request_id,
                "openai-version": "2020-10-01",
                "openai-processing-ms": str(round(self._engine.config.latency_s * 1000)),
                "x-ratelimit-limit-requests": str(state.limit),
                "x-ratelimit-remaining-requests": str(state.remaining),
                "x-ratelimit-reset-requests": _duration(state.reset_s),
                "x-ratelimit-limit-tokens": str(_SHOWN_TOKEN_LIMIT),
                "x-ratelimit-remaining-tokens": str(_SHOWN_TOKEN_LIMIT),
                "x-ratelimit-reset-tokens": "0s",
            }
        )

    def _too_large(self) -> OpenAIRefused:
        return errors.too_large()

    def _rate_limited(self, retry_after_s: float, requests_per_minute: int) -> OpenAIRefused:
        return errors.rate_limited("this model", retry_after_s, requests_per_minute)

    def _failure(self, fault: Fault) -> OpenAIRefused | None:
        return errors.failure(fault)

    def _not_recorded(self, message: str) -> OpenAIRefused:
        return errors.invalid(message, param="input")

    async def _create_response(self, http: Request, request_id: str) -> Response:
        key = _key(http)
        self._admit()
        body = await self._body(http)
        request = read_request(body, counting=False)
        check_request(request)
        check_turns(request, key)
        fault = self._draw_fault(body, lambda: (request.instructions, *(part.text for part in request.input)))
        if prompt_tokens(request) > request.model.input_tokens:
            raise errors.prompt_too_long()
        if fault is Fault.CONNECTION_RESET:
            return ConnectionReset()
        self._raise_fault(fault)
        counters = self._engine.counters
        started_s = self._engine.clock()
        use = cache_use(request, self._engine.cache, key, started_s)
        limit = request.max_output_tokens or request.model.max_output_tokens
        reasons = request.thinks and not request.prewarm
        reasoning_tokens = min(self._engine.config.thinking_tokens, limit) if reasons else None
        reply = self._reply(request, limit - (reasoning_tokens or 0), fault)
        await self._begin_response(fault, use)
        answered = Answered(
            response_id=self._engine.identifier("resp_"),
            created_s=started_s,
            request=request,
            key=key,
            reply=reply,
            filtered=fault is Fault.BLOCK_PROMPT,
            reasoning_tokens=reasoning_tokens,
            use=use,
        )
        counters.count_call(
            model=request.model.id,
            stop_reason=answered.stop_reason,
            use=use,
            output_tokens=answered.output_tokens,
            blocks=answered.reply.blocks,
            tool_calls=len(answered.reply.calls),
        )
        if request.stream:
            per_token_s = self._engine.config.latency_per_output_token_s
            return StreamingResponse(_stream(answered, per_token_s), media_type="text/event-stream; charset=utf-8")
        await self._write_out(answered.output_tokens)
        return json_response(response_body(answered), 200)

    def _reply(self, request: ResponsesRequest, max_tokens: int, fault: Fault | None) -> Reply:
        if request.prewarm:
            return Reply(text="", as_tool=False, output_tokens=0)
        system, prompt = question_text(request)
        json_mode = request.format_kind == "json_object"
        return self._say(
            request.asked_model,
            Question(
                system=system,
                prompt=prompt,
                schema=promised_schema(system, prompt) if json_mode else request.format_schema,
                as_tool=False,
                max_tokens=max_tokens,
            ),
            offer_of(request),
            fault,
        )

    async def _count_tokens(self, http: Request, request_id: str) -> Response:
        key = _key(http)
        self._engine.counters.counting_requests += 1
        request = read_request(await self._body(http), counting=True)
        check_request(request)
        check_turns(request, key)
        return json_response({"input_tokens": prompt_tokens(request), "object": "response.input_tokens"}, 200)

    async def _list_models(self, http: Request, request_id: str) -> Response:
        _key(http)
        listed: JsonObject = {"object": "list", "data": [model.as_json(name) for name, model in BY_NAME.items()]}
        return json_response(listed, 200)

    async def _show_model(self, http: Request, request_id: str) -> Response:
        _key(http)
        name = http.path_params["model_id"]
        if name not in BY_NAME:
            raise errors.model_not_shown(name)
        return json_response(BY_NAME[name].as_json(name), 200)

    def _caller(self, http: Request) -> str:
        """The caller's key. Raises OpenAIRefused."""
        return _key(http)

    async def _unknown(self, http: Request, request_id: str) -> Response:
        raise errors.path_unknown(http.method, f"/{http.path_params['path']}")


def _key(http: Request) -> str:
    key = http.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if not key:
        raise errors.key_missing()
    if key.startswith(INVALID_KEY_PREFIX):
        raise errors.key_invalid(key)
    if key.startswith(RESTRICTED_KEY_PREFIX):
        raise errors.key_restricted()
    return key


async def _stream(answered: Answered, per_token_s: float) -> AsyncIterator[bytes]:
    for event, tokens in events(answered):
        if per_token_s and tokens:
            await asyncio.sleep(per_token_s * tokens)
        yield event


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms" if 0 < seconds < 1 else f"{round(seconds, 3):g}s"
