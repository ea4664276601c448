"""The signed tokens Google puts on webhooks a job asked for itself.

Documented are RS256, the header `webhook-signature` and the key set at `/.well-known/jwks.json`; the claims, beyond an audience that
is the URL, are known from third parties only (https://github.com/hookdeck/webhook-skills, read 2026-11-26).
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING

from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_object

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_ISSUER = "https://generativelanguage.googleapis.com"
_KEY_ID = "sandbox-1"
# What a receiver of Standard Webhooks tolerates.
_LIVES_S = 300


class WebhookSeal:
    """One key, made when it is first needed."""

    @cached_property
    def _key(self) -> RSAPrivateKey:
        from cryptography.hazmat.primitives.asymmetric import rsa

        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def token(self, url: str, webhook_id: str, sent_s: int, body: bytes) -> str:
        """The event in `body`, signed for `url`."""
        import jwt

        event: Json = json.loads(body)
        claims = {"iss": _ISSUER, "aud": url, "iat": sent_s, "exp": sent_s + _LIVES_S, "jti": webhook_id}
        return jwt.encode({**as_object(event), **claims}, self._key, algorithm="RS256", headers={"kid": _KEY_ID})

    def public_keys(self) -> JsonObject:
        """The key set."""
        from jwt.algorithms import RSAAlgorithm

        key = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": _KEY_ID, "use": "sig", "alg": "RS256"}]}
