"""Tool servers as a policy declares them: how each is reached, what it may see, which of its tools may be called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from tokenopt_pipeline.domain.errors import PolicyInvalid

_MOST_SERVERS = 16
# Without `__`, which parts it from the tool's name, and short, so that tools' names keep room.
_SERVER_NAME = re.compile(r"[a-z](?:_?[a-z0-9])*")
_MOST_SERVER_CHARS = 24
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_URL = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?")
_MEMBERS = frozenset({"command", "args", "env", "url", "token_env", "builtin", "tools"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolServer:
    """One server of tools: a command that speaks over its standard streams, a URL, or the product's own server."""

    name: str
    #: The tools of the server that may be called, by its own names, sorted.
    tools: tuple[str, ...]
    #: None: it is not started by us.
    command: str | None = None
    args: tuple[str, ...] = ()
    #: Names of the environment variables the command gets beside PATH; it sees no other. Sorted.
    env: tuple[str, ...] = ()
    #: None: it has no address.
    url: str | None = None
    #: The environment variable that holds the bearer token for the URL; None: no token is sent.
    token_env: str | None = None
    #: Whether it is the product's own server (`tokenopt mcp serve`), in this process and scoped to the run.
    builtin: bool = False


def parse_servers(value: object, where: str) -> tuple[ToolServer, ...]:
    """The servers of a policy, sorted by name. `value` maps names to their members, or is the list of a snapshot.

    Raises PolicyInvalid naming the key, what was found and what is allowed.
    """
    named: Mapping[object, object]
    if isinstance(value, Mapping):
        named = value
    elif isinstance(value, list | tuple) and all(isinstance(each, Mapping) and "name" in each for each in value):
        named = {each["name"]: each for each in value}
    else:
        raise PolicyInvalid(f"{where} must map server names to servers")
    if len(named) > _MOST_SERVERS:
        raise PolicyInvalid(f"{where}: {len(named)} servers, allowed up to {_MOST_SERVERS}")
    return tuple(_server(name, named[name], where) for name in sorted(named, key=str))


def servers_document(servers: tuple[ToolServer, ...]) -> list[dict[str, object]]:
    """The servers as JSON values, complete."""
    return [{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(server).items()} for server in servers]


def _server(name: object, value: object, where: str) -> ToolServer:
    if not isinstance(name, str) or not _SERVER_NAME.fullmatch(name) or len(name) > _MOST_SERVER_CHARS:
        raise PolicyInvalid(
            f"{where}: server name {name!r}, allowed lower-case letters, digits and single _ , "
            f"led by a letter, up to {_MOST_SERVER_CHARS}"
        )
    at = f"{where}.{name}"
    if not isinstance(value, Mapping):
        raise PolicyInvalid(f"{at} must be a mapping")
    if unknown := sorted(str(key) for key in value if key not in _MEMBERS | {"name"}):
        raise PolicyInvalid(f"{at}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_MEMBERS))}")
    command, url, builtin = _text(value, "command", at), _text(value, "url", at), value.get("builtin", False)
    if not isinstance(builtin, bool):
        raise PolicyInvalid(f"{at}.builtin must be true or false")
    if (command is not None) + (url is not None) + builtin != 1:
        raise PolicyInvalid(f"{at} must have one of command, url and builtin: true")
    if url is not None and not _URL.fullmatch(url):
        # What stands before an @ is a password, so the value is not repeated.
        raise PolicyInvalid(f"{at}.url must be an http or https address without user, query or fragment")
    env, token_env = tuple(sorted(_texts(value, "env", at))), _text(value, "token_env", at)
    for variable in (*env, *((token_env,) if token_env is not None else ())):
        if not _VARIABLE.fullmatch(variable):
            # Somebody may have written the value instead of the name.
            raise PolicyInvalid(f"{at}: env and token_env name environment variables and hold no values")
    if command is None and (env or _texts(value, "args", at)):
        raise PolicyInvalid(f"{at}: args and env are for a command")
    if url is None and token_env is not None:
        raise PolicyInvalid(f"{at}.token_env is for a url; a command gets variables by env")
    tools = tuple(sorted(set(_texts(value, "tools", at))))
    if not tools:
        raise PolicyInvalid(f"{at}.tools must list the tools that may be called")
    return ToolServer(
        name=name,
        tools=tools,
        command=command,
        args=_texts(value, "args", at),
        env=env,
        url=url,
        token_env=token_env,
        builtin=builtin,
    )


def _text(members: Mapping[str, object], key: str, at: str) -> str | None:
    found = members.get(key)
    if found is not None and (not isinstance(found, str) or not found.strip() or "\0" in found):
        raise PolicyInvalid(f"{at}.{key} must be a text that is not empty")
    return found


def _texts(members: Mapping[str, object], key: str, at: str) -> tuple[str, ...]:
    found = members.get(key)
    if found is None:
        return ()
    if not isinstance(found, list | tuple) or not all(isinstance(each, str) and "\0" not in each for each in found):
        raise PolicyInvalid(f"{at}.{key} must be a list of texts")
    return tuple(found)
