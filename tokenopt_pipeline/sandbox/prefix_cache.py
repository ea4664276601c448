"""A provider's prefix cache: which prompt prefixes are warm, and what a request reads from it and writes to it.

Rules and their source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching, read 2026-11-22.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

LOOK_BACK_BLOCKS = 20
TTL_5M_S = 300
TTL_1H_S = 3600
TTL_30M_S = 1800
TTL_12H_S = 43_200


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
    """How one prompt's tokens are billed; the classes add up to the prompt."""

    read_tokens: int = 0
    write_5m_tokens: int = 0
    write_1h_tokens: int = 0
    write_30m_tokens: int = 0
    write_12h_tokens: int = 0
    uncached_tokens: int
    pending: tuple[PendingWrite, ...] = ()

    @property
    def written_tokens(self) -> int:
        """Everything billed as written."""
        return self.write_5m_tokens + self.write_1h_tokens + self.write_30m_tokens + self.write_12h_tokens


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
        breakpoints = [
            index
            for index, block in enumerate(blocks)
            if block.ttl_s is not None and block.tokens_through >= minimum_tokens
        ]
        # The breakpoint itself is the first of the positions looked at.
        looked_at = {
            index
            for breakpoint_index in breakpoints
            for index in range(max(0, breakpoint_index - LOOK_BACK_BLOCKS + 1), breakpoint_index + 1)
        }
        return self.use(scope=scope, blocks=blocks, read_at=looked_at, write_at=breakpoints, now_s=now_s)

    def use(
        self,
        *,
        scope: bytes,
        blocks: Sequence[PrefixBlock],
        read_at: Collection[int],
        write_at: Sequence[int],
        now_s: float,
        writes_are_billed: bool = True,
    ) -> CacheUse:
        """The same, for providers that choose differently where to look (`read_at`) and where to write (`write_at`, ascending).

        Both name blocks by their index; every block of `write_at` has a lifetime.
        """
        total_tokens = blocks[-1].tokens_through if blocks else 0
        if not read_at and not write_at:
            return CacheUse(uncached_tokens=total_tokens)
        digests = _prefix_digests(scope, blocks[: max((*read_at, *write_at)) + 1])
        hit = next((index for index in sorted(read_at, reverse=True) if self._is_warm(digests[index], now_s)), None)
        boundary_tokens = 0 if hit is None else blocks[hit].tokens_through
        read_tokens = boundary_tokens
        written: Counter[int] = Counter()
        pending = []
        for index in write_at:
            if hit is not None and index <= hit:
                self._refresh(digests[index], now_s)
                continue
            ttl_s = blocks[index].ttl_s or TTL_5M_S
            pending.append(PendingWrite(digest=digests[index], ttl_s=ttl_s, started_s=now_s))
            if writes_are_billed:
                written[ttl_s] += blocks[index].tokens_through - boundary_tokens
                boundary_tokens = blocks[index].tokens_through
        if hit is not None:
            self._refresh(digests[hit], now_s)
        return CacheUse(
            read_tokens=read_tokens,
            write_5m_tokens=written[TTL_5M_S],
            write_1h_tokens=written[TTL_1H_S],
            write_30m_tokens=written[TTL_30M_S],
            write_12h_tokens=written[TTL_12H_S],
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
