"""Everything about the sandbox that can be set, with defaults that make it fast and faultless."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path

from tokenopt_pipeline.sandbox.batch_config import BatchSettings
from tokenopt_pipeline.sandbox.chat_config import CustomServer
from tokenopt_pipeline.sandbox.config_reading import ConfigRefused, known_keys, number_of, object_of
from tokenopt_pipeline.sandbox.faults import FaultPlan
from tokenopt_pipeline.sandbox.google_config import GoogleSettings
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject
from tokenopt_pipeline.sandbox.tokens import HiddenPrompt
from tokenopt_pipeline.sandbox.tool_plan import ToolPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """One sandbox's settings."""

    latency_s: float = 0.0
    """Seconds until the first token."""
    latency_per_output_token_s: float = 0.0
    requests_per_minute: int | None = None
    """Requests beyond it are answered 429; None limits nothing."""
    thinking_tokens: int = 0
    """Output tokens billed for thinking whenever a model thinks."""
    hidden_prompt: HiddenPrompt = field(default_factory=HiddenPrompt)
    google: GoogleSettings = field(default_factory=GoogleSettings)
    custom: CustomServer = field(default_factory=CustomServer)
    batches: BatchSettings = field(default_factory=BatchSettings)
    faults: FaultPlan = field(default_factory=FaultPlan)
    tools: ToolPlan = field(default_factory=ToolPlan)
    replay: Path | None = None
    """Recorded outputs that models called `replay/…` answer with."""
    # 32 MB is the real limit: https://platform.claude.com/docs/en/api/errors, read 2026-11-22.
    max_body_bytes: int = 32 * 1024 * 1024
    max_cache_entries: int = 10_000
    max_remembered_bodies: int = 100_000
    """Request bodies whose repetition is counted for the fault plan."""

    def __post_init__(self) -> None:
        for name in ("latency_s", "latency_per_output_token_s", "thinking_tokens"):
            if getattr(self, name) < 0:
                raise ConfigRefused(f"{name} must be 0 or more, found {getattr(self, name)}")
        for name in ("max_body_bytes", "max_cache_entries", "max_remembered_bodies"):
            if getattr(self, name) < 1:
                raise ConfigRefused(f"{name} must be 1 or more, found {getattr(self, name)}")
        if self.requests_per_minute is not None and self.requests_per_minute < 1:
            raise ConfigRefused(f"requests_per_minute must be 1 or more, or null, found {self.requests_per_minute}")

    @staticmethod
    def from_json(value: Json) -> SandboxConfig:
        """Raises ConfigRefused."""
        config = object_of(value, "a sandbox configuration")
        known_keys(config, {f.name for f in fields(SandboxConfig)}, "a sandbox configuration")
        default = SandboxConfig()
        requests_per_minute = config.get("requests_per_minute")
        return SandboxConfig(
            latency_s=number_of(config, "latency_s", default.latency_s),
            latency_per_output_token_s=number_of(
                config, "latency_per_output_token_s", default.latency_per_output_token_s
            ),
            requests_per_minute=None if requests_per_minute is None else _whole(config, "requests_per_minute", 1),
            thinking_tokens=_whole(config, "thinking_tokens", default.thinking_tokens),
            hidden_prompt=_hidden_prompt(config.get("hidden_prompt", {})),
            google=GoogleSettings.from_json(config.get("google", {})),
            custom=CustomServer.from_json(config.get("custom", {})),
            batches=BatchSettings.from_json(config.get("batches", {})),
            faults=FaultPlan.from_json(config.get("faults", {})),
            tools=ToolPlan.from_json(config.get("tools", {})),
            replay=_path(config.get("replay")),
            max_body_bytes=_whole(config, "max_body_bytes", default.max_body_bytes),
            max_cache_entries=_whole(config, "max_cache_entries", default.max_cache_entries),
            max_remembered_bodies=_whole(config, "max_remembered_bodies", default.max_remembered_bodies),
        )

    @staticmethod
    def from_file(path: Path) -> SandboxConfig:
        """Raises ConfigRefused; OSError when the file cannot be read."""
        try:
            value: Json = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigRefused(f"{path} is not JSON: {error}") from error
        return SandboxConfig.from_json(value)


def _hidden_prompt(value: Json) -> HiddenPrompt:
    hidden = object_of(value, "hidden_prompt")
    known_keys(hidden, {f.name for f in fields(HiddenPrompt)}, "hidden_prompt")
    try:
        return HiddenPrompt(**{name: _whole(hidden, name, 0) for name in hidden})
    except ValueError as error:
        raise ConfigRefused(str(error)) from error


def _path(value: Json) -> Path | None:
    if value is not None and not isinstance(value, str):
        raise ConfigRefused(f"replay must be the path of a file, or null, found {value!r}")
    return None if value is None else Path(value)


def _whole(value: JsonObject, key: str, default: int) -> int:
    found = number_of(value, key, default)
    if found != int(found):
        raise ConfigRefused(f"{key} must be a whole number, found {found}")
    return int(found)
