"""Keys and addresses: missing, malformed, and never repeated."""

from __future__ import annotations

import logging
import socket
import threading
import traceback
from typing import Any

import httpx2
import pytest

from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.domain.errors import (
    AuthenticationFailed,
    ProviderUnavailable,
    RequestRejected,
)
from tokenopt_pipeline.sandbox.in_process import running_sandbox
from tokenopt_pipeline_tests.adapters.anthropic_exchange import (
    KEY,
    STATUSES,
    Exchange,
    an_error,
    answering,
    assert_one_line,
    error_of,
    failing,
)
from tokenopt_pipeline_tests.factories import a_request


@pytest.fixture
def without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(tmp_path))


@pytest.mark.usefixtures("without_credentials")
def test_without_any_key_authentication_fails_before_anything_is_sent() -> None:
    exchange = Exchange(lambda _: httpx2.Response(200), api_key=None)
    problem = error_of(exchange)
    assert isinstance(problem, AuthenticationFailed)
    assert_one_line(problem)
    assert exchange.sent == []


@pytest.mark.usefixtures("without_credentials")
def test_a_profile_that_does_not_exist_is_trouble_with_authentication(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_PROFILE", "nobody")
    assert isinstance(error_of(Exchange(lambda _: httpx2.Response(200), api_key=None)), AuthenticationFailed)


@pytest.mark.parametrize(
    "url", ["localhost:8080", "nonsense", "ftp://host/", "http://", "http://host:port", "http://\x00", "http:///v1"]
)
def test_a_malformed_base_url_is_refused_in_one_line_before_anything_is_sent(url: str) -> None:
    exchange = Exchange(lambda _: httpx2.Response(200), base_url=url)
    problem = error_of(exchange)
    assert isinstance(problem, ProviderUnavailable)
    assert "base URL" in str(problem)
    assert_one_line(problem)
    assert exchange.sent == []


def test_a_password_in_a_refused_base_url_is_not_repeated() -> None:
    assert "hunter2" not in str(error_of(Exchange(lambda _: httpx2.Response(200), base_url="ftp://me:hunter2@host")))


def test_nobody_listening_is_told_with_the_reason() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        provider = AnthropicProvider(api_key=KEY, base_url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(ProviderUnavailable, match="refused"):
            provider.complete(a_request(), timeout_s=5)


def test_a_connection_that_is_reset_is_tried_once() -> None:
    accepted = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reset() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                accepted.append(1)
                connection.close()

        thread = threading.Thread(target=reset, daemon=True)
        thread.start()
        provider = AnthropicProvider(api_key=KEY, base_url=f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(ProviderUnavailable):
            provider.complete(a_request(), timeout_s=5)
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    assert len(accepted) == 1


def test_text_that_no_request_can_carry_is_rejected_and_not_tried_again() -> None:
    exchange = answering()
    assert isinstance(error_of(exchange, a_request(system="half \ud800")), RequestRejected)
    assert exchange.sent == []


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\r", f" {KEY}", f"“{KEY}”", "\t"])
def test_a_key_that_no_header_can_carry_is_refused_before_anything_is_sent(key: str) -> None:
    exchange = Exchange(lambda _: httpx2.Response(200), api_key=key)
    problem = error_of(exchange)
    assert isinstance(problem, AuthenticationFailed)
    assert KEY not in "".join(traceback.format_exception(problem))
    assert exchange.sent == []


def test_a_bad_header_of_the_environment_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-secret: hunter2\rx")
    with running_sandbox() as sandbox:
        provider = AnthropicProvider(api_key=KEY, base_url=sandbox.anthropic_url)
        with pytest.raises(AuthenticationFailed, match="a header of the request") as caught:
            provider.complete(a_request(), timeout_s=5)
    assert "hunter2" not in str(caught.value)


def _quoting(status: int) -> Exchange:
    """A gateway that tells what it was sent."""
    return answering(status, body=an_error(message=f"bad header Bearer {KEY} for {KEY}"))


@pytest.mark.parametrize(
    "exchange",
    [
        *(pytest.param(answering(status, body=an_error()), id=str(status)) for status in STATUSES),
        *(pytest.param(_quoting(status), id=f"{status} quoting") for status in (200, 400, 401, 429, 500)),
        pytest.param(answering(502, text=f"Authorization: Bearer {KEY}"), id="text quoting"),
        pytest.param(answering(200, text=f"Bearer {KEY}"), id="200 quoting"),
        pytest.param(failing(httpx2.ConnectError(f"proxy refused {KEY}")), id="transport quoting"),
        pytest.param(failing(httpx2.ReadTimeout("slow")), id="timeout"),
        pytest.param(failing(httpx2.LocalProtocolError(f"Illegal header value b'Bearer {KEY}'")), id="header quoting"),
    ],
)
def test_the_key_is_in_no_message_no_traceback_and_no_log(exchange: Exchange, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    problem = error_of(exchange)
    assert exchange.sent[0].headers["authorization"] == f"Bearer {KEY}"
    for told in (str(problem), repr(problem), "".join(traceback.format_exception(problem)), caplog.text):
        assert KEY not in told
    assert KEY not in repr(exchange.provider)


def test_the_key_is_not_even_in_the_sdks_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answering().complete()
    error_of(answering(401, body=an_error()))
    assert caplog.records
    assert KEY not in caplog.text
