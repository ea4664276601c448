"""Every path that has to do with batches, by where it is mounted."""

from __future__ import annotations

from starlette.routing import Route

from tokenopt_pipeline.sandbox.anthropic_batches import AnthropicBatchDoor
from tokenopt_pipeline.sandbox.batch_control import BatchControl
from tokenopt_pipeline.sandbox.engine import Engine
from tokenopt_pipeline.sandbox.google_batches import GoogleBatchDoor
from tokenopt_pipeline.sandbox.google_files import GoogleFileDoor
from tokenopt_pipeline.sandbox.openai_batches import OpenAIBatchDoor
from tokenopt_pipeline.sandbox.openai_files import OpenAIFileDoor


def batch_routes(engine: Engine) -> dict[str, list[Route]]:
    """Mount -> its routes, which go before a provider's others because those end in a catch-all."""
    return {
        "anthropic": AnthropicBatchDoor(engine).routes(),
        "openai": [*OpenAIFileDoor(engine).routes(), *OpenAIBatchDoor(engine).routes()],
        "google": [*GoogleFileDoor(engine).routes(), *GoogleBatchDoor(engine).routes()],
        "control": BatchControl(engine).routes(),
    }
