"""Explicit caches: made by a call, named in later ones, gone when their time is over."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from tokenopt_pipeline.sandbox.automatic_prefix import PromptPart
from tokenopt_pipeline.sandbox.google_models import GeminiModel


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedContent:
    """One explicit cache."""

    name: str
    """`cachedContents/…`."""
    key: str
    """Whose it is."""
    model: GeminiModel
    display_name: str
    parts: tuple[PromptPart, ...]
    tokens: int
    created_s: float
    updated_s: float
    expires_s: float
    """Seconds since the epoch, as the two before."""


class CachedContents:
    """Every explicit cache of one sandbox; time is an argument of every call."""

    def __init__(self, *, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[str, CachedContent] = OrderedDict()

    def add(self, cached: CachedContent) -> None:
        """Keep `cached`; the oldest goes when there are too many."""
        self._entries[cached.name] = cached
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def find(self, name: str, key: str, now_s: float) -> CachedContent | None:
        """The cache called `name`, if it is this key's and alive."""
        cached = self._entries.get(name)
        return cached if cached is not None and cached.key == key and cached.expires_s > now_s else None

    def alive(self, key: str, now_s: float) -> list[CachedContent]:
        """This key's living caches, oldest first."""
        return [cached for cached in self._entries.values() if cached.key == key and cached.expires_s > now_s]

    def extend(self, cached: CachedContent, expires_s: float, now_s: float) -> CachedContent:
        """`cached` with another end of its life."""
        extended = replace(cached, expires_s=expires_s, updated_s=now_s)
        self._entries[cached.name] = extended
        return extended

    def remove(self, cached: CachedContent) -> None:
        """Forget `cached`."""
        del self._entries[cached.name]
