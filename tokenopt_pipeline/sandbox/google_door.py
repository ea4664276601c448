"""Google's endpoints: content, token counting, models, explicit caches."""

from __future__ import annotations

import hashlib

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tokenopt_pipeline.sandbox import google_errors as errors
from tokenopt_pipeline.sandbox.automatic_prefix import automatic_use
from tokenopt_pipeline.sandbox.connection import ConnectionReset
from tokenopt_pipeline.sandbox.door import INVALID_KEY_PREFIX, RESTRICTED_KEY_PREFIX, Door, Handler, json_response
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.google_cache_door import GoogleCacheDoor, KeyedHandler
from tokenopt_pipeline.sandbox.google_caches import CachedContent
from tokenopt_pipeline.sandbox.google_errors import GoogleRefused
from tokenopt_pipeline.sandbox.google_models import MODELS, GeminiModel, model_named
from tokenopt_pipeline.sandbox.google_request import GenerateRequest, parts_tokens, read_count, read_generate
from tokenopt_pipeline.sandbox.google_response import Answered, response_body, text_details
from tokenopt_pipeline.sandbox.google_turns import check_turns
from tokenopt_pipeline.sandbox.json_value import JsonObject
from tokenopt_pipeline.sandbox.pack import promised_schema
from tokenopt_pipeline.sandbox.prefix_cache import CacheUse
from tokenopt_pipeline.sandbox.reply import Question, Reply

_VERSIONS = ("v1", "v1beta")
_METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH"]
# Nothing is promised about how long an implicit cache lives; five minutes is ours.
_IMPLICIT_TTL_S = 300
_PAGE = 50


