"""Tool servers in a policy: what is declared is taken whole, everything else is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.tool_servers import ToolServer, parse_servers, servers_document

_COMMAND = {"command": "npx", "args": ["-y", "files@1.2"], "env": ["HOME", "LANG"], "tools": ["write", "read", "read"]}
_URL = {"url": "https://tools.example.com/mcp", "token_env": "TOOLS_TOKEN", "tools": ["search"]}


def test_servers_are_taken_whole_and_sorted() -> None:
    own = {"builtin": True, "tools": ["get_block_batch"]}
    servers = parse_servers({"web": _URL, "files": _COMMAND, "own": own}, "bridge.servers")
    assert servers == (
        ToolServer(
            name="files", command="npx", args=("-y", "files@1.2"), env=("HOME", "LANG"), tools=("read", "write")
        ),
        ToolServer(name="own", builtin=True, tools=("get_block_batch",)),
        ToolServer(name="web", url="https://tools.example.com/mcp", token_env="TOOLS_TOKEN", tools=("search",)),
    )


def test_the_document_of_servers_survives_json_and_gives_them_again() -> None:
    servers = parse_servers({"web": _URL, "files": _COMMAND}, "bridge.servers")
    assert parse_servers(json.loads(json.dumps(servers_document(servers))), "snapshot") == servers


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param("npx", "must map server names", id="a text"),
        pytest.param([1], "must map server names", id="a list of numbers"),
        pytest.param([{"command": "x"}], "must map server names", id="a list without names"),
        pytest.param({f"s{i}": _URL for i in range(17)}, "17 servers, allowed up to 16", id="too many"),
        pytest.param({"a__b": _URL}, "server name 'a__b'", id="a name with two underscores"),
        pytest.param({"Files": _URL}, "server name 'Files'", id="a name with a capital"),
        pytest.param({"s" * 25: _URL}, "up to 24", id="a long name"),
        pytest.param({1: _URL}, "server name 1", id="a number for a name"),
        pytest.param({"s": "npx"}, "bridge.servers.s must be a mapping", id="a text for a server"),
        pytest.param({"s": {**_URL, "headers": {}}}, "unknown key 'headers'", id="an unknown member"),
        pytest.param({"s": {"tools": ["a"]}}, "one of command, url and builtin", id="no way to it"),
        pytest.param({"s": {**_URL, "command": "x"}}, "one of command, url and builtin", id="two ways to it"),
        pytest.param({"s": {**_URL, "builtin": True}}, "one of command, url and builtin", id="an own one elsewhere"),
        pytest.param({"s": {"builtin": 1, "tools": ["a"]}}, "s.builtin must be true or false", id="builtin a number"),
        pytest.param({"s": {"builtin": True, "env": ["A"], "tools": ["a"]}}, "are for a command", id="env for our own"),
        pytest.param({"s": {**_COMMAND, "command": " "}}, "s.command must be a text", id="an empty command"),
        pytest.param({"s": {**_COMMAND, "command": "a\0b"}}, "s.command must be a text", id="a NUL"),
        pytest.param({"s": {**_URL, "url": "ftp://x"}}, "s.url must be an http", id="another scheme"),
        pytest.param({"s": {**_URL, "url": "https://x/?key=1"}}, "without user, query", id="a query"),
        pytest.param({"s": {**_URL, "env": ["A"]}}, "are for a command", id="env for a url"),
        pytest.param({"s": {**_URL, "args": ["A"]}}, "are for a command", id="args for a url"),
        pytest.param({"s": {**_COMMAND, "token_env": "A"}}, "is for a url", id="a token for a command"),
        pytest.param({"s": {**_COMMAND, "args": "-y"}}, "s.args must be a list of texts", id="args as one text"),
        pytest.param({"s": {**_COMMAND, "args": [1]}}, "s.args must be a list of texts", id="args of numbers"),
        pytest.param({"s": {**_COMMAND, "tools": []}}, "s.tools must list", id="no tools"),
        pytest.param({"s": {"command": "x"}}, "s.tools must list", id="tools left out"),
    ],
)
def test_what_is_wrong_is_refused_by_name(value: Any, said: str) -> None:
    with pytest.raises(PolicyInvalid) as refused:
        parse_servers(value, "bridge.servers")
    assert said in str(refused.value)
    assert str(refused.value).startswith("bridge.servers")


@pytest.mark.parametrize(
    "members",
    [
        {**_URL, "url": "https://user:hunter2@tools.example.com/"},
        {**_URL, "token_env": "Bearer hunter2"},
        {**_COMMAND, "env": ["TOKEN=hunter2"]},
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(members: dict[str, Any]) -> None:
    with pytest.raises(PolicyInvalid) as refused:
        parse_servers({"s": members}, "bridge.servers")
    assert "hunter2" not in str(refused.value)
