"""The Gemini models the sandbox knows: limits, cache minimums, how each thinks.

Source: https://ai.google.dev/gemini-api/docs/models and the caching page, read 2026-11-22; the minimum of an explicit cache on 2.5
models is what the API said in a public issue (https://github.com/BerriAI/litellm/issues/17696).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokenopt_pipeline.sandbox.json_value import JsonObject
from tokenopt_pipeline.sandbox.replay import is_replay

_METHODS = ("generateContent", "countTokens", "createCachedContent", "batchGenerateContent")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeminiModel:
    """One model, under the id its answers carry."""

    id: str
    aliases: tuple[str, ...] = ()
    """Names only v1beta knows."""
    name: str
    input_tokens: int = 1_048_576
    max_output_tokens: int = 65_536
    implicit_minimum_tokens: int = 4096
    explicit_minimum_tokens: int = 4096
    thinks_by_level: bool = True
    """Whether thinking is set by level; earlier models take a budget in tokens."""
    joins_tools_and_schema: bool = True
    """Whether a request may have functions and a response schema."""
    needs_signatures: bool = True
    """Whether a call of the current turn is refused without its signature."""

    def as_json(self) -> JsonObject:
        """The model as `GET models` shows it."""
        return {
            "name": f"models/{self.id}",
            "version": self.id.removeprefix("gemini-"),
            "displayName": self.name,
            "description": f"{self.name}, simulated",
            "inputTokenLimit": self.input_tokens,
            "outputTokenLimit": self.max_output_tokens,
            "supportedGenerationMethods": list(_METHODS),
            "temperature": 1,
            "topP": 0.95,
            "topK": 64,
            "maxTemperature": 2,
            "thinking": True,
        }


MODELS: tuple[GeminiModel, ...] = (
    GeminiModel(id="gemini-4-argon", name="Gemini 4 Argon", max_output_tokens=1_048_576),
    GeminiModel(id="gemini-3.8-flash", aliases=("gemini-flash-latest",), name="Gemini 3.8 Flash"),
    GeminiModel(id="gemini-3.5-flash", name="Gemini 3.5 Flash"),
    GeminiModel(id="gemini-3.5-flash-lite", aliases=("gemini-flash-lite-latest",), name="Gemini 3.5 Flash-Lite"),
    GeminiModel(id="gemini-3.1-flash-lite", name="Gemini 3.1 Flash-Lite"),
    GeminiModel(id="gemini-3.1-pro-preview", name="Gemini 3.1 Pro Preview"),
    GeminiModel(
        id="gemini-2.5-flash",
        name="Gemini 2.5 Flash",
        implicit_minimum_tokens=2048,
        explicit_minimum_tokens=1024,
        thinks_by_level=False,
        joins_tools_and_schema=False,
        needs_signatures=False,
    ),
    GeminiModel(
        id="gemini-2.5-pro",
        name="Gemini 2.5 Pro",
        implicit_minimum_tokens=2048,
        explicit_minimum_tokens=1024,
        thinks_by_level=False,
        joins_tools_and_schema=False,
        needs_signatures=False,
    ),
)

_BY_ID = {model.id: model for model in MODELS}
_BY_ALIAS = {alias: model for model in MODELS for alias in model.aliases}


# What a model of recordings takes and refuses: it has none of its own.
_REPLAYING = replace(_BY_ID["gemini-2.5-flash"], joins_tools_and_schema=True)


def model_named(name: str, version: str) -> GeminiModel | None:
    """The model called `name` on this API version."""
    if is_replay(name):
        return replace(_REPLAYING, id=name, name=name)
    return _BY_ID.get(name) or (_BY_ALIAS.get(name) if version == "v1beta" else None)
