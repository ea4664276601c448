"""The declared model table, read from models.toml."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from tokenopt_pipeline.domain.errors import NotFound
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.routing import ModelRef

_DATED = re.compile(r"-\d{8}$")


class ModelTable:
    """`ports.Models` over the shipped table."""

    def spec(self, ref: ModelRef) -> ModelSpec:
        """What is known of the model, under the very name it was asked by. Raises NotFound."""
        table = _table()
        if ref.provider not in table:
            raise NotFound(f"model {ref}: provider {ref.provider!r} is unknown; known: {', '.join(sorted(table))}")
        provider = table[ref.provider]
        name = ref.model if ref.model in provider["models"] else _DATED.sub("", ref.model)
        if name not in provider["models"]:
            raise NotFound(f"model {ref} is not in the model table; known: {', '.join(sorted(provider['models']))}")
        return ModelSpec(ref=ref, **{**provider["defaults"], **provider["models"][name]})


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("models.toml").read_text("utf-8"))
