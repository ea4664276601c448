"""Every environment variable this product reads, typed, read once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

# As each vendor's SDK finds them: the variables of which one holds a credential, and the one that moves its address.
_VENDORS = {
    "anthropic": (("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE"), "ANTHROPIC_BASE_URL"),
    "openai": (("OPENAI_API_KEY",), "OPENAI_BASE_URL"),
    "google": (("GEMINI_API_KEY", "GOOGLE_API_KEY"), "GOOGLE_GEMINI_BASE_URL"),
}
#: Provider -> the variable with its webhooks' secret; OpenAI's is the one its SDK reads. Anthropic has no webhooks for batches.
WEBHOOK_VARIABLES = {"openai": "OPENAI_WEBHOOK_SECRET", "google": "TOKENOPT_GOOGLE_WEBHOOK_SECRET"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorSettings:
    """What the environment says of one vendor. Its key stays in the environment, where the SDK finds it."""

    has_credentials: bool
    #: Variable that a key is usually put into, for messages.
    key_variable: str
    #: Where the SDK will look; None: the vendor.
    base_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The environment of a process."""

    #: Embedded data, Dagster's home and the supervisors' state.
    home: Path
    #: The Postgres to use; None: the embedded one.
    database_url: str | None
    #: Vendor -> what the environment says of it.
    vendors: Mapping[str, VendorSettings]
    #: Where `custom/…` embedders are asked, and with which key; None: nowhere, no key.
    embeddings_base_url: str | None = None
    embeddings_api_key: str | None = field(default=None, repr=False)
    #: Provider -> the secret its webhooks are signed with.
    webhook_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: What clients of our own tool server have to show; None: one is made up for each server.
    mcp_token: str | None = None
    #: Folder of real documents that benchmarks measure on; None: it is not on this machine.
    documents: Path | None = None
    #: Whether this is a continuous integration job, where nothing may be bought.
    in_ci: bool = False

    @property
    def has_credentials(self) -> bool:
        """Whether any vendor has a key; then the sandbox is never started."""
        return any(vendor.has_credentials for vendor in self.vendors.values())


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in the environment; empty variables count as unset."""
    env = os.environ if environment is None else environment
    home = env.get("TOKENOPT_HOME") or _default_home()
    return Settings(
        home=Path(home).expanduser().resolve(),
        database_url=env.get("TOKENOPT_DATABASE_URL") or None,
        webhook_secrets={name: env[variable] for name, variable in WEBHOOK_VARIABLES.items() if env.get(variable)},
        mcp_token=env.get("TOKENOPT_MCP_TOKEN") or None,
        documents=_documents(env.get("TOKENOPT_SHARED")),
        in_ci=env.get("CI", "").lower() not in ("", "0", "false"),
        vendors={
            name: VendorSettings(
                has_credentials=any(env.get(variable) for variable in keys),
                key_variable=keys[0],
                base_url=env.get(base_url) or None,
            )
            for name, (keys, base_url) in _VENDORS.items()
        },
        embeddings_base_url=env.get("TOKENOPT_EMBEDDINGS_BASE_URL") or None,
        embeddings_api_key=env.get("TOKENOPT_EMBEDDINGS_API_KEY") or None,
    )


def variables(names: Iterable[str], environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that a policy names, those of them that are set and not empty."""
    env = os.environ if environment is None else environment
    return {name: env[name] for name in names if env.get(name)}


def read_key(variable: str, environment: Mapping[str, str] | None = None) -> str | None:
    """The key that a policy's `api_key_env` names; None when the variable is unset or empty."""
    return (os.environ if environment is None else environment).get(variable) or None


def _documents(shared: str | None) -> Path | None:
    """`data` in the named folder, or in one called shared beside the checkout."""
    folder = Path(shared).expanduser() if shared else Path(__file__).parents[2] / "shared"
    return folder / "data" if (folder / "data").is_dir() else None


def _default_home() -> str:
    # Postgres refuses to run as root and takes another user, who cannot look into root's own home.
    return "/var/lib/tokenopt" if os.geteuid() == 0 else platformdirs.user_data_dir("tokenopt")
