"""Providers: the vendors this product knows, and servers of their own that people declare in their policy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.places import Places

#: Names that mean the vendor itself, so that no server of a policy may have them.
VENDORS = ("anthropic", "openai", "google")

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
# What every system takes as the name of a variable; it also keeps keys out, which have other characters.
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,127}")
_MEMBERS = frozenset({"base_url", "api_key_env", "capability"})


class Capability(StrEnum):
    """How a server can be made to answer in JSON, the best first."""

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    PROMPT_ONLY = "prompt_only"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomServer:
    """A server that speaks Chat Completions. Its key stays in the environment; only the variable's name is policy."""

    #: Where `/chat/completions` is added.
    base_url: str
    #: Variable of the environment that holds the key; None: requests carry none.
    api_key_env: str | None = None
    #: None: found out by asking.
    capability: Capability | None = None


def parse_providers(values: Mapping[str, object], places: Places) -> dict[str, CustomServer]:
    """The providers section of a policy: name -> server, in the order of the names.

    Raises PolicyInvalid naming the layer, its line and the key.
    """
    return {name: _server(name, values[name], places.of(f"providers.{name}")) for name in sorted(values)}


def _server(name: str, value: object, where: str) -> CustomServer:
    if name in VENDORS or not _NAME.fullmatch(name):
        raise PolicyInvalid(f"{where}: a name of your own is needed, {_NAME.pattern} and none of {', '.join(VENDORS)}")
    if not isinstance(value, Mapping):
        raise PolicyInvalid(f"{where} must be a mapping with base_url, found {value!r}")
    if unknown := sorted(str(key) for key in value if key not in _MEMBERS):
        raise PolicyInvalid(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_MEMBERS))}")
    variable, capability = value.get("api_key_env"), value.get("capability")
    if variable is not None and not (isinstance(variable, str) and _VARIABLE.fullmatch(variable)):
        # Somebody may have put the key itself here, so what was found is not repeated.
        raise PolicyInvalid(f"{where}.api_key_env must be the name of a variable such as LOCAL_API_KEY, not the key")
    if capability is not None and capability not in tuple(Capability):
        raise PolicyInvalid(f"{where}.capability = {capability!r}, allowed {', '.join(Capability)} or null")
    return CustomServer(
        base_url=_base_url(value.get("base_url"), f"{where}.base_url"),
        api_key_env=variable,
        capability=None if capability is None else Capability(capability),
    )


def _base_url(value: object, where: str) -> str:
    problem = PolicyInvalid(f"{where} must be an http or https address such as http://127.0.0.1:8000/v1")
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise problem
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
        parts = urlsplit("")
    if not usable:
        raise problem
    if parts.username is not None or parts.query or parts.fragment:
        # A policy is stored and shown; an address with a password or a token in it would be, too.
        raise PolicyInvalid(f"{where} must hold no user, password or query: put the key into a variable, api_key_env")
    return value.rstrip("/")
