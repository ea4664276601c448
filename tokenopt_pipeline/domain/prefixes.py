"""Prefixes: everything of a request that comes before what differs, which is what providers cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from tokenopt_pipeline.domain.fingerprints import digest, digest_text, ordered_json

# Enough to tell parts apart; the whole is told apart by its own digest.
_SHORT_HEX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """The parts that decide whether two requests can share a cache entry. Equal parts, equal prefix."""

    model: str
    #: Digest of the system text.
    system: str
    #: Digest of the answer's schema: a change of it makes another prefix at every provider.
    output_schema: str
    #: Digest of how the answer is bound and how much the model thinks.
    manner: str
    #: Digest of the tools that are declared; empty: none are.
    tools: str = ""

    @property
    def fingerprint(self) -> str:
        """Digest of all parts."""
        return digest(asdict(self))

    def document(self) -> dict[str, str]:
        """As JSON values."""
        return asdict(self)


def prefix_of(
    *,
    model: str,
    system: str,
    output_schema: Mapping[str, object],
    output_method: str,
    thinking: str | None,
    tools: object = None,
) -> Prefix:
    """The prefix of a request with these parts."""
    return Prefix(
        model=model,
        system=digest_text(system)[:_SHORT_HEX],
        output_schema=digest_text(ordered_json(output_schema))[:_SHORT_HEX],
        manner=digest([output_method, thinking])[:_SHORT_HEX],
        tools=digest(tools)[:_SHORT_HEX] if tools else "",
    )
