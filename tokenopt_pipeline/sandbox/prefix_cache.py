"""A provider's prefix cache: which prompt prefixes are warm, and what a request reads from it and writes to it.

Rules and their source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching, read 2026-11-22.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

LOOK_BACK_BLOCKS = 20
TTL_5M_S = 300
TTL_1H_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixBlock:
    """One block of a rendered prompt, in render order."""

    content: bytes
    """What the cache compares, byte by byte."""
    tokens_through: int
    """Tokens of the prompt from its start up to and including this block."""
    ttl_s: int | None = None
    """Lifetime asked for by a breakpoint on this block; None where there is no breakpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingWrite:
    """A prefix that becomes readable once its writer's response has begun."""

    digest: bytes
    ttl_s: int
    started_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """How one prompt's tokens are billed; the four classes add up to the prompt."""

    read_tokens: int = 0
    write_5m_tokens: int = 0
    write_1h_tokens: int = 0
    uncached_tokens: int
    pending: tuple[PendingWrite, ...] = ()


@dataclass(slots=True)
class _Entry:
    ttl_s: int
    expires_s: float


class PrefixCache:
    """Bounded memory of warm prefixes; time is an argument of every call."""

    def __init__(self, *, max_entries: int = 10_000) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget every prefix."""
        self._entries.clear()

    def look_up(self, *, scope: bytes, blocks: Sequence[PrefixBlock], minimum_tokens: int, now_s: float) -> CacheUse:
        """What a request that starts now reads and will write.

        `scope` is what separates caches that never share (key, model, output format). Nothing becomes readable by this
        call: `begin_response` does that, which is why simultaneous cold requests all write.
        """
        total_tokens = blocks[-1].tokens_through if blocks else 0
        breakpoints = [
            index
            for index, block in enumerate(blocks)
            if block.ttl_s is not None and block.tokens_through >= minimum_tokens
        ]
        if not breakpoints:
            return CacheUse(uncached_tokens=total_tokens)
        digests = _prefix_digests(scope, blocks[: breakpoints[-1] + 1])
        hit = self._longest_hit(digests, breakpoints, now_s)
        boundary_tokens = 0 if hit is None else blocks[hit].tokens_through
        read_tokens = boundary_tokens
        written = {TTL_5M_S: 0, TTL_1H_S: 0}
        pending = []
        for index in breakpoints:
            if hit is not None and index <= hit:
                self._refresh(digests[index], now_s)
                continue
            ttl_s = blocks[index].ttl_s or TTL_5M_S
            written[ttl_s] += blocks[index].tokens_through - boundary_tokens
            boundary_tokens = blocks[index].tokens_through
            pending.append(PendingWrite(digest=digests[index], ttl_s=ttl_s, started_s=now_s))
        if hit is not None:
            self._refresh(digests[hit], now_s)
        return CacheUse(
            read_tokens=read_tokens,
            write_5m_tokens=written[TTL_5M_S],
            write_1h_tokens=written[TTL_1H_S],
            uncached_tokens=total_tokens - boundary_tokens,
            pending=tuple(pending),
        )

    def begin_response(self, use: CacheUse) -> None:
        """Make what `use` wrote readable; its lifetime counts from the start of the request, not from here."""
        for write in use.pending:
            expires_s = write.started_s + write.ttl_s
            known = self._entries.get(write.digest)
            if known is None or known.expires_s < expires_s:
                self._entries[write.digest] = _Entry(ttl_s=write.ttl_s, expires_s=expires_s)
            self._entries.move_to_end(write.digest)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def _longest_hit(self, digests: Sequence[bytes], breakpoints: Sequence[int], now_s: float) -> int | None:
        best: int | None = None
        for breakpoint_index in breakpoints:
            # The breakpoint itself is the first of the positions looked at.
            for index in range(breakpoint_index, max(-1, breakpoint_index - LOOK_BACK_BLOCKS), -1):
                if self._is_warm(digests[index], now_s):
                    best = index if best is None else max(best, index)
                    break
        return best

    def _is_warm(self, digest: bytes, now_s: float) -> bool:
        entry = self._entries.get(digest)
        if entry is None:
            return False
        if entry.expires_s <= now_s:
            del self._entries[digest]
            return False
        return True

    def _refresh(self, digest: bytes, now_s: float) -> None:
        entry = self._entries.get(digest)
        if entry is not None:
            entry.expires_s = max(entry.expires_s, now_s + entry.ttl_s)
            self._entries.move_to_end(digest)


def _prefix_digests(scope: bytes, blocks: Sequence[PrefixBlock]) -> list[bytes]:
    """The digest of the prompt up to and including each block."""
    running = hashlib.sha256(scope)
    digests = []
    for block in blocks:
        # The length keeps two blocks from reading as one longer block.
        running.update(len(block.content).to_bytes(8, "big"))
        running.update(block.content)
        digests.append(running.digest())
    return digests
