"""Canonical bytes of a value, and hashes of them: the one way this product says that two things are the same."""

from __future__ import annotations

import hashlib
import json


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no spaces and no escaping of letters: equal values give equal text.

    Raises ValueError for NaN and infinities, which JSON cannot say.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object) -> str:
    """SHA-256 over the canonical JSON, 64 hex digits."""
    return digest_text(canonical_json(value))


def digest_text(text: str) -> str:
    """SHA-256 over the text's UTF-8 bytes, 64 hex digits. Lone surrogates hash as their escapes."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
