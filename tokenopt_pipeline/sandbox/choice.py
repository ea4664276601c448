"""Choices that look free and are not: each is a function of a field's path and its block's text alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The place a value is chosen for."""

    text_digest: bytes
    """Digest of the block's text."""
    path: str = ""
    """Dotted path from the block's own answer, so that packing does not change it."""
    attempt: int = 0
    """Which try this is, when an earlier answer did not validate."""

    @staticmethod
    def of(text: str) -> Choice:
        """Choices for the answer about `text`."""
        return Choice(text_digest=hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest())

    def at(self, step: str) -> Choice:
        """The same, one step deeper."""
        return replace(self, path=f"{self.path}.{step}")

    def again(self, attempt: int) -> Choice:
        """The same place, chosen differently."""
        return replace(self, attempt=attempt)

    def number(self, purpose: str) -> int:
        """A whole number below 2**64, fixed for this place and purpose."""
        key = f"{self.path}\0{purpose}\0{self.attempt}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(key, key=self.text_digest, digest_size=8).digest(), "big")

    def below(self, count: int, purpose: str) -> int:
        """A whole number from 0 to `count`, exclusive."""
        return self.number(purpose) % count

    def share(self, purpose: str) -> float:
        """A number strictly between 0 and 1."""
        return (self.number(purpose) + 0.5) / 2**64

    def one_of(self, options: Sequence[T], purpose: str) -> T:
        """One of `options`, which must not be empty."""
        return options[self.below(len(options), purpose)]