class GoogleDoor(Door):
    """The handlers of one sandbox."""

    def routes(self) -> list[Route]:
        """Every path, relative to where the provider is mounted."""
        caches = GoogleCacheDoor(self._engine, self._body)
        cached = "/v1beta/cachedContents"
        generate = self._answering(self._generate, counted=True)
        return [
            Route("/{version}/models/{model:path}:generateContent", generate, methods=["POST"]),
            Route("/{version}/models/{model:path}:countTokens", self._answering(self._count_tokens), methods=["POST"]),
            Route("/{version}/models", self._answering(self._list_models), methods=["GET"]),
            Route("/{version}/models/{model:path}", self._answering(self._show_model), methods=["GET"]),
            Route(cached, self._answering(_keyed(caches.create)), methods=["POST"]),
            Route(cached, self._answering(_keyed(caches.show_all)), methods=["GET"]),
            Route(f"{cached}/{{cache_id}}", self._answering(_keyed(caches.show)), methods=["GET"]),
            Route(f"{cached}/{{cache_id}}", self._answering(_keyed(caches.extend)), methods=["PATCH"]),
            Route(f"{cached}/{{cache_id}}", self._answering(_keyed(caches.remove)), methods=["DELETE"]),
            Route("/{path:path}", self._answering(self._unknown), methods=_METHODS),
        ]

    def _new_request_id(self) -> str:
        return self._engine.identifier("")

    def _sign(self, response: Response, request_id: str) -> None:
        """Google's responses carry neither a request's name nor limits."""

    def _too_large(self) -> GoogleRefused:
        return errors.too_large()

    def _rate_limited(self, retry_after_s: float, requests_per_minute: int) -> GoogleRefused:
        return errors.rate_limited(retry_after_s)

    def _failure(self, fault: Fault) -> GoogleRefused | None:
        return errors.failure(fault)

    def _not_recorded(self, message: str) -> GoogleRefused:
        return errors.invalid(message)

    async def _generate(self, http: Request, request_id: str) -> Response:
        key = key_of(http)
        self._admit()
        body = await self._body(http)
        request = read_generate(body, _model(http, "generateContent"))
        check_turns(request.fields, request.model, key)
        cached = self._cached_content(request, key, str(http.path_params["version"]))
        fault = self._draw_fault(body, lambda: (part.text for part in request.parts))
        total_tokens = parts_tokens(request.parts if cached is None else (*cached.parts, *request.parts))
        if total_tokens > request.model.input_tokens:
            raise errors.prompt_too_long(total_tokens, request.model.input_tokens)
        if fault is Fault.CONNECTION_RESET:
            return ConnectionReset()
        self._raise_fault(fault)
        counters = self._engine.counters
        if cached is None:
            use = self._implicit_use(request, key, body)
        else:
            use = CacheUse(read_tokens=cached.tokens, uncached_tokens=total_tokens - cached.tokens)
        thoughts_tokens = min(self._engine.config.thinking_tokens, request.max_output_tokens) if request.thinks else 0
        reply = self._reply(request, cached, request.max_output_tokens - thoughts_tokens, fault)
        await self._begin_response(fault, use)
        answered = Answered(
            response_id=self._engine.identifier(""),
            model=request.model,
            key=key,
            thinks=request.thinks,
            reply=reply,
            prompt_blocked=fault is Fault.BLOCK_PROMPT,
            thoughts_tokens=thoughts_tokens,
            use=use,
        )
        counters.count_call(
            model=request.model.id,
            stop_reason=answered.finish_reason,
            use=use,
            output_tokens=answered.output_tokens,
            blocks=answered.reply.blocks,
            tool_calls=len(answered.reply.calls),
        )
        await self._write_out(answered.output_tokens)
        return json_response(response_body(answered), 200)

    def _reply(
        self, request: GenerateRequest, cached: CachedContent | None, max_tokens: int, fault: Fault | None
    ) -> Reply:
        parts = request.parts if cached is None else (*cached.parts, *request.parts)
        system = "\n".join(part.text for part in parts if part.role == "system")
        schema = request.schema
        if schema is None and request.json_mode:
            schema = promised_schema(system, request.prompt)
        return self._say(
            request.model.id,
            Question(system=system, prompt=request.prompt, schema=schema, as_tool=False, max_tokens=max_tokens),
            request.offer,
            fault,
        )

    async def _count_tokens(self, http: Request, request_id: str) -> Response:
        key = key_of(http)
        self._engine.counters.counting_requests += 1
        request = read_count(await self._body(http), _model(http, "countTokens"))
        check_turns(request.fields, request.model, key)
        tokens = parts_tokens(request.parts)
        return json_response({"totalTokens": tokens, "promptTokensDetails": text_details(tokens)}, 200)

    async def _list_models(self, http: Request, request_id: str) -> Response:
        key_of(http)
        _version(http)
        size, token = http.query_params.get("pageSize", str(_PAGE)), http.query_params.get("pageToken", "0")
        if not size.isdigit() or not token.isdigit() or int(size) < 1:
            raise errors.invalid("pageSize and pageToken must be what the API gave.")
        end = int(token) + int(size)
        listed: JsonObject = {"models": [model.as_json() for model in MODELS[int(token) : end]]}
        if end < len(MODELS):
            listed["nextPageToken"] = str(end)
        return json_response(listed, 200)

    async def _show_model(self, http: Request, request_id: str) -> Response:
        key_of(http)
        return json_response(_model(http, "generateContent").as_json(), 200)

    async def _unknown(self, http: Request, request_id: str) -> Response:
        raise errors.path_unknown()

    def _cached_content(self, request: GenerateRequest, key: str, version: str) -> CachedContent | None:
        if request.cached_name is None:
            return None
        if version != "v1beta":
            raise errors.unknown_field("cachedContent", "")
        cached = self._engine.cached_contents.find(request.cached_name, key, self._engine.clock())
        if cached is None:
            raise errors.cache_unknown()
        if cached.model != request.model:
            raise errors.invalid(
                f"Model used by GenerateContent request (models/{request.model.id}) and CachedContent"
                f" (models/{cached.model.id}) has to be the same."
            )
        return cached

    def _implicit_use(self, request: GenerateRequest, key: str, body: bytes) -> CacheUse:
        # A request that is not to hit looks in a place nobody else looks; it still costs nothing to write.
        drawn = int.from_bytes(hashlib.sha256(body).digest()[:8], "big") / 2**64
        missing = drawn >= self._engine.config.google.implicit_hit_share
        return automatic_use(
            self._engine.cache,
            scope=f"{key}\0{request.model.id}\0{drawn if missing else ''}".encode("utf-8", "surrogatepass"),
            parts=request.parts,
            minimum_tokens=request.model.implicit_minimum_tokens,
            ttl_s=_IMPLICIT_TTL_S,
            now_s=self._engine.clock(),
        )


def key_of(http: Request) -> str:
    """The caller's key. Raises GoogleRefused."""
    key = http.headers.get("x-goog-api-key") or http.query_params.get("key", "")
    if not key:
        raise errors.key_missing()
    if key.startswith(INVALID_KEY_PREFIX):
        raise errors.key_invalid()
    if key.startswith(RESTRICTED_KEY_PREFIX):
        raise errors.key_restricted()
    return key


def _keyed(handler: KeyedHandler) -> Handler:
    async def answer(http: Request, request_id: str) -> Response:
        return await handler(http, key_of(http))

    return answer


def _version(http: Request) -> str:
    version = str(http.path_params["version"])
    if version not in _VERSIONS:
        raise errors.path_unknown()
    return version


def _model(http: Request, method: str) -> GeminiModel:
    name, version = http.path_params["model"], _version(http)
    model = model_named(name, version)
    if model is None:
        raise errors.model_unknown(name, version, method)
    return model
