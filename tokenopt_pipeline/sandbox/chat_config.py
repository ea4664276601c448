"""What can be set about the OpenAI-compatible server: such servers differ in what they know, take, tell and how they fail."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TypeVar

from tokenopt_pipeline.sandbox.config_reading import ConfigRefused, known_keys, number_of, object_of
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list


class Capability(StrEnum):
    """How far an answer can be bound to a shape, the most capable first."""

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    PROMPT_ONLY = "prompt_only"


class ErrorShape(StrEnum):
    """What an error's body looks like."""

    OPENAI = "openai"
    """`{"error": {"message", "type", "param", "code"}}`"""
    VLLM = "vllm"
    """`{"object": "error", "message", "type", "param", "code": status}`"""
    TEXT = "text"
    """No JSON at all, as proxies in front of such servers answer."""


_Choice = TypeVar("_Choice", bound=StrEnum)
_LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomServer:
    """One OpenAI-compatible server."""

    capability: Capability = Capability.JSON_SCHEMA
    strict: bool = False
    """Whether a field it does not know is refused rather than ignored."""
    usage_details: bool = True
    """Whether usage says more than the two sums."""
    tools: bool = True
    """Whether it takes tools; otherwise a request that declares one is refused."""
    call_ids: bool = True
    """Whether its calls have ids; where they have none, callers number them."""
    fenced: bool = False
    """Whether JSON nobody bound comes in a Markdown fence."""
    errors: ErrorShape = ErrorShape.OPENAI
    models: tuple[str, ...] = ("local-model",)
    limit_fields: tuple[str, ...] = _LIMIT_FIELDS
    """Names under which it knows the limit of the answer."""
    context_tokens: int = 131_072
    """Prompt and answer together."""

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigRefused("custom.models must name at least one model")
        unknown = sorted(set(self.limit_fields) - set(_LIMIT_FIELDS))
        if unknown or not self.limit_fields:
            raise ConfigRefused(
                f"custom.limit_fields takes {', '.join(_LIMIT_FIELDS)}, found {list(self.limit_fields)}"
            )
        if self.context_tokens < 1:
            raise ConfigRefused(f"custom.context_tokens must be 1 or more, found {self.context_tokens}")

    @staticmethod
    def from_json(value: Json) -> CustomServer:
        """Raises ConfigRefused."""
        server = object_of(value, "custom")
        known_keys(server, {f.name for f in fields(CustomServer)}, "custom")
        default = CustomServer()
        return CustomServer(
            capability=_choice(server, "capability", Capability, default.capability),
            strict=_flag(server, "strict", default.strict),
            usage_details=_flag(server, "usage_details", default.usage_details),
            tools=_flag(server, "tools", default.tools),
            call_ids=_flag(server, "call_ids", default.call_ids),
            fenced=_flag(server, "fenced", default.fenced),
            errors=_choice(server, "errors", ErrorShape, default.errors),
            models=_names(server, "models", default.models),
            limit_fields=_names(server, "limit_fields", default.limit_fields),
            context_tokens=int(number_of(server, "context_tokens", default.context_tokens)),
        )


def _choice(server: JsonObject, key: str, kinds: type[_Choice], default: _Choice) -> _Choice:
    found = server.get(key, default)
    if found not in list(kinds):
        raise ConfigRefused(f"custom.{key} must be one of {', '.join(kinds)}, found {found!r}")
    return kinds(str(found))


def _flag(server: JsonObject, key: str, default: bool) -> bool:
    found = server.get(key, default)
    if not isinstance(found, bool):
        raise ConfigRefused(f"custom.{key} must be true or false, found {found!r}")
    return found


def _names(server: JsonObject, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    found = server.get(key, list(default))
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ConfigRefused(f"custom.{key} must be a list of names, found {found!r}")
    return tuple(str(name) for name in as_list(found))
