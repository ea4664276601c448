"""The OpenAI models the sandbox knows: limits, efforts, and how each caches.

Source: https://developers.openai.com/api/docs/models and the prompt-caching guide, read 2026-11-22; dated ids and default efforts
from recorded exchanges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokenopt_pipeline.sandbox.json_value import JsonObject
from tokenopt_pipeline.sandbox.replay import is_replay

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIModel:
    """One model, under the id its answers carry."""

    id: str
    aliases: tuple[str, ...] = ()
    released_s: int
    """Seconds since the epoch."""
    input_tokens: int = 922_000
    max_output_tokens: int = 128_000
    breakpoints: bool = True
    """Whether it caches at breakpoints and bills writes; earlier models cache automatically and for free."""
    cache_minimum_tokens: int = 1024
    default_effort: str = "medium"

    def as_json(self, name: str) -> JsonObject:
        """The model as `GET /v1/models` shows it."""
        return {"id": name, "object": "model", "created": self.released_s, "owned_by": "system"}


MODELS: tuple[OpenAIModel, ...] = (
    OpenAIModel(id="gpt-6.1-sol", released_s=1_792_540_800),
    OpenAIModel(id="gpt-6.1-terra", released_s=1_792_540_800),
    OpenAIModel(id="gpt-6-astra", released_s=1_788_739_200),
    OpenAIModel(id="gpt-6-sol", released_s=1_788_739_200),
    OpenAIModel(id="gpt-6-luna", released_s=1_788_739_200),
    OpenAIModel(id="gpt-5.6-sol", aliases=("gpt-5.6",), released_s=1_783_468_800),
    OpenAIModel(id="gpt-5.6-luna", released_s=1_783_468_800),
    OpenAIModel(
        id="gpt-5.4-2026-03-05",
        aliases=("gpt-5.4",),
        released_s=1_772_668_800,
        breakpoints=False,
        default_effort="none",
    ),
    OpenAIModel(
        id="gpt-5.4-mini-2026-03-17",
        aliases=("gpt-5.4-mini",),
        released_s=1_773_705_600,
        input_tokens=272_000,
        breakpoints=False,
        default_effort="none",
    ),
    OpenAIModel(
        id="gpt-5.4-nano-2026-03-17",
        aliases=("gpt-5.4-nano",),
        released_s=1_773_705_600,
        input_tokens=272_000,
        breakpoints=False,
        default_effort="none",
    ),
)

BY_NAME = {name: model for model in MODELS for name in (*model.aliases, model.id)}

# What a model of recordings takes and refuses: it has none of its own.
_REPLAYING = replace(BY_NAME["gpt-5.4-mini"], aliases=())


def model_named(name: str) -> OpenAIModel | None:
    """The model called `name`."""
    return replace(_REPLAYING, id=name) if is_replay(name) else BY_NAME.get(name)
