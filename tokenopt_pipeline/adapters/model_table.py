"""The declared model table, read from models.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from tokenopt_pipeline.domain.counting import TokenRule
from tokenopt_pipeline.domain.errors import NotFound
from tokenopt_pipeline.domain.learning import NOTHING_LEARNED, Learned
from tokenopt_pipeline.domain.model_overrides import ModelOverride
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.routing import ModelRef

# How vendors date their models: 20250929 (Anthropic), 2026-09-01 (OpenAI), preview-09-2026 and 001 (Google).
_DATED = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2}|preview-\d{2}-\d{4}|\d{3})$")
# The part of the table for models of a policy's own servers.
_CUSTOM = "custom"


class ModelTable:
    """`ports.Models`: the shipped table, under what a policy says of models."""

    def __init__(
        self,
        *,
        servers: Collection[str] = (),
        overrides: Mapping[str, ModelOverride] | None = None,
        learned: Learned = NOTHING_LEARNED,
    ) -> None:
        """`servers` are the policy's own providers; `overrides` maps `provider/model` to what replaces the table.

        What was `learned` of a model goes before the table, and what a policy says of it before that.
        """
        self._servers = servers
        self._overrides = overrides or {}
        self._learned = learned
        self._specs: dict[ModelRef, ModelSpec] = {}

    def spec(self, ref: ModelRef) -> ModelSpec:
        """What is known of the model, under the very name it was asked by. Raises NotFound or PolicyInvalid."""
        found = self._specs.get(ref)
        if found is None:
            found = self._specs[ref] = self._spec(ref)
        return found

    def _spec(self, ref: ModelRef) -> ModelSpec:
        override = override_of(self._overrides, ref)
        shipped = self._shipped(ref, is_declared=override is not None)
        spec = ModelSpec(ref=ref, **{**shipped, "counting": TokenRule(**shipped.get("counting", {}))})
        spec = replace(spec, as_shipped=(spec.token_ratio, spec.request_overhead_tokens))
        correction = self._learned.tokens.get(str(ref))
        spec = spec if correction is None else correction.applied_to(spec)
        return spec if override is None else override.applied_to(spec)

    def _shipped(self, ref: ModelRef, *, is_declared: bool) -> dict[str, Any]:
        table = _table()
        if ref.provider in self._servers:
            return dict(table[_CUSTOM]["defaults"])
        if ref.provider not in table or ref.provider == _CUSTOM:
            known = ", ".join(sorted({*table, *self._servers} - {_CUSTOM}))
            raise NotFound(f"model {ref}: provider {ref.provider!r} is unknown; known: {known}")
        provider = table[ref.provider]
        name = ref.model if ref.model in provider["models"] else undated(ref.model)
        if name not in provider["models"] and not is_declared:
            raise NotFound(f"model {ref} is not in the model table; known: {', '.join(sorted(provider['models']))}")
        found = provider["models"].get(name, {})
        family = provider["families"].get(found.get("family"), {}) if "family" in found else {}
        merged = {**provider["defaults"], **family, **found}
        return {key: value for key, value in merged.items() if key != "family"}


def undated(model: str) -> str:
    """The name without the date or number that a vendor puts behind it."""
    return _DATED.sub("", model)


def override_of(overrides: Mapping[str, ModelOverride], ref: ModelRef) -> ModelOverride | None:
    """What a policy says of the model, or else of the model that its name is a dated form of."""
    return overrides.get(str(ref)) or overrides.get(f"{ref.provider}/{undated(ref.model)}")


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("models.toml").read_text("utf-8"))
