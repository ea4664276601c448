"""What every provider does alike: one attempt, one client for all threads, no key in any message, tables that fit."""

from __future__ import annotations

import inspect
import json
import logging
import socket
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.adapters.http_connections import SANDBOX_HEADER
from tokenopt_pipeline.domain.errors import (
    AuthenticationFailed,
    ModelUnknown,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    TokenOptError,
)
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline_tests.adapters.anthropic_exchange import STATUSES, assert_one_line
from tokenopt_pipeline_tests.adapters.provider_exchange import (
    KEY,
    VENDORS,
    Exchange,
    a_body,
    a_request_to,
    answering,
    error_of,
    failing,
)
from tokenopt_pipeline_tests.conformance.behaviours import promised
from tokenopt_pipeline_tests.domain.generated import JSON_VALUES, examples

each_vendor = pytest.mark.parametrize("vendor", VENDORS)
_KEY_VARIABLES = [("anthropic", "ANTHROPIC_API_KEY"), ("openai", "OPENAI_API_KEY"), ("google", "GEMINI_API_KEY")]
_PAGE = "<!DOCTYPE html><html><body><h1>Bad gateway</h1></body></html>"


@promised("answer-with-usage")
@each_vendor
def test_an_answer_is_read_with_its_usage(vendor: str) -> None:
    response = answering(vendor).complete()
    assert (response.text, response.usage) == ('{"results": []}', TokenUsage(input_uncached=10, output=2))


@promised("simulated-told")
@each_vendor
def test_the_sandbox_header_alone_makes_an_answer_simulated(vendor: str) -> None:
    assert answering(vendor, headers={SANDBOX_HEADER: "1"}).complete().simulated
    assert not answering(vendor).complete().simulated


@promised("one-attempt")
@each_vendor
@pytest.mark.parametrize("headers", [{"x-should-retry": "true"}, {"retry-after": "0"}, {"retry-after-ms": "1"}])
@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_the_sdk_never_tries_again_by_itself(vendor: str, status: int, headers: dict[str, str]) -> None:
    exchange = answering(vendor, status, body={"error": {"message": "no"}}, headers=headers)
    error_of(exchange)
    assert len(exchange.sent) == 1


@promised("timeout")
@each_vendor
def test_the_timeout_reaches_the_http_library(vendor: str) -> None:
    exchange = answering(vendor)
    exchange.complete(timeout_s=7.5)
    assert exchange.sent[0].extensions["timeout"] == {"connect": 7.5, "read": 7.5, "write": 7.5, "pool": 7.5}


@promised("long-answers")
@each_vendor
def test_many_output_tokens_are_asked_for_without_streaming(vendor: str) -> None:
    assert answering(vendor).complete(a_request_to(vendor, max_tokens=128_000)).text


@promised("threads")
@each_vendor
def test_eight_threads_share_one_client_and_each_gets_its_own_answer(vendor: str) -> None:
    def echo(request: httpx2.Request) -> httpx2.Response:
        said = next(word for word in request.content.decode().split('"') if word.startswith("block "))
        return httpx2.Response(200, json=a_body(vendor, said))

    exchange = Exchange(vendor, echo)
    with ThreadPoolExecutor(8) as pool:
        asked = [a_request_to(vendor, user=f"block {i}") for i in range(64)]
        answers = list(pool.map(lambda request: exchange.complete(request).text, asked))
    assert answers == [f"block {i}" for i in range(64)]


def transport_errors() -> list[str]:
    return [n for n, c in vars(httpx2).items() if inspect.isclass(c) and issubclass(c, Exception)]


@promised("transport-errors")
@each_vendor
@pytest.mark.parametrize("name", transport_errors())
def test_every_error_of_the_http_library_means_that_the_provider_is_unavailable(vendor: str, name: str) -> None:
    error = getattr(httpx2, name)
    exchange = failing(vendor, error.__new__(error, "reset by peer"))
    problem = error_of(exchange)
    assert isinstance(problem, ProviderUnavailable)
    assert_one_line(problem)
    assert len(exchange.sent) == 1


