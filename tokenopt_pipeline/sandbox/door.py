"""What the doors of all providers share: admission, bodies, faults, waiting, counting; a provider adds its words and shapes."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tokenopt_pipeline.sandbox.connection import ConnectionReset
from tokenopt_pipeline.sandbox.engine import Engine
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.json_value import JsonObject
from tokenopt_pipeline.sandbox.pack import read_pack
from tokenopt_pipeline.sandbox.prefix_cache import CacheUse
from tokenopt_pipeline.sandbox.replay import NotRecorded, is_replay
from tokenopt_pipeline.sandbox.reply import Question, Reply
from tokenopt_pipeline.sandbox.tool_calls import Offer, answer_or_call

INVALID_KEY_PREFIX = "invalid"
"""A key that begins so is one nobody issued."""
RESTRICTED_KEY_PREFIX = "restricted"
"""A key that begins so is known and may do nothing."""

Handler = Callable[[Request, str], Awaitable[Response]]
"""A request and its identifier -> the response."""


class Refusal(Exception, ABC):
    """A request a provider answers with an error."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})
        """Added to the headers every response has."""

    @abstractmethod
    def body(self, request_id: str) -> JsonObject:
        """The JSON body of the response."""

    def response(self, request_id: str) -> Response:
        """The whole response, before the headers every response gets."""
        response = json_response(self.body(request_id), self.status)
        response.headers.update(self.headers)
        return response


class Door(ABC):
    """The way into one provider of one sandbox."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @abstractmethod
    def _new_request_id(self) -> str:
        """What this provider calls a request."""

    @abstractmethod
    def _sign(self, response: Response, request_id: str) -> None:
        """Put the headers on that every response of this provider has."""

    @abstractmethod
    def _too_large(self) -> Refusal:
        """The body exceeds the limit in bytes."""

    @abstractmethod
    def _rate_limited(self, retry_after_s: float, requests_per_minute: int) -> Refusal:
        """Wait and ask again."""

    @abstractmethod
    def _failure(self, fault: Fault) -> Refusal | None:
        """The refusal of a fault other than a rate limit; None for a fault that spoils the answer instead."""

    @abstractmethod
    def _not_recorded(self, message: str) -> Refusal:
        """A model of recordings was asked what nobody recorded."""

    def _say(self, model: str, question: Question, offer: Offer, fault: Fault | None) -> Reply:
        """What the model called `model` says. Raises Refusal."""
        if not is_replay(model):
            return answer_or_call(question, offer, self._engine.tools, fault)
        try:
            return self._engine.recordings.reply(model, question, offer)
        except NotRecorded as problem:
            raise self._not_recorded(str(problem)) from problem

    def _answering(self, handler: Handler, *, counted: bool = False) -> Callable[[Request], Awaitable[Response]]:
        """`handler` with refusals turned into responses; `counted` when it asks a model."""

        async def answer(request: Request) -> Response:
            request_id = self._new_request_id()
            counters = self._engine.counters  # a reset meanwhile must not see this request leave
            if counted:
                counters.enter()
            status: int | None = 500
            try:
                response = await handler(request, request_id)
                status = None if isinstance(response, ConnectionReset) else response.status_code
            except ClientDisconnect:
                # Nobody reads what is said to a caller who has gone.
                status, response = None, Response(status_code=400)
            except Refusal as refusal:
                status = refusal.status
                response = refusal.response(request_id)
            finally:
                if counted:
                    counters.leave(status)
            self._sign(response, request_id)
            return response

        return answer

    def _admit(self) -> None:
        """Take one request out of the minute's limit. Raises Refusal."""
        state = self._engine.limit.admit(self._engine.clock())
        if state.retry_after_s is not None:
            raise self._rate_limited(state.retry_after_s, state.limit)

    async def _body(self, http: Request) -> bytes:
        """The request's body. Raises Refusal."""
        limit = self._engine.config.max_body_bytes
        parts = []
        received = 0
        async for part in http.stream():
            received += len(part)
            # The rest is read and dropped: a client still sending would see a reset instead of the refusal.
            if received <= limit:
                parts.append(part)
        if received > limit:
            raise self._too_large()
        return b"".join(parts)

    def _draw_fault(self, body: bytes, texts: Callable[[], Iterable[str]]) -> Fault | None:
        """The fault of this request, counted. `texts` gives every text of its prompt."""
        fault = self._engine.faults.decide(body, lambda needle: _contains(texts(), needle))
        if fault is not None:
            self._engine.counters.faults[fault] += 1
        return fault

    def _raise_fault(self, fault: Fault | None) -> None:
        """Raises Refusal when `fault` fails the call."""
        if fault is Fault.RATE_LIMIT_429:
            # The figure is shown only; recorded exchanges of small accounts show it.
            raise self._rate_limited(self._engine.faults.plan.retry_after_s, 50)
        failure = None if fault is None else self._failure(fault)
        if failure is not None:
            raise failure

    async def _begin_response(self, fault: Fault | None, use: CacheUse) -> None:
        """Wait for the first token; from then on others can read what this request writes."""
        slow_s = self._engine.faults.plan.slow_s if fault is Fault.SLOW else 0
        cache = self._engine.cache
        await asyncio.sleep(self._engine.config.latency_s + slow_s)
        cache.begin_response(use)

    async def _write_out(self, output_tokens: int) -> None:
        """Wait for the rest of an answer that is sent in one piece."""
        per_token_s = self._engine.config.latency_per_output_token_s
        if per_token_s:
            await asyncio.sleep(per_token_s * output_tokens)


def json_response(body: JsonObject, status: int) -> Response:
    """`body` as JSON; what UTF-8 cannot say is replaced."""
    encoded = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(encoded, status, media_type="application/json")


def _contains(texts: Iterable[str], needle: str) -> bool:
    for text in texts:
        pack = read_pack(text)
        candidates = [text] if pack is None else [text, *(block.text for block in pack.blocks)]
        if any(needle in candidate for candidate in candidates):
            return True
    return False
