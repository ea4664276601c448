"""Marks only the sandbox can make: they tell, without any memory, whether it said something and whether that was changed."""

from __future__ import annotations

import base64
import hashlib
import hmac

from tokenopt_pipeline.sandbox.json_value import Json, compact

# No secret: what it signs is simulated. A constant, so that a conversation goes on after a restart.
_KEY = b"tokenopt sandbox"
_TAG_CHARS = 6


def digest_of(*said: Json) -> str:
    """A hexadecimal digest of `said`, 64 characters."""
    return hmac.new(_KEY, compact(list(said)).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def sealed(purpose: str, nonce: str, *said: Json) -> str:
    """An opaque text in base64, different for every `nonce`, which is 32 hexadecimal characters."""
    return base64.b64encode(bytes.fromhex(nonce + digest_of(purpose, nonce, *said))).decode()


def seals(text: str, purpose: str, *said: Json) -> bool:
    """Whether `text` is a seal of exactly this. Both alphabets of base64 are read."""
    found = _bytes(text)
    if len(found) != 48:
        return False
    nonce, digest = found[:16].hex(), found[16:].hex()
    return hmac.compare_digest(digest, digest_of(purpose, nonce, *said))


def tagged(head: str, fact: str) -> str:
    """An identifier that begins with `head` and says `fact` to the sandbox alone."""
    return head + digest_of("tag", head, fact)[:_TAG_CHARS]


def says(identifier: str, fact: str) -> bool:
    """Whether `identifier` was made by `tagged` with this fact."""
    return tagged(identifier[:-_TAG_CHARS], fact) == identifier


def _bytes(text: str) -> bytes:
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except ValueError:
        return b""