@promised("may-be-billed")
@each_vendor
@pytest.mark.parametrize(
    ("name", "may_be_billed"),
    [
        ("ReadTimeout", True),
        ("WriteTimeout", True),
        ("ReadError", True),
        ("RemoteProtocolError", True),
        ("ConnectError", False),
        ("ConnectTimeout", False),
        ("PoolTimeout", False),
        ("UnsupportedProtocol", False),
    ],
)
def test_only_what_broke_after_it_was_sent_may_be_billed(vendor: str, name: str, may_be_billed: bool) -> None:
    error = getattr(httpx2, name)
    problem = error_of(failing(vendor, error.__new__(error, "reset by peer")))
    assert isinstance(problem, ProviderUnavailable)
    assert problem.may_be_billed is may_be_billed


@promised("may-be-billed")
@each_vendor
def test_an_answer_that_cannot_be_read_may_be_billed_and_a_refusal_is_not(vendor: str) -> None:
    unread, refused = error_of(answering(vendor, 200, text="OK")), error_of(answering(vendor, 500, text="no"))
    assert isinstance(unread, ProviderUnavailable)
    assert isinstance(refused, ProviderUnavailable)
    assert (unread.may_be_billed, refused.may_be_billed) == (True, False)


@promised("odd-bodies")
@each_vendor
@pytest.mark.parametrize(
    ("status", "raw", "ours", "said"),
    [
        pytest.param(502, {"html": _PAGE}, ProviderUnavailable, "502: no message", id="502 page"),
        pytest.param(200, {"html": _PAGE}, ProviderUnavailable, "cannot be read", id="200 page"),
        pytest.param(404, {"html": _PAGE}, ModelUnknown, "does the base URL lead", id="404 page"),
        pytest.param(502, {"text": "upstream\nreset"}, ProviderUnavailable, "upstream reset", id="502 text"),
        pytest.param(429, {"text": "slow down"}, RateLimited, "slow down", id="429 text"),
        pytest.param(200, {"text": "OK"}, ProviderUnavailable, "cannot be read", id="200 text"),
        pytest.param(500, {"content": b""}, ProviderUnavailable, "no message", id="500 empty"),
        pytest.param(200, {"content": b""}, ProviderUnavailable, "cannot be read", id="200 empty"),
        pytest.param(500, {"content": b'{"error":{"mess'}, ProviderUnavailable, '{"error":{"mess', id="500 cut"),
        pytest.param(200, {"content": b'{"id":"x","ou'}, ProviderUnavailable, "cannot be read", id="200 cut"),
        pytest.param(200, {"content": b"\xff\xfe\x00"}, ProviderUnavailable, "cannot be read", id="200 bytes"),
        pytest.param(500, {"content": b"\xff\xfe\x00"}, ProviderUnavailable, "", id="500 bytes"),
        pytest.param(200, {"content": b"[" * 100_000}, ProviderUnavailable, "cannot be read", id="200 deep"),
        pytest.param(400, {"json": {"error": "bad model"}}, RequestRejected, "bad model", id="gateway error"),
        pytest.param(422, {"json": {"detail": "no such field"}}, RequestRejected, "no such field", id="gateway detail"),
        pytest.param(500, {"json": None}, ProviderUnavailable, "no message", id="500 null"),
        pytest.param(418, {"json": {"error": {"message": {"a": 1}}}}, RequestRejected, "no message", id="odd message"),
    ],
)
def test_what_is_no_error_body_of_the_api_is_told_in_one_line(
    vendor: str, status: int, raw: dict[str, Any], ours: type[TokenOptError], said: str
) -> None:
    problem = error_of(answering(vendor, status, **raw))
    assert type(problem) is ours
    assert said in str(problem)
    assert_one_line(problem)


@promised("retry-after")
@each_vendor
@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_time_to_wait_is_read_in_whatever_form_it_comes(
    vendor: str, status: int, headers: dict[str, str], wait_s: float | None
) -> None:
    problem = error_of(answering(vendor, status, body={"error": {"message": "no"}}, headers=headers))
    assert isinstance(problem, RateLimited | ProviderUnavailable)
    assert problem.retry_after_s == wait_s


@promised("odd-bodies")
@each_vendor
@given(body=JSON_VALUES, status=st.sampled_from([200, 400, 429, 500]))
@examples(60)
def test_no_json_gets_past_the_mapping(vendor: str, body: object, status: int) -> None:
    content = json.dumps(body).encode()
    assert_one_line(error_of(Exchange(vendor, lambda _: httpx2.Response(status, content=content))))


# --- addresses and keys


