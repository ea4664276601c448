"""Servers of one's own, as a policy declares them."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.places import Places
from tokenopt_pipeline.domain.providers import VENDORS, Capability, CustomServer, parse_providers

_URL = "http://127.0.0.1:8000/v1"


def test_a_server_needs_no_more_than_its_address() -> None:
    assert parse_providers({"local": {"base_url": f"{_URL}/"}}, Places()) == {"local": CustomServer(base_url=_URL)}


def test_a_server_says_where_its_key_is_and_what_it_can_do() -> None:
    told = {"base_url": "https://gateway.test/v1", "api_key_env": "GATEWAY_KEY", "capability": "json_object"}
    assert parse_providers({"gw": told}, Places())["gw"] == CustomServer(
        base_url="https://gateway.test/v1", api_key_env="GATEWAY_KEY", capability=Capability.JSON_OBJECT
    )


def test_servers_come_in_the_order_of_their_names() -> None:
    assert list(parse_providers({"b": {"base_url": _URL}, "a": {"base_url": _URL}}, Places())) == ["a", "b"]


@pytest.mark.parametrize("name", [*VENDORS, "", "Local", "a/b", "1st", "a b", "a" * 33])
def test_a_name_that_is_a_vendors_or_no_plain_word_is_refused(name: str) -> None:
    with pytest.raises(PolicyInvalid, match="a name of your own is needed"):
        parse_providers({name: {"base_url": _URL}}, Places())


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ("http://x", "providers.s must be a mapping with base_url"),
        ({}, "providers.s.base_url must be an http or https address"),
        ({"base_url": "localhost:8000"}, "providers.s.base_url must be"),
        ({"base_url": "http://host:port/v1"}, "providers.s.base_url must be"),
        ({"base_url": "http://host:0/v1"}, "providers.s.base_url must be"),
        ({"base_url": "http://a b/"}, "providers.s.base_url must be"),
        ({"base_url": "http://[::1/v1"}, "providers.s.base_url must be"),
        ({"base_url": "ftp://host/v1"}, "providers.s.base_url must be"),
        ({"base_url": "http://me:secret@host/v1"}, "no user, password or query"),
        ({"base_url": "http://host/v1?key=secret"}, "no user, password or query"),
        ({"base_url": _URL, "capability": "magic"}, "providers.s.capability = 'magic', allowed json_schema"),
        ({"base_url": _URL, "key": "x"}, "providers.s: unknown key 'key'; known: api_key_env"),
        ({"base_url": _URL, "api_key_env": "sk-secret-123"}, "api_key_env must be the name of a variable"),
        ({"base_url": _URL, "api_key_env": 7}, "api_key_env must be the name of a variable"),
    ],
)
def test_what_is_no_server_is_refused_in_one_line_without_a_secret(server: Any, told: str) -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        parse_providers({"s": server}, Places(sources={"providers.s": "file"}))
    assert str(refusal.value).startswith("file: ")
    assert told in str(refusal.value)
    assert "secret" not in str(refusal.value)
