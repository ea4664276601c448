"""What can be set about batches."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tokenopt_pipeline.sandbox.config_reading import ConfigRefused, known_keys, number_of, object_of
from tokenopt_pipeline.sandbox.json_value import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How the batches of every provider run; all times are simulated seconds."""

    turnaround_s: float = 2
    """From a batch's creation to its end; its items are worked off evenly, one after the other."""
    cancelling_s: float = 1
    """From the request to cancel to the end; recorded ones of OpenAI took ten minutes."""
    window_s: float = 24 * 3600
    """When a batch expires; Google's after twice that. https://platform.claude.com/docs/en/build-with-claude/batch-processing,
    https://developers.openai.com/api/docs/guides/batch, https://ai.google.dev/gemini-api/docs/batch-api, read 2026-11-22."""
    max_requests: int | None = None
    """Requests in one batch; None is each provider's own limit."""
    max_bytes: int | None = None
    """Bytes of one batch; None is each provider's own limit."""
    max_active: int = 100
    """Google's limit of jobs at a time."""

    def __post_init__(self) -> None:
        for name in ("turnaround_s", "cancelling_s"):
            if getattr(self, name) < 0:
                raise ConfigRefused(f"batches.{name} must be 0 or more, found {getattr(self, name)}")
        for name in ("window_s", "max_requests", "max_bytes", "max_active"):
            found = getattr(self, name)
            if found is not None and found <= 0:
                raise ConfigRefused(f"batches.{name} must be more than 0, found {found}")

    @staticmethod
    def from_json(value: Json) -> BatchSettings:
        """Raises ConfigRefused."""
        settings = object_of(value, "batches")
        known_keys(settings, {f.name for f in fields(BatchSettings)}, "batches")
        default = BatchSettings()

        def whole(name: str) -> int | None:
            if settings.get(name) is None:
                return None
            found = number_of(settings, name, 0)
            if found != int(found):
                raise ConfigRefused(f"batches.{name} must be a whole number, found {found}")
            return int(found)

        return BatchSettings(
            turnaround_s=number_of(settings, "turnaround_s", default.turnaround_s),
            cancelling_s=number_of(settings, "cancelling_s", default.cancelling_s),
            window_s=number_of(settings, "window_s", default.window_s),
            max_requests=whole("max_requests"),
            max_bytes=whole("max_bytes"),
            max_active=default.max_active if settings.get("max_active") is None else whole("max_active") or 0,
        )
