"""What follows a call: which blocks are done, which are asked again in which packs, which fail; and how long to wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from tokenopt_pipeline.domain.outputs import Finding
from tokenopt_pipeline.domain.policy import RetryPolicy

# Splits that our own sizing caused do not use up a block's attempts.
_OUR_DOING = frozenset({Finding.TRUNCATED, Finding.TOO_LARGE})
# Packs of a run that may always be asked again.
_ALWAYS_ASKED_AGAIN = 20
# A block alone with one of these would get the same again.
_HOPELESS_ALONE = frozenset({Finding.REFUSED, Finding.REJECTED, Finding.TOO_LARGE})


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockResult:
    """What a call found for one block of its pack."""

    block_no: int
    finding: Finding
    #: Attempts this block had spoilt before this call.
    attempts_before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Blocks that are asked together once more."""

    block_nos: tuple[int, ...]
    #: The new pack's max_tokens is at least so many times the answer's estimate.
    output_scale: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What follows a call. Every block of the pack is in exactly one of the three."""

    done: tuple[int, ...]
    again: tuple[Again, ...]
    #: Block -> the finding it fails with.
    failed: tuple[tuple[int, Finding], ...]
    #: Attempts spoilt so far, for the blocks asked again or failed.
    attempts: tuple[tuple[int, int], ...]


def next_step(
    policy: RetryPolicy, results: Sequence[BlockResult], *, output_scale: int, at_output_limit: bool
) -> NextStep:
    """The step after a call whose pack held these blocks, in order.

    `output_scale` is the pack's own; `at_output_limit` says that its max_tokens cannot grow. What is asked again goes
    into packs of at most half the size, rounded up, so that every chain of splits ends at single blocks. A single
    truncated block gets twice the room each time until the limit; then it fails. Room once given is kept.
    """
    alone = len(results) == 1
    done: list[int] = []
    failed: list[tuple[int, Finding]] = []
    pending: list[int] = []
    last_try: list[int] = []
    attempts: list[tuple[int, int]] = []
    for result in results:
        if result.finding is Finding.VALID:
            done.append(result.block_no)
            continue
        spoilt = result.attempts_before + (0 if result.finding in _OUR_DOING else 1)
        attempts.append((result.block_no, spoilt))
        stuck = alone and (
            result.finding in _HOPELESS_ALONE or (result.finding is Finding.TRUNCATED and at_output_limit)
        )
        if stuck or spoilt >= policy.max_attempts:
            failed.append((result.block_no, result.finding))
        elif spoilt == policy.max_attempts - 1 and spoilt > result.attempts_before:
            last_try.append(result.block_no)
        else:
            pending.append(result.block_no)
    size = max(1, -(-len(results) // 2))
    scale = output_scale * 2 if alone and results[0].finding is Finding.TRUNCATED else output_scale
    groups = [pending[i : i + size] for i in range(0, len(pending), size)] + [[block_no] for block_no in last_try]
    return NextStep(
        done=tuple(done),
        again=tuple(Again(block_nos=tuple(group), output_scale=scale) for group in groups),
        failed=tuple(failed),
        attempts=tuple(attempts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedAgain:
    """What splits have cost a run so far. Dollars; where no price is known, weighted tokens, which compare alike."""

    packs: int
    usd: Decimal
    #: Of everything else.
    others_usd: Decimal


def refusal_to_ask_again(policy: RetryPolicy, spent: AskedAgain) -> str | None:
    """Why a run asks nothing again any more, in one sentence; None while it may.

    Without a bound, a model that answers most packs unusably is paid for every split of every pack. Few packs are always
    asked again: of a small run one is a large share.
    """
    if spent.packs < _ALWAYS_ASKED_AGAIN or spent.usd <= Decimal(str(policy.max_extra_share)) * spent.others_usd:
        return None
    share = f"{spent.usd / spent.others_usd:.0%}" if spent.others_usd else "all"
    return (
        f"not asked again: {spent.packs:,} packs that were asked again have cost {share} of what the others cost, and "
        f"retries.max_extra_share allows {policy.max_extra_share:.0%}"
    )


def failed_instead(step: NextStep, findings: Mapping[int, Finding]) -> NextStep:
    """The step with everything failed that it would have asked again. Block -> its finding."""
    blocks = [block_no for group in step.again for block_no in group.block_nos]
    return replace(step, again=(), failed=(*step.failed, *((block_no, findings[block_no]) for block_no in blocks)))


def backoff_s(policy: RetryPolicy, *, tries: int, retry_after_s: float | None) -> float:
    """Seconds to wait after `tries` failed tries (1 or more): base · 2^(tries-1), or what the provider asks if longer,
    never above the ceiling. With base 0.5: 0.5, 1, 2, 4, …
    """
    wait = policy.backoff_base_s * 2.0 ** min(tries - 1, 30)
    return min(max(wait, retry_after_s or 0.0), policy.backoff_ceiling_s)
