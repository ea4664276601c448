"""What follows a call: no block is lost, every chain of splits ends, and waits grow up to a ceiling."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.outputs import Finding
from tokenopt_pipeline.domain.policy import RetryPolicy
from tokenopt_pipeline.domain.retries import (
    Again,
    AskedAgain,
    BlockResult,
    NextStep,
    backoff_s,
    failed_instead,
    next_step,
    refusal_to_ask_again,
)
from tokenopt_pipeline_tests.domain.generated import examples

_OURS = {Finding.TRUNCATED, Finding.TOO_LARGE}
_SPOILING = [f for f in Finding if f not in {*_OURS, Finding.VALID}]
_HOPELESS_ALONE = [Finding.REFUSED, Finding.REJECTED, Finding.TOO_LARGE]


def _step(*findings: Finding, before: int = 0, max_attempts: int = 3, **changes: Any) -> NextStep:
    """The step after a call for blocks 0, 1, … that were found so."""
    results = [BlockResult(block_no=i, finding=f, attempts_before=before) for i, f in enumerate(findings)]
    call = {"output_scale": 1, "at_output_limit": False, **changes}
    return next_step(RetryPolicy(max_attempts=max_attempts), results, **call)


def _groups(step: NextStep) -> list[tuple[int, ...]]:
    return [again.block_nos for again in step.again]


@examples(120)
@given(
    st.lists(st.tuples(st.sampled_from(Finding), st.integers(0, 3)), max_size=14),
    st.integers(1, 5),
    st.integers(1, 8),
    st.booleans(),
)
def test_every_block_is_either_done_or_asked_again_or_failed(
    found: list[tuple[Finding, int]], max_attempts: int, output_scale: int, at_output_limit: bool
) -> None:
    results = [BlockResult(block_no=i, finding=f, attempts_before=n) for i, (f, n) in enumerate(found)]
    policy = RetryPolicy(max_attempts=max_attempts)
    step = next_step(policy, results, output_scale=output_scale, at_output_limit=at_output_limit)
    again = [block_no for group in _groups(step) for block_no in group]
    failed = [block_no for block_no, _ in step.failed]
    assert sorted([*step.done, *again, *failed]) == list(range(len(found)))
    assert list(step.done) == [r.block_no for r in results if r.finding is Finding.VALID]
    assert dict(step.failed) == {r.block_no: r.finding for r in results if r.block_no in failed}
    assert sorted(dict(step.attempts)) == sorted([*again, *failed])


@pytest.mark.parametrize(
    ("n_blocks", "groups"),
    [
        pytest.param(2, [(0,), (1,)], id="2 -> 1 + 1"),
        pytest.param(3, [(0, 1), (2,)], id="3 -> 2 + 1"),
        pytest.param(5, [(0, 1, 2), (3, 4)], id="5 -> 3 + 2"),
    ],
)
def test_a_pack_that_gave_nothing_is_asked_again_in_halves_in_order(
    n_blocks: int, groups: list[tuple[int, ...]]
) -> None:
    assert _groups(_step(*[Finding.UNPARSABLE] * n_blocks)) == groups


def test_only_what_is_missing_is_asked_again() -> None:
    step = _step(Finding.VALID, Finding.MISSING, Finding.VALID, Finding.INVALID)
    assert (step.done, _groups(step), step.failed) == ((0, 2), [(1, 3)], ())
    assert step.attempts == ((1, 1), (3, 1))


@pytest.mark.parametrize("finding", _SPOILING)
def test_a_spoilt_answer_uses_an_attempt_and_the_last_one_fails_the_block(finding: Finding) -> None:
    first = _step(finding, finding, before=0)
    last = _step(finding, finding, before=2)
    assert (first.failed, first.attempts) == ((), ((0, 1), (1, 1)))
    assert (last.again, last.failed) == ((), ((0, finding), (1, finding)))


@pytest.mark.parametrize("finding", sorted(_OURS))
def test_a_split_that_our_own_sizing_caused_uses_no_attempt(finding: Finding) -> None:
    step = _step(finding, finding, before=2)
    assert (_groups(step), step.failed, step.attempts) == ([(0,), (1,)], (), ((0, 2), (1, 2)))


def test_the_last_try_of_a_block_is_its_own() -> None:
    step = _step(*[Finding.INVALID] * 4, before=1)
    assert _groups(step) == [(0,), (1,), (2,), (3,)]


def test_a_neighbour_that_was_only_cut_off_is_not_on_its_last_try() -> None:
    step = _step(Finding.TRUNCATED, Finding.INVALID, Finding.TRUNCATED, before=1)
    assert _groups(step) == [(0, 2), (1,)]


@pytest.mark.parametrize("finding", _HOPELESS_ALONE)
def test_a_block_alone_that_would_get_the_same_again_fails_at_once(finding: Finding) -> None:
    assert _step(finding).failed == ((0, finding),)
    assert _step(finding, finding).failed == ()


def test_with_a_single_attempt_nothing_is_asked_again_but_what_we_cut_off() -> None:
    step = _step(Finding.MISSING, Finding.TRUNCATED, max_attempts=1)
    assert (_groups(step), step.failed) == ([(1,)], ((0, Finding.MISSING),))


def test_a_pack_that_was_only_cut_off_is_halved_even_when_no_attempt_is_to_spare() -> None:
    assert _groups(_step(*[Finding.TRUNCATED] * 4, max_attempts=1)) == [(0, 1), (2, 3)]


def test_a_truncated_block_alone_gets_twice_the_room_until_the_limit() -> None:
    # Room of 512 under a limit of 4,096: 512, 1,024, 2,048, 4,096, and then no more.
    rooms, scale = [], 1
    while True:
        rooms.append(512 * scale)
        step = _step(Finding.TRUNCATED, output_scale=scale, at_output_limit=512 * scale >= 4_096)
        if step.failed:
            break
        (again,) = step.again
        scale = again.output_scale
    assert rooms == [512, 1_024, 2_048, 4_096]
    assert step.failed == ((0, Finding.TRUNCATED),)


def test_room_that_a_block_was_given_is_kept_when_its_answer_is_bad_for_another_reason() -> None:
    assert _step(Finding.INVALID, output_scale=4).again == (Again(block_nos=(0,), output_scale=4),)


def test_a_truncated_pack_is_split_before_it_is_given_room() -> None:
    assert [again.output_scale for again in _step(Finding.TRUNCATED, Finding.TRUNCATED).again] == [1, 1]


def test_nothing_follows_a_call_about_nothing() -> None:
    assert _step() == NextStep(done=(), again=(), failed=(), attempts=())


# A block alone may grow through 1, 2, 4, 8 and 16 times its room; then it is at the limit.
_MOST_SCALE = 16


@examples(120)
@given(st.integers(1, 16), st.integers(1, 4), st.data())
def test_every_chain_of_bad_answers_ends_within_a_bounded_number_of_calls(
    n_blocks: int, max_attempts: int, data: st.DataObject
) -> None:
    policy = RetryPolicy(max_attempts=max_attempts)
    bad = st.sampled_from([f for f in Finding if f is not Finding.VALID])
    answers = st.one_of(st.sampled_from(Finding), bad, st.just(Finding.TRUNCATED))
    packs = [(tuple(range(n_blocks)), 1)]
    spoilt: Counter[int] = Counter()
    calls: Counter[int] = Counter()
    ended: list[int] = []
    while packs:
        block_nos, scale = packs.pop()
        calls.update(block_nos)
        results = [BlockResult(block_no=b, finding=data.draw(answers), attempts_before=spoilt[b]) for b in block_nos]
        step = next_step(policy, results, output_scale=scale, at_output_limit=scale >= _MOST_SCALE)
        ended += [*step.done, *dict(step.failed)]
        spoilt.update({b: n - spoilt[b] for b, n in step.attempts})
        packs += [(again.block_nos, again.output_scale) for again in step.again]
        assert all(len(again.block_nos) <= max(1, -(-len(block_nos) // 2)) for again in step.again)
    assert sorted(ended) == list(range(n_blocks))
    assert all(n <= max_attempts for n in spoilt.values())
    # A block's calls: log2(16) halvings, 5 steps of room, and its attempts.
    assert max(calls.values()) <= 4 + 5 + max_attempts


@pytest.mark.parametrize("finding", [f for f in Finding if f is not Finding.VALID])
@pytest.mark.parametrize("n_blocks", [1, 2, 7, 40])
def test_a_provider_that_only_ever_says_one_bad_thing_ends_too(finding: Finding, n_blocks: int) -> None:
    policy = RetryPolicy()
    packs = [(tuple(range(n_blocks)), 1)]
    spoilt: dict[int, int] = {}
    failed: dict[int, Finding] = {}
    calls = 0
    while packs:
        block_nos, scale = packs.pop()
        calls += 1
        results = [BlockResult(block_no=b, finding=finding, attempts_before=spoilt.get(b, 0)) for b in block_nos]
        step = next_step(policy, results, output_scale=scale, at_output_limit=scale >= _MOST_SCALE)
        spoilt.update(step.attempts)
        failed.update(step.failed)
        packs += [(again.block_nos, again.output_scale) for again in step.again]
    assert failed == dict.fromkeys(range(n_blocks), finding)
    # Halving down to single blocks takes under 2 n calls; 5 steps of room or 3 attempts each on top.
    assert calls <= 2 * n_blocks + 5 * n_blocks


@pytest.mark.parametrize(
    ("tries", "retry_after_s", "expected"),
    [
        pytest.param(1, None, 0.5, id="0.5 * 2**0"),
        pytest.param(2, None, 1.0, id="0.5 * 2**1"),
        pytest.param(3, None, 2.0, id="0.5 * 2**2"),
        pytest.param(7, None, 32.0, id="0.5 * 2**6"),
        pytest.param(8, None, 60.0, id="0.5 * 2**7 = 64, above the ceiling of 60"),
        pytest.param(10_000, None, 60.0, id="far above the ceiling"),
        pytest.param(1, 7.5, 7.5, id="the provider asks for more"),
        pytest.param(5, 7.5, 8.0, id="the provider asks for less than 0.5 * 2**4"),
        pytest.param(1, 3_600.0, 60.0, id="the provider asks for more than the ceiling"),
        pytest.param(1, 0.0, 0.5, id="the provider asks for nothing"),
        pytest.param(1, -5.0, 0.5, id="the provider asks for the past"),
        pytest.param(1, float("nan"), 0.5, id="the provider asks for nonsense"),
    ],
)
def test_waits_double_up_to_the_ceiling_and_heed_the_provider(
    tries: int, retry_after_s: float | None, expected: float
) -> None:
    assert backoff_s(RetryPolicy(), tries=tries, retry_after_s=retry_after_s) == expected


def test_a_base_of_zero_waits_only_when_the_provider_asks() -> None:
    policy = RetryPolicy(backoff_base_s=0.0)
    assert backoff_s(policy, tries=9, retry_after_s=None) == 0.0
    assert backoff_s(policy, tries=9, retry_after_s=2.0) == 2.0


def _spent(packs: int, usd: str, others: str) -> AskedAgain:
    return AskedAgain(packs=packs, usd=Decimal(usd), others_usd=Decimal(others))


@pytest.mark.parametrize(
    "spent",
    [
        pytest.param(_spent(0, "0", "0"), id="nothing yet"),
        pytest.param(_spent(19, "9", "1"), id="few packs"),
        pytest.param(_spent(20, "0.5", "1"), id="the share itself"),
    ],
)
def test_a_run_asks_again_within_its_share_and_a_few_packs_always(spent: AskedAgain) -> None:
    assert refusal_to_ask_again(RetryPolicy(), spent) is None


def test_a_run_stops_asking_again_past_its_share_and_says_so() -> None:
    assert refusal_to_ask_again(RetryPolicy(), _spent(1_200, "0.75", "1")) == (
        "not asked again: 1,200 packs that were asked again have cost 75% of what the others cost, and "
        "retries.max_extra_share allows 50%"
    )
    assert "have cost all of what" in (refusal_to_ask_again(RetryPolicy(), _spent(20, "1", "0")) or "")


def test_what_is_not_asked_again_fails_with_what_was_found() -> None:
    step = NextStep(
        done=(1,), again=(Again(block_nos=(2, 3), output_scale=1),), failed=((4, Finding.REFUSED),), attempts=()
    )
    told = failed_instead(step, {2: Finding.TRUNCATED, 3: Finding.INVALID})
    assert (told.done, told.again) == ((1,), ())
    assert told.failed == ((4, Finding.REFUSED), (2, Finding.TRUNCATED), (3, Finding.INVALID))
