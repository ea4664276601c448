"""The doors tests control batches by: time, what there is, and where the ends of batches are told."""

from __future__ import annotations

import json
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tokenopt_pipeline.sandbox.config_reading import ConfigRefused, known_keys, number_of, object_of
from tokenopt_pipeline.sandbox.engine import Engine
from tokenopt_pipeline.sandbox.json_value import Json


@dataclass(frozen=True, slots=True)
class BatchControl:
    """The handlers of one sandbox."""

    engine: Engine

    def routes(self) -> list[Route]:
        """Every path, relative to where control is mounted."""
        return [
            Route("/control/advance", self._advance, methods=["POST"]),
            Route("/control/batches", self._batches, methods=["GET"]),
            Route("/control/webhooks", self._deliver_to, methods=["PUT"]),
            Route("/control/deliveries", self._deliveries, methods=["GET"]),
        ]

    async def _advance(self, request: Request) -> Response:
        try:
            asked = object_of(_read(await request.body()), "an advance")
            known_keys(asked, {"seconds"}, "an advance")
            seconds = number_of(asked, "seconds", 0)
            if seconds < 0:
                raise ConfigRefused(f"time goes forward only, found {seconds} seconds")
        except ConfigRefused as refusal:
            return JSONResponse({"error": str(refusal)}, 400)
        self.engine.clock.advance(seconds)
        await self.engine.batches.tick()
        return JSONResponse({"now_s": self.engine.clock()})

    async def _batches(self, request: Request) -> Response:
        return JSONResponse({"batches": [batch.as_json() for batch in self.engine.batches.book]})

    async def _deliver_to(self, request: Request) -> Response:
        try:
            asked = object_of(_read(await request.body()), "a webhook")
            known_keys(asked, {"provider", "url", "secret"}, "a webhook")
            secret = asked.get("secret")
            target = self.engine.batches.webhooks.declare(
                str(asked.get("provider")), str(asked.get("url")), None if secret is None else str(secret)
            )
        except ConfigRefused as refusal:
            return JSONResponse({"error": str(refusal)}, 400)
        return JSONResponse({"provider": target.provider, "url": target.url, "secret": target.secret})

    async def _deliveries(self, request: Request) -> Response:
        return JSONResponse({"deliveries": self.engine.batches.webhooks.as_json()})


def _read(body: bytes) -> Json:
    try:
        value: Json = json.loads(body)
    except ValueError as error:
        raise ConfigRefused(f"not JSON: {error}") from None
    return value
