"""What every vendor's error door does alike: read error bodies and waiting times, and keep secrets out of what is told."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from tokenopt_pipeline.domain.errors import AuthenticationFailed, ProviderUnavailable, TokenOptError

if TYPE_CHECKING:
    import httpx2

#: Longest part of a message that somebody else wrote.
MOST_CHARS = 300
# Shorter ones, such as the sandbox's, are words that messages use.
_SHORTEST_SECRET_CHARS = 12


@contextmanager
def door(
    *sdk_errors: type[Exception],
    mapped: Callable[[Exception], TokenOptError | None],
    secrets: Callable[[], Iterable[str]],
) -> Iterator[None]:
    """Lets out our errors only, for errors of an SDK and of the HTTP library below it; no message repeats a secret.

    `mapped` gives our error for one of theirs; None means that it is our own mistake, which is not hidden.
    """
    import httpx2

    ours_and_theirs: tuple[type[Exception], ...] = (
        TokenOptError,
        *sdk_errors,
        httpx2.HTTPError,
        httpx2.StreamError,
        httpx2.InvalidURL,
        httpx2.CookieConflict,
        TypeError,
        ValueError,
    )
    try:
        yield
    except ours_and_theirs as problem:
        ours = problem if isinstance(problem, TokenOptError) else mapped(problem)
        if ours is None:
            raise
        if isinstance(ours, ProviderUnavailable) and _broke_after_sending(problem):
            ours.may_be_billed = True
        hidden = [secret for secret in secrets() if len(secret) >= _SHORTEST_SECRET_CHARS]
        # The HTTP library quotes the header it refuses, and a header may be a key that we do not know of.
        quotes_header = isinstance(problem.__cause__ or problem, httpx2.LocalProtocolError)
        told = [str(ours), *_told(problem)]
        if quotes_header or any(secret[:_SHORTEST_SECRET_CHARS] in text for secret in hidden for text in told):
            # A gateway may quote the key it was sent: neither the message nor what is printed below it may repeat it.
            ours.args = tuple(_redacted(str(arg), hidden) for arg in ours.args)
            raise ours from None
        if ours is problem:
            raise
        raise ours from problem


def _broke_after_sending(problem: BaseException) -> bool:
    """Whether the connection ended, or time ran out, when the request was on its way or there already."""
    import httpx2

    unsent = httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout | httpx2.LocalProtocolError
    broke = httpx2.TimeoutException | httpx2.NetworkError | httpx2.RemoteProtocolError | httpx2.StreamError
    found: BaseException | None = problem
    while found is not None:
        if isinstance(found, unsent):
            return False
        if isinstance(found, broke):
            return True
        found = found.__cause__
    return False


def transport_error(vendor: str, problem: Exception) -> TokenOptError | None:
    """Ours for an error of the HTTP library, bare or behind an SDK's connection error; None for any other."""
    import httpx2

    if isinstance(problem, httpx2.InvalidURL):
        return ProviderUnavailable(f"{vendor}: the base URL cannot be used: {one_line(problem)}")
    cause = problem.__cause__ or problem
    if isinstance(cause, httpx2.LocalProtocolError) and "header" in str(cause).lower():
        # Its message quotes the header, and headers carry keys.
        return AuthenticationFailed(f"{vendor}: a header of the request holds a character that HTTP does not allow")
    if not isinstance(problem, httpx2.HTTPError | httpx2.StreamError | httpx2.CookieConflict):
        return None
    return ProviderUnavailable(f"{vendor}: {one_line(problem)}")


def one_line(problem: BaseException) -> str:
    """What the error says, on one line of bounded length; its name when it says nothing."""
    return (" ".join(str(problem).split()) or type(problem).__name__)[:MOST_CHARS]


def body_of(response: httpx2.Response) -> object:
    """The JSON of a response, otherwise its text."""
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return response.text


def error_in(body: object) -> dict[str, Any] | None:
    """The error object of an error body; None when the body is none."""
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else None


def words_in(body: object) -> str:
    """What an error body says, in one line, whoever wrote it: the API, a gateway or a web server."""
    error = error_in(body) or {}
    outer = body if isinstance(body, dict) else {}
    candidates = (
        error.get("message"),
        outer.get("error"),
        outer.get("message"),
        outer.get("detail"),
        error.get("type"),
    )
    # The markup of an error page says nothing.
    page = body if isinstance(body, str) and not body.lstrip().startswith("<") else None
    found = (" ".join(said.split()) for said in (*candidates, page) if isinstance(said, str))
    return next(filter(None, found), "no message")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that the headers ask to wait, in whatever form they do; None when they do not."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            wait = float(value) * unit
        except ValueError:
            wait = _until_s(value)
        if math.isfinite(wait):
            return max(wait, 0.0)
    return None


def _until_s(date: str) -> float:
    """Seconds until an HTTP date; NaN for what is none."""
    try:
        then = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return math.nan
    # An HTTP date without a zone, or with -0000, means UTC.
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return (then - datetime.now(UTC)).total_seconds()  # noqa: TID251 - a date means nothing without now


def _told(problem: BaseException | None) -> Iterator[str]:
    """What a traceback would print of the error and those behind it."""
    while problem is not None:
        yield f"{problem!r} {problem}"
        problem = problem.__cause__ or problem.__context__


def _redacted(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        # A message that was cut may end inside the secret.
        cut = re.escape(secret[:_SHORTEST_SECRET_CHARS]) + r"[\w.~+/=-]*"
        text = re.sub(cut, "[key]", text.replace(secret, "[key]"))
    return text
