"""What can be set about the Google dialect."""

from __future__ import annotations

from dataclasses import dataclass

from tokenopt_pipeline.sandbox.config_reading import ConfigRefused, known_keys, number_of, object_of
from tokenopt_pipeline.sandbox.json_value import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleSettings:
    """One sandbox's Google."""

    implicit_hit_share: float = 1.0
    """Share of requests, drawn by body, that may read from the implicit cache; the real one promises none."""

    def __post_init__(self) -> None:
        if not 0 <= self.implicit_hit_share <= 1:
            raise ConfigRefused(f"implicit_hit_share must lie between 0 and 1, found {self.implicit_hit_share}")

    @staticmethod
    def from_json(value: Json) -> GoogleSettings:
        """Raises ConfigRefused."""
        settings = object_of(value, "google")
        known_keys(settings, {"implicit_hit_share"}, "google")
        return GoogleSettings(implicit_hit_share=number_of(settings, "implicit_hit_share", 1.0))
