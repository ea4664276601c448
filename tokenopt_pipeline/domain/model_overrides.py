"""What a policy says of models: limits and manners that replace the table's, and prices that replace the list's."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.fingerprints import canonical_json
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.places import Places
from tokenopt_pipeline.domain.providers import VENDORS
from tokenopt_pipeline.domain.routing import parse_model_ref
from tokenopt_pipeline.domain.token_prices import TokenPrice, parse_price

# Field of a ModelSpec -> (kind, least, most).
_NUMBERS: Mapping[str, tuple[type, float, float]] = {
    "context_tokens": (int, 1_024, 10_000_000),
    "max_output_tokens": (int, 16, 1_000_000),
    "cache_minimum_tokens": (int, 0, 1_000_000),
    "token_ratio": (float, 0.1, 10.0),
    "token_ratio_guard": (float, 0.1, 10.0),
    "request_overhead_tokens": (int, 0, 100_000),
    "thinking_reserve_tokens": (int, 0, 200_000),
}
#: Under this name a server of one's own gives vectors; a policy may say what they cost.
EMBEDDINGS_SERVER = "custom"
_METHODS = ("json_schema", "tool")
_KNOWN = (*_NUMBERS, "output_method", "thinking", "price")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOverride:
    """What a policy says of one model; whatever it does not say stays as the table has it."""

    #: Field of a ModelSpec -> its value.
    fields: Mapping[str, object]
    price: TokenPrice | None = None

    def applied_to(self, spec: ModelSpec) -> ModelSpec:
        """The model as the policy has it. Raises PolicyInvalid when its values do not go together."""
        # The fields were checked against the names and types of a ModelSpec when they were read.
        changed = replace(spec, **cast("dict[str, Any]", dict(self.fields)))
        for low, high in (("max_output_tokens", "context_tokens"), ("token_ratio", "token_ratio_guard")):
            if getattr(changed, low) > getattr(changed, high):
                raise PolicyInvalid(
                    f"models.{spec.ref}.{low} = {getattr(changed, low)}, allowed up to {high} = {getattr(changed, high)}"
                )
        return changed

    def document(self) -> dict[str, object]:
        """As JSON values; `parse_models` reads them back."""
        document = dict(self.fields)
        if isinstance(thinking := document.get("thinking"), str):
            document["thinking"] = json.loads(thinking)
        return document if self.price is None else {**document, "price": self.price.document()}


def parse_models(values: Mapping[str, object], places: Places, *, servers: Collection[str]) -> dict[str, ModelOverride]:
    """The models section of a policy: `provider/model` -> what it says, in the order of the names.

    `servers` are the policy's own providers. Raises PolicyInvalid naming the layer, its line and the key.
    """
    parsed = {}
    for name in sorted(values):
        where = places.of(f"models.{name}")
        provider = parse_model_ref(name, where=where).provider
        if provider not in VENDORS and provider not in servers and provider != EMBEDDINGS_SERVER:
            known = ", ".join((*VENDORS, *servers))
            raise PolicyInvalid(f"{where}: provider {provider!r} is unknown; known: {known}")
        parsed[name] = _override(values[name], where)
    return parsed


def _override(value: object, where: str) -> ModelOverride:
    if not isinstance(value, Mapping) or not value:
        raise PolicyInvalid(f"{where} must be a mapping with some of {', '.join(_KNOWN)}, found {value!r}")
    if unknown := sorted(str(key) for key in value if key not in _KNOWN):
        raise PolicyInvalid(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(_KNOWN)}")
    price = parse_price(value["price"], f"{where}.price") if "price" in value else None
    return ModelOverride(
        fields={str(key): _field(str(key), found, where) for key, found in value.items() if key != "price"},
        price=price,
    )


def _field(key: str, value: object, where: str) -> object:
    if key == "output_method":
        if value not in _METHODS:
            raise PolicyInvalid(f"{where}.{key} = {value!r}, allowed {' or '.join(_METHODS)}")
        return value
    if key == "thinking":
        return _thinking(value, f"{where}.{key}")
    kind, low, high = _NUMBERS[key]
    wanted = "a whole number" if kind is int else "a number"
    right = isinstance(value, int) or (kind is float and isinstance(value, float))
    if isinstance(value, bool) or not right or not low <= cast("float", value) <= high:
        raise PolicyInvalid(f"{where}.{key} = {value!r}, allowed {wanted} from {low} to {high}")
    return kind(value)


def _thinking(value: object, where: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise PolicyInvalid(f"{where} = {value!r}, allowed null or the members that make the model think least")
    try:
        return canonical_json(value)
    except (TypeError, ValueError) as problem:
        raise PolicyInvalid(f"{where} cannot be said in JSON: {problem}") from problem