@promised("bad-address")
@each_vendor
@pytest.mark.parametrize(
    "url", ["localhost:8080", "nonsense", "ftp://host/", "http://", "http://host:port", "http:///v1"]
)
def test_a_malformed_base_url_is_refused_in_one_line_before_anything_is_sent(vendor: str, url: str) -> None:
    exchange = Exchange(vendor, lambda _: httpx2.Response(200), base_url=url)
    problem = error_of(exchange)
    assert isinstance(problem, ProviderUnavailable)
    assert "base URL" in str(problem)
    assert_one_line(problem)
    assert exchange.sent == []


@promised("no-secret-told")
@each_vendor
def test_a_password_in_a_refused_base_url_is_not_repeated(vendor: str) -> None:
    exchange = Exchange(vendor, lambda _: httpx2.Response(200), base_url="ftp://me:hunter2@host")
    assert "hunter2" not in str(error_of(exchange))


@promised("nobody-there")
@each_vendor
def test_nobody_listening_is_told_with_the_reason(vendor: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        provider = VENDORS[vendor][0](api_key=KEY, base_url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(ProviderUnavailable, match="refused"):
            provider.complete(a_request_to(vendor), timeout_s=5)


@promised("bad-key")
@each_vendor
@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}", f"“{KEY}”", "\t"])
def test_a_key_that_no_header_can_carry_is_refused_before_anything_is_sent(vendor: str, key: str) -> None:
    exchange = Exchange(vendor, lambda _: httpx2.Response(200), api_key=key)
    problem = error_of(exchange)
    assert isinstance(problem, AuthenticationFailed)
    assert KEY not in "".join(traceback.format_exception(problem))
    assert exchange.sent == []


def _quoting(vendor: str, status: int) -> Exchange:
    """A gateway that tells what it was sent."""
    return answering(vendor, status, body={"error": {"message": f"bad header Bearer {KEY} for {KEY}"}})


@promised("no-secret-told")
@each_vendor
@pytest.mark.parametrize(
    "make",
    [
        *(pytest.param(lambda v, s=s: answering(v, s, body={"error": {}}), id=str(s)) for s in STATUSES),
        *(pytest.param(lambda v, s=s: _quoting(v, s), id=f"{s} quoting") for s in (200, 400, 401, 429, 500)),
        pytest.param(lambda v: answering(v, 502, text=f"Authorization: Bearer {KEY}"), id="text quoting"),
        pytest.param(lambda v: answering(v, 502, text=f"{'x' * 275} {KEY}"), id="text cut inside the key"),
        pytest.param(lambda v: answering(v, 200, text=f"Bearer {KEY}"), id="200 quoting"),
        pytest.param(lambda v: failing(v, httpx2.ConnectError(f"proxy refused {KEY}")), id="transport quoting"),
        pytest.param(
            lambda v: failing(v, httpx2.LocalProtocolError(f"Illegal header value {KEY}")), id="header quoting"
        ),
    ],
)
def test_the_key_is_in_no_message_no_traceback_and_no_log(
    vendor: str, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    exchange = make(vendor)
    problem = error_of(exchange)
    assert KEY in str(exchange.sent[0].headers.raw)
    for told in (str(problem), repr(problem), "".join(traceback.format_exception(problem)), caplog.text):
        assert KEY[:16] not in told
    assert KEY[:16] not in repr(exchange.provider)


@promised("no-secret-told")
@pytest.mark.parametrize(("vendor", "name"), _KEY_VARIABLES)
def test_a_key_of_the_environment_is_not_repeated_either(
    vendor: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    monkeypatch.setenv(name, KEY)
    body = {"error": {"message": f"bad key {KEY}"}}
    problem = error_of(Exchange(vendor, lambda _: httpx2.Response(500, json=body), api_key=None))
    assert "[key]" in str(problem)
    assert KEY not in "".join(traceback.format_exception(problem))


def test_no_sdk_is_imported_before_it_is_called() -> None:
    code = (
        "import sys, tokenopt_pipeline.adapters.openai as o, tokenopt_pipeline.adapters.google as g,"
        " tokenopt_pipeline.adapters.custom as c; o.OpenAIProvider(); g.GoogleProvider();"
        " c.CustomProvider(base_url='http://x'); print([m for m in ('openai', 'google.genai', 'httpx2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
