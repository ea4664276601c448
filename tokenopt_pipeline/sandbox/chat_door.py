"""The endpoints of an OpenAI-compatible server such as vLLM, llama.cpp or Ollama: chat completions and models."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tokenopt_pipeline.sandbox import chat_errors as errors
from tokenopt_pipeline.sandbox.chat_config import CustomServer
from tokenopt_pipeline.sandbox.chat_errors import ChatRefused
from tokenopt_pipeline.sandbox.chat_request import ChatRequest, read_request
from tokenopt_pipeline.sandbox.connection import ConnectionReset
from tokenopt_pipeline.sandbox.door import Door, json_response
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject
from tokenopt_pipeline.sandbox.pack import promised_schema, promises_json
from tokenopt_pipeline.sandbox.prefix_cache import CacheUse
from tokenopt_pipeline.sandbox.reply import Question, Reply
from tokenopt_pipeline.sandbox.seals import digest_of
from tokenopt_pipeline.sandbox.tokens import CHARS_PER_TOKEN, tokens_of

_METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH"]


class ChatDoor(Door):
    """The handlers of one sandbox; any key is as good as none."""

    @property
    def _server(self) -> CustomServer:
        return self._engine.config.custom

    def routes(self) -> list[Route]:
        """Every path, relative to where the provider is mounted."""
        return [
            Route("/v1/chat/completions", self._answering(self._complete, counted=True), methods=["POST"]),
            Route("/v1/models", self._answering(self._list_models), methods=["GET"]),
            Route("/v1/models/{model_id:path}", self._answering(self._show_model), methods=["GET"]),
            Route("/{path:path}", self._answering(self._unknown), methods=_METHODS),
        ]

    def _new_request_id(self) -> str:
        return self._engine.identifier("chatcmpl-")

    def _sign(self, response: Response, request_id: str) -> None:
        """Such servers name no request and show no limit."""

    def _too_large(self) -> ChatRefused:
        return errors.too_large(self._server)

    def _rate_limited(self, retry_after_s: float, requests_per_minute: int) -> ChatRefused:
        return errors.rate_limited(self._server, retry_after_s)

    def _failure(self, fault: Fault) -> ChatRefused | None:
        return errors.failure(self._server, fault)

    def _not_recorded(self, message: str) -> ChatRefused:
        return errors.invalid(self._server, message, "messages")

    async def _complete(self, http: Request, request_id: str) -> Response:
        self._admit()
        body = await self._body(http)
        request = read_request(body, self._server)
        fault = self._draw_fault(body, lambda: (message.text for message in request.messages))
        if fault is Fault.CONNECTION_RESET:
            return ConnectionReset()
        self._raise_fault(fault)
        counters = self._engine.counters
        created_s = self._engine.clock()
        use = CacheUse(uncached_tokens=request.prompt_tokens)
        reply = self._reply(request, fault)
        await self._begin_response(fault, use)
        counters.count_call(
            model=request.model,
            stop_reason=_finish_reason(reply),
            use=use,
            output_tokens=reply.output_tokens,
            blocks=reply.blocks,
            tool_calls=len(reply.calls),
        )
        await self._write_out(reply.output_tokens)
        return json_response(self._completion(request, reply, request_id, created_s), 200)

    def _reply(self, request: ChatRequest, fault: Fault | None) -> Reply:
        schema = request.schema
        unbound = request.format_kind == "text" and promises_json(request.system, request.prompt)
        if request.format_kind == "json_object" or unbound:
            schema = promised_schema(request.system, request.prompt)
        reply = self._say(
            request.model,
            Question(
                system=request.system,
                prompt=request.prompt,
                schema=schema,
                as_tool=False,
                max_tokens=request.max_tokens,
            ),
            request.offer,
            fault,
        )
        if unbound and self._server.fenced and not reply.refused and not reply.calls and fault is not Fault.PROSE:
            return _fenced(reply, request.max_tokens)
        return reply

    def _completion(self, request: ChatRequest, reply: Reply, request_id: str, created_s: float) -> JsonObject:
        usage: JsonObject = {
            "prompt_tokens": request.prompt_tokens,
            "completion_tokens": reply.output_tokens,
            "total_tokens": request.prompt_tokens + reply.output_tokens,
        }
        if self._server.usage_details:
            usage["prompt_tokens_details"] = {"cached_tokens": 0}
            usage["completion_tokens_details"] = {"reasoning_tokens": 0}
        return {
            "id": request_id,
            "object": "chat.completion",
            "created": int(created_s),
            "model": request.model,
            "choices": [
                {
                    "index": 0,
                    "message": _message(reply, request_id, with_ids=self._server.call_ids),
                    "logprobs": None,
                    "finish_reason": _finish_reason(reply),
                }
            ],
            "usage": usage,
        }

    async def _list_models(self, http: Request, request_id: str) -> Response:
        return json_response({"object": "list", "data": [_shown(name) for name in self._server.models]}, 200)

    async def _show_model(self, http: Request, request_id: str) -> Response:
        name = http.path_params["model_id"]
        if name not in self._server.models:
            raise errors.model_unknown(self._server, name)
        return json_response(_shown(name), 200)

    async def _unknown(self, http: Request, request_id: str) -> Response:
        raise errors.path_unknown(self._server)


def _finish_reason(reply: Reply) -> str:
    if reply.refused:
        return "content_filter"
    if reply.truncated:
        return "length"
    return "tool_calls" if reply.calls else "stop"


def _message(reply: Reply, request_id: str, *, with_ids: bool) -> JsonObject:
    if not reply.calls:
        return {"role": "assistant", "content": reply.text}
    calls: list[Json] = []
    for index, use in enumerate(reply.calls):
        call: JsonObject = {"type": "function", "function": {"name": use.name, "arguments": use.text}}
        calls.append({"id": f"call_{digest_of(request_id, index)[:24]}", **call} if with_ids else call)
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _fenced(reply: Reply, max_tokens: int) -> Reply:
    """The reply in a fence, cut again where the limit is."""
    text = f"```json\n{reply.text}" if reply.truncated else f"```json\n{reply.text}\n```"
    cut = text[: max_tokens * CHARS_PER_TOKEN]
    return replace(reply, text=cut, output_tokens=tokens_of(cut), truncated=reply.truncated or cut != text)


def _shown(name: str) -> JsonObject:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "sandbox"}
