"""The prefix cache, on hand-made prompts and a hand-made clock."""

from __future__ import annotations

from tokenopt_pipeline.sandbox.prefix_cache import TTL_1H_S, TTL_5M_S, CacheUse, PrefixBlock, PrefixCache

MINIMUM = 1000


def blocks(*parts: tuple[str, int, int | None]) -> list[PrefixBlock]:
    """(content, own tokens, ttl) of each block."""
    made = []
    total = 0
    for content, tokens, ttl_s in parts:
        total += tokens
        made.append(PrefixBlock(content=content.encode(), tokens_through=total, ttl_s=ttl_s))
    return made


PROMPT = blocks(("system", 1500, TTL_5M_S), ("question", 200, None))


def call(cache: PrefixCache, prompt: list[PrefixBlock], now_s: float, scope: bytes = b"key") -> CacheUse:
    use = cache.look_up(scope=scope, blocks=prompt, minimum_tokens=MINIMUM, now_s=now_s)
    cache.begin_response(use)
    return use


def test_a_cold_prompt_writes_up_to_its_breakpoint() -> None:
    use = call(PrefixCache(), PROMPT, 0)
    assert (use.read_tokens, use.write_5m_tokens, use.write_1h_tokens, use.uncached_tokens) == (0, 1500, 0, 200)


def test_a_warm_prompt_reads_up_to_its_breakpoint() -> None:
    cache = PrefixCache()
    call(cache, PROMPT, 0)
    use = call(cache, blocks(("system", 1500, TTL_5M_S), ("another question", 300, None)), 10)
    assert (use.read_tokens, use.write_5m_tokens, use.uncached_tokens) == (1500, 0, 300)


def test_nothing_is_readable_before_the_writers_response_has_begun() -> None:
    cache = PrefixCache()
    uses = [cache.look_up(scope=b"key", blocks=PROMPT, minimum_tokens=MINIMUM, now_s=0) for _ in range(3)]
    assert [use.write_5m_tokens for use in uses] == [1500, 1500, 1500]
    cache.begin_response(uses[0])
    assert call(cache, PROMPT, 1).read_tokens == 1500


def test_one_byte_of_difference_is_another_prefix() -> None:
    cache = PrefixCache()
    call(cache, PROMPT, 0)
    assert call(cache, blocks(("System", 1500, TTL_5M_S), ("question", 200, None)), 1).read_tokens == 0


def test_block_boundaries_are_part_of_the_prefix() -> None:
    cache = PrefixCache()
    call(cache, blocks(("ab", 1500, None), ("c", 100, TTL_5M_S)), 0)
    assert call(cache, blocks(("a", 1500, None), ("bc", 100, TTL_5M_S)), 1).read_tokens == 0


def test_scopes_never_share() -> None:
    cache = PrefixCache()
    call(cache, PROMPT, 0, scope=b"one format")
    assert call(cache, PROMPT, 1, scope=b"another format").read_tokens == 0


def test_below_the_minimum_nothing_is_cached_and_nothing_is_billed_for_it() -> None:
    cache = PrefixCache()
    short = blocks(("system", MINIMUM - 1, TTL_5M_S), ("question", 10, None))
    for now_s in (0, 1):
        use = call(cache, short, now_s)
        assert (use.read_tokens, use.write_5m_tokens, use.uncached_tokens) == (0, 0, MINIMUM + 9)
    assert len(cache) == 0


def test_an_entry_expires_when_its_ttl_has_passed_since_the_request_started() -> None:
    cache = PrefixCache()
    slow = cache.look_up(scope=b"key", blocks=PROMPT, minimum_tokens=MINIMUM, now_s=0)
    cache.begin_response(slow)  # however late the response began, the clock started at 0
    assert cache.look_up(scope=b"key", blocks=PROMPT, minimum_tokens=MINIMUM, now_s=TTL_5M_S).read_tokens == 0


def test_a_hit_refreshes_the_ttl() -> None:
    cache = PrefixCache()
    call(cache, PROMPT, 0)
    assert call(cache, PROMPT, 200).read_tokens == 1500
    assert call(cache, PROMPT, 400).read_tokens == 1500
    assert call(cache, PROMPT, 400 + TTL_5M_S).read_tokens == 0


def test_an_hour_lasts_an_hour() -> None:
    cache = PrefixCache()
    prompt = blocks(("system", 1500, TTL_1H_S), ("question", 200, None))
    assert call(cache, prompt, 0).write_1h_tokens == 1500
    assert call(cache, prompt, TTL_1H_S - 1).read_tokens == 1500


def test_mixed_lifetimes_are_billed_apart() -> None:
    cache = PrefixCache()
    prompt = blocks(("tools", 1500, TTL_1H_S), ("thread", 400, TTL_5M_S), ("question", 20, None))
    use = call(cache, prompt, 0)
    assert (use.write_1h_tokens, use.write_5m_tokens, use.uncached_tokens) == (1500, 400, 20)
    later = call(cache, prompt, TTL_5M_S + 1)
    assert (later.read_tokens, later.write_5m_tokens, later.uncached_tokens) == (1500, 400, 20)


def test_a_longer_conversation_reads_the_shorter_one_and_writes_the_rest() -> None:
    cache = PrefixCache()
    call(cache, blocks(("system", 1500, None), ("turn 1", 100, TTL_5M_S)), 0)
    use = call(cache, blocks(("system", 1500, None), ("turn 1", 100, None), ("turn 2", 50, TTL_5M_S)), 1)
    assert (use.read_tokens, use.write_5m_tokens, use.uncached_tokens) == (1600, 50, 0)


def test_a_breakpoint_looks_back_twenty_positions_and_no_further() -> None:
    def conversation(length: int) -> list[PrefixBlock]:
        turns = [(f"turn {turn}", 10, TTL_5M_S if turn == length - 1 else None) for turn in range(length)]
        return blocks(("system", 1500, TTL_5M_S if length == 0 else None), *turns)

    cache = PrefixCache()
    call(cache, conversation(0), 0)
    # The breakpoint is position 1 of 20, so an entry 19 blocks before it is found and one 20 before is not.
    assert call(cache, conversation(20), 1).read_tokens == 0
    cache.clear()
    call(cache, conversation(0), 2)
    assert call(cache, conversation(19), 3).read_tokens == 1500


def test_the_cache_is_bounded_and_forgets_the_least_recently_used() -> None:
    cache = PrefixCache(max_entries=2)
    first, second, third = (blocks((name, 1500, TTL_5M_S)) for name in ("a", "b", "c"))
    call(cache, first, 0)
    call(cache, second, 1)
    call(cache, first, 2)
    call(cache, third, 3)
    assert len(cache) == 2
    assert call(cache, first, 4).read_tokens == 1500
