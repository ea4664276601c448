"""What every vendor's connection is checked for before anything is sent, and how a stand-in is recognised."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tokenopt_pipeline.domain.errors import AuthenticationFailed, ProviderUnavailable

if TYPE_CHECKING:
    import ssl

#: A stand-in says so in every response.
SANDBOX_HEADER = "x-tokenopt-sandbox"
#: A proxy named in the environment is for the world outside this machine.
LOOPBACK_MOUNTS: dict[str, None] = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))

_SENDABLE = re.compile(r"[!-~]([ -~]*[!-~])?")


@cache
def tls() -> ssl.SSLContext:
    """The certificates that all clients of the process trust, those of the HTTP library; reading them takes 30 ms."""
    import httpx2

    return httpx2.create_ssl_context()


def check_base_url(vendor: str, url: str) -> None:
    """Raises ProviderUnavailable for what is no http or https address; a password in it is not repeated."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or not url.isprintable():
        shown = re.sub(r"//[^/]*@", "//", url)
        raise ProviderUnavailable(f"{vendor}: the base URL {shown!r} is not an http or https address")


def check_key(vendor: str, key: str | None) -> None:
    """Raises AuthenticationFailed for a key that no header can carry: later, the HTTP library would quote it."""
    if key and not _SENDABLE.fullmatch(key):
        raise AuthenticationFailed(
            f"{vendor}: the API key holds a character that no key has, such as a line break or space at its end"
        )
