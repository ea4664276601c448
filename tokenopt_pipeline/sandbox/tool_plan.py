"""Which tools the simulated model calls, how often and with what: set once or by the control door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

from tokenopt_pipeline.sandbox.config_reading import ConfigRefused, known_keys, object_of
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPlan:
    """What the model does with tools it may call. The defaults call one tool once and then answer."""

    rounds: int = 1
    """Answers of one conversation that call tools; the next one is the answer. 0: it calls none it need not call."""
    parallel: int = 1
    """Calls of one such answer, where the request allows several."""
    tools: tuple[str, ...] = ()
    """Names to call, in turn and over again; one that nobody declared is called all the same. Empty: the declared ones."""
    arguments: Mapping[str, JsonObject | str] = field(default_factory=lambda: MappingProxyType({}))
    """Name -> the arguments of its calls instead of ones made for its schema, good or bad; text is sent as it stands."""

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise ConfigRefused(f"tools.rounds must be 0 or more, found {self.rounds}")
        if self.parallel < 1:
            raise ConfigRefused(f"tools.parallel must be 1 or more, found {self.parallel}")

    @staticmethod
    def from_json(value: Json) -> ToolPlan:
        """Raises ConfigRefused."""
        plan = object_of(value, "tools")
        known_keys(plan, {f.name for f in fields(ToolPlan)}, "tools")
        default = ToolPlan()
        names = plan.get("tools", [])
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise ConfigRefused(f"tools.tools must be a list of names, found {names!r}")
        return ToolPlan(
            rounds=_whole(plan, "rounds", default.rounds),
            parallel=_whole(plan, "parallel", default.parallel),
            tools=tuple(str(name) for name in names),
            arguments=_arguments(plan.get("arguments", {})),
        )


def _arguments(value: Json) -> Mapping[str, JsonObject | str]:
    given: dict[str, JsonObject | str] = {}
    for name, arguments in object_of(value, "tools.arguments").items():
        if not isinstance(arguments, dict | str):
            raise ConfigRefused(f"tools.arguments.{name} must be an object, or a text to send, found {arguments!r}")
        given[name] = arguments
    return MappingProxyType(given)


def _whole(plan: JsonObject, key: str, default: int) -> int:
    found = plan.get(key, default)
    if not isinstance(found, int) or isinstance(found, bool):
        raise ConfigRefused(f"tools.{key} must be a whole number, found {found!r}")
    return found
