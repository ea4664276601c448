"""Google's endpoints for explicit caches."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from tokenopt_pipeline.sandbox import google_errors as errors
from tokenopt_pipeline.sandbox.door import json_response
from tokenopt_pipeline.sandbox.engine import Engine
from tokenopt_pipeline.sandbox.google_caches import CachedContent
from tokenopt_pipeline.sandbox.google_fields import known_fields, read_fields
from tokenopt_pipeline.sandbox.google_models import model_named
from tokenopt_pipeline.sandbox.google_request import parts_tokens, read_contents, read_system
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_object

_FIELDS = ("model", "contents", "systemInstruction", "tools", "toolConfig", "ttl", "expireTime", "displayName", "name")
# https://ai.google.dev/gemini-api/docs/caching, read 2026-11-22.
_DEFAULT_TTL_S = 3600
_TTL = re.compile(r"(\d+(?:\.\d+)?)s")

KeyedHandler = Callable[[Request, str], Awaitable[Response]]
"""A request and its caller's key -> the response."""


class GoogleCacheDoor:
    """The handlers of one sandbox; the caller checks the key."""

    def __init__(self, engine: Engine, read_body: Callable[[Request], Awaitable[bytes]]) -> None:
        self._engine = engine
        self._read_body = read_body

    async def create(self, http: Request, key: str) -> Response:
        """Keep a prefix. Raises GoogleRefused."""
        fields = read_fields(await self._read_body(http))
        known_fields(fields, _FIELDS, "cached_content")
        name = str(fields.get("model") or "").removeprefix("models/")
        model = model_named(name, "v1beta")
        if model is None:
            raise errors.model_unknown(name, "v1beta", "createCachedContent")
        parts = (*read_system(fields), *read_contents(fields))
        tokens = parts_tokens(parts)
        if tokens < model.explicit_minimum_tokens:
            raise errors.cache_too_small(tokens, model.explicit_minimum_tokens)
        if tokens > model.input_tokens:
            raise errors.prompt_too_long(tokens, model.input_tokens)
        now_s = self._engine.clock()
        cached = CachedContent(
            name=self._engine.identifier("cachedContents/"),
            key=key,
            model=model,
            display_name=str(fields.get("displayName") or ""),
            parts=parts,
            tokens=tokens,
            created_s=now_s,
            updated_s=now_s,
            expires_s=_expiry_s(fields, now_s) or now_s + _DEFAULT_TTL_S,
        )
        self._engine.cached_contents.add(cached)
        return json_response(_shown(cached), 200)

    async def show_all(self, http: Request, key: str) -> Response:
        """This key's caches, in one page."""
        alive: list[Json] = [_shown(cached) for cached in self._engine.cached_contents.alive(key, self._engine.clock())]
        return json_response({"cachedContents": alive} if alive else {}, 200)

    async def show(self, http: Request, key: str) -> Response:
        """One cache. Raises GoogleRefused."""
        return json_response(_shown(self._found(http, key)), 200)

    async def extend(self, http: Request, key: str) -> Response:
        """Another end of its life, which is all that can be changed. Raises GoogleRefused."""
        cached = self._found(http, key)
        fields = read_fields(await self._read_body(http))
        known_fields(as_object(fields), ("ttl", "expireTime", "name"), "cached_content")
        now_s = self._engine.clock()
        expires_s = _expiry_s(fields, now_s)
        if expires_s is None:
            raise errors.invalid("Only ttl and expire_time of a cached content can be updated.")
        return json_response(_shown(self._engine.cached_contents.extend(cached, expires_s, now_s)), 200)

    async def remove(self, http: Request, key: str) -> Response:
        """Forget it. Raises GoogleRefused."""
        self._engine.cached_contents.remove(self._found(http, key))
        return json_response({}, 200)

    def _found(self, http: Request, key: str) -> CachedContent:
        name = f"cachedContents/{http.path_params['cache_id']}"
        cached = self._engine.cached_contents.find(name, key, self._engine.clock())
        if cached is None:
            raise errors.cache_unknown()
        return cached


def _expiry_s(fields: JsonObject, now_s: float) -> float | None:
    ttl, moment = fields.get("ttl"), fields.get("expireTime")
    if ttl is not None and moment is not None:
        raise errors.invalid("Only one of ttl and expire_time may be set.")
    if ttl is not None:
        found = _TTL.fullmatch(str(ttl))
        if found is None or float(found[1]) <= 0:
            raise errors.invalid(
                f"Invalid value at 'cached_content.ttl' (type.googleapis.com/google.protobuf.Duration), \"{ttl}\""
            )
        return now_s + float(found[1])
    if moment is None:
        return None
    try:
        expires_s = datetime.fromisoformat(str(moment)).timestamp()
    except ValueError:
        raise errors.invalid(f"Invalid value at 'cached_content.expire_time', \"{moment}\"") from None
    if expires_s <= now_s:
        raise errors.invalid("expire_time must be in the future.")
    return expires_s


def _shown(cached: CachedContent) -> JsonObject:
    return {
        "name": cached.name,
        "model": f"models/{cached.model.id}",
        "displayName": cached.display_name,
        "createTime": _rfc3339(cached.created_s),
        "updateTime": _rfc3339(cached.updated_s),
        "expireTime": _rfc3339(cached.expires_s),
        "usageMetadata": {"totalTokenCount": cached.tokens},
    }


def _rfc3339(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
