"""Every environment variable this product reads, typed, read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

# As the SDK finds its credentials; with one of them set, the sandbox is never started.
_ANTHROPIC_CREDENTIALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The environment of a process."""

    #: Embedded data, Dagster's home and the supervisors' state.
    home: Path
    #: The Postgres to use; None: the embedded one.
    database_url: str | None
    has_anthropic_credentials: bool
    #: Where the Anthropic SDK will look; None: the vendor.
    anthropic_base_url: str | None


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in the environment; empty variables count as unset."""
    env = os.environ if environment is None else environment
    home = env.get("TOKENOPT_HOME") or _default_home()
    return Settings(
        home=Path(home).expanduser().resolve(),
        database_url=env.get("TOKENOPT_DATABASE_URL") or None,
        has_anthropic_credentials=any(env.get(name) for name in _ANTHROPIC_CREDENTIALS),
        anthropic_base_url=env.get("ANTHROPIC_BASE_URL") or None,
    )


def _default_home() -> str:
    # Postgres refuses to run as root and takes another user, who cannot look into root's own home.
    return "/var/lib/tokenopt" if os.geteuid() == 0 else platformdirs.user_data_dir("tokenopt")
