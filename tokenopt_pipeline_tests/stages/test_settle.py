"""Whatever a model answers, every block ends with its own values or with a reason, and nothing valid is asked again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pytest

from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.domain.errors import ContextWindowExceeded, ProviderUnavailable, RateLimited, RequestRejected
from tokenopt_pipeline.domain.fingerprints import digest_text
from tokenopt_pipeline.domain.requests import ModelResponse
from tokenopt_pipeline_tests.factories import a_model
from tokenopt_pipeline_tests.stages import scripted_provider as answers
from tokenopt_pipeline_tests.stages.rig import Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import Asked, Reply, on_text

#: In percent; what the findings of the pack's blocks then are: all of them, or the first's, or the last's.
FAULTS: list[tuple[int, Callable[[Asked], ModelResponse] | Exception, str, str]] = [
    (5, answers.not_json, "all", "unparsable"),
    (4, answers.without_first, "first", "missing"),
    (4, answers.first_twice, "first", "duplicate"),
    (3, answers.with_unknown_block, "none", ""),
    (3, answers.reordered, "none", ""),
    (4, answers.wrong_type, "last", "invalid"),
    (4, answers.cut_off, "last", "truncated"),
    (3, answers.refusing, "all", "refused"),
    (3, answers.prose, "all", "unparsable"),
    (2, RateLimited("slow down"), "no answer", ""),
    (2, ProviderUnavailable("overloaded"), "no answer", ""),
    (2, ContextWindowExceeded("too long"), "all", "too_large"),
]


class Mix:
    """Picks a fault by the seed, the asked texts and how often they were asked, and notes what each block should get."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.played: set[int] = set()
        #: Text -> findings in the order of its answers.
        self.findings: dict[str, list[str]] = defaultdict(list)
        self.asked_though_valid: list[str] = []
        self.asked_in_document_order = True

    def __call__(self, asked: Asked) -> Reply:
        numbers = [int(text.split()[1].rstrip(":")) for text in asked.texts]
        self.asked_in_document_order &= numbers == sorted(numbers)
        self.asked_though_valid += [t for t in asked.texts if "valid" in self.findings[t]]
        left = int(digest_text(f"{self.seed} {asked.nth} {asked.texts}")[:8], 16) % 100
        for number, (percent, fault, whose, finding) in enumerate(FAULTS):
            left -= percent
            if left < 0:
                self.played.add(number)
                self._note(asked, whose, finding)
                return fault if isinstance(fault, Exception) else fault(asked)
        self._note(asked, "none", "")
        return None

    def _note(self, asked: Asked, whose: str, finding: str) -> None:
        spoilt = {
            "all": asked.texts,
            "first": asked.texts[:1],
            "last": asked.texts[-1:],
            "none": (),
            "no answer": None,
        }[whose]
        if spoilt is not None:
            for text in asked.texts:
                self.findings[text].append(finding if text in spoilt else "valid")


@pytest.mark.parametrize(("seed", "pack_size"), [("seven", 4), ("eleven", 10)])
def test_under_a_mix_of_faults_every_block_ends_right_or_with_its_error(rig: Rig, seed: str, pack_size: int) -> None:
    texts = clauses(300)
    rig.ingest(*texts)
    mix = Mix(seed)
    rig.provider.script = mix
    run, shard, line = rig.packed(packing={"pack_size": pack_size})

    line.collect(run, shard)
    line.reconcile(run, shard)

    overlays = rig.overlays(run)
    assert list(overlays) == texts
    assert rig.wrong(run) == []
    assert mix.asked_though_valid == []
    assert mix.asked_in_document_order
    for text, overlay in overlays.items():
        last = mix.findings[text][-1]
        expected = ("ai_complete", None) if last == "valid" else ("failed", last)
        assert (overlay["status"], overlay["error_class"]) == expected
    stored = rig.rows("select text, finding from model_output join block using (block_no) order by call_no")
    by_text: dict[str, list[str]] = defaultdict(list)
    for r in stored:
        by_text[r["text"]].append(r["finding"])
    assert by_text == mix.findings
    assert rig.statuses(run)["ai_complete"] > 270
    assert len(mix.played) >= len(FAULTS) - 3


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        pytest.param(answers.not_json, "unparsable", id="not json"),
        pytest.param(answers.prose, "unparsable", id="prose"),
        pytest.param(answers.without_first, "missing", id="missing"),
        pytest.param(answers.first_twice, "duplicate", id="twice"),
        pytest.param(answers.wrong_type, "invalid", id="wrong type"),
    ],
)
def test_a_block_whose_answers_stay_unusable_fails_after_its_attempts(
    rig: Rig, fault: Callable[[Asked], ModelResponse], finding: str
) -> None:
    rig.ingest(*clauses(1))
    rig.provider.script = answers.always(fault)
    run, shard, line = rig.packed(retries={"max_attempts": 4})

    line.collect(run, shard)
    line.reconcile(run, shard)

    assert len(rig.provider.asked) == 4
    (overlay,) = rig.overlays(run).values()
    assert (overlay["status"], overlay["error_class"]) == ("failed", finding)
    assert overlay["error_detail"]


def test_one_bad_block_costs_its_neighbours_no_second_call(rig: Rig) -> None:
    rig.ingest(*clauses(10))
    rig.provider.script = on_text("Clause 9:", answers.wrong_type)
    run, shard, line = rig.packed()

    line.collect(run, shard)
    line.reconcile(run, shard)

    bad = clauses(10)[9]
    assert [a.texts for a in rig.provider.asked] == [tuple(clauses(10)), (bad,), (bad,)]
    assert rig.statuses(run) == {"ai_complete": 9, "failed": 1}


def test_a_pack_that_is_too_long_is_split_without_using_attempts(rig: Rig) -> None:
    rig.ingest(*clauses(8))
    rig.provider.script = lambda asked: ContextWindowExceeded("too long") if len(asked.texts) > 2 else None
    run, shard, line = rig.packed(retries={"max_attempts": 1})

    line.collect(run, shard)
    line.reconcile(run, shard)

    assert sorted(len(a.texts) for a in rig.provider.asked) == [2, 2, 2, 2, 4, 4, 8]
    assert rig.statuses(run) == {"ai_complete": 8}
    assert rig.one("select max(attempts_before) from pack_block") == 0
    assert rig.one("select max(generation) from pack") == 2
    # Nothing was billed for a request that did not fit.
    assert rig.one("select count(*) from ledger") == 4


def test_a_block_that_is_too_long_alone_fails_and_says_so(rig: Rig) -> None:
    rig.ingest(*clauses(4))
    rig.provider.script = on_text("Clause 2:", ContextWindowExceeded("prompt is too long: 250000 tokens"))
    run, shard, line = rig.packed()

    line.collect(run, shard)
    line.reconcile(run, shard)

    assert rig.statuses(run) == {"ai_complete": 3, "failed": 1}
    overlay = rig.overlays(run)[clauses(4)[2]]
    assert (overlay["error_class"], overlay["error_detail"]) == ("too_large", "prompt is too long: 250000 tokens")


def test_a_rejected_pack_is_halved_until_the_rejected_block_stands_alone(rig: Rig) -> None:
    rig.ingest(*clauses(8))
    rig.provider.script = on_text("Clause 5:", RequestRejected("cannot read it", status=400))
    run, shard, line = rig.packed(packing={"pack_size": 4})

    line.collect(run, shard)
    line.reconcile(run, shard)

    assert rig.statuses(run) == {"ai_complete": 7, "failed": 1}
    assert rig.overlays(run)[clauses(8)[5]]["error_class"] == "rejected"


def test_a_block_that_is_cut_off_alone_gets_twice_the_room_until_the_limit_and_then_fails(rig: Rig) -> None:
    rig.ingest(*clauses(1))
    rig.provider.script = answers.always(answers.cut_off)
    packing = {"single_block_output_tokens": 500, "max_output_tokens": 3000}
    run, shard, line = rig.packed(packing=packing, retries={"max_attempts": 1})

    line.collect(run, shard)
    line.reconcile(run, shard)

    assert [a.request.max_tokens for a in rig.provider.asked] == [500, 1000, 2000, 3000]
    (overlay,) = rig.overlays(run).values()
    assert (overlay["status"], overlay["error_class"]) == ("failed", "truncated")


def test_a_pack_that_is_cut_off_keeps_what_is_complete_and_asks_the_rest_in_smaller_packs(rig: Rig) -> None:
    rig.ingest(*clauses(8))
    rig.provider.script = lambda asked: answers.cut_off(asked) if len(asked.texts) > 1 else None
    run, shard, line = rig.packed(retries={"max_attempts": 1})

    line.collect(run, shard)
    line.reconcile(run, shard)

    assert [a.texts for a in rig.provider.asked] == [tuple(clauses(8)), (clauses(8)[7],)]
    assert rig.statuses(run) == {"ai_complete": 8}


def test_a_refusal_of_a_pack_does_not_condemn_the_blocks_that_are_harmless(rig: Rig) -> None:
    rig.ingest(*clauses(8))
    rig.provider.script = on_text("Clause 3:", answers.refusing)
    run, shard, line = rig.packed()

    line.collect(run, shard)
    line.reconcile(run, shard)

    assert rig.statuses(run) == {"ai_complete": 7, "failed": 1}
    assert rig.overlays(run)[clauses(8)[3]]["error_class"] == "refused"
    assert rig.one("select distinct refusal from response where refusal is not null") == "I would rather not."


def test_entries_nobody_asked_for_are_counted_and_ignored(rig: Rig) -> None:
    rig.ingest(*clauses(3))
    rig.provider.script = answers.always(answers.with_unknown_block)
    run, shard, line = rig.packed()

    line.collect(run, shard)
    line.reconcile(run, shard)

    assert rig.one("select strays from response") == 1
    assert rig.wrong(run) == []
    assert rig.statuses(run) == {"ai_complete": 3}


def test_every_answer_is_in_the_ledger_with_what_it_was_sized_with(rig: Rig) -> None:
    rig.ingest(*clauses(3))
    run, shard, line = rig.packed()
    line.collect(run, shard)

    (row,) = rig.rows("select * from ledger")
    request = rig.provider.asked[0].request
    assert (row["model"], row["kind"], row["request_id"]) == ("anthropic/claude-sonnet-5-5", "simulated", "request-1")
    assert (row["pack_blocks"], row["split_events"], row["fingerprint"]) == (3, 0, request.fingerprint)
    assert row["assumed_max_tokens"] == request.max_tokens
    assert row["usd"] == ListPrices().usd(
        request.model.ref, answers.bill(request, clauses(3), rig.one("select text from response"), is_cached=False)
    )
    assert row["usd"] < row["assumed_usd_ceiling"]


def test_a_model_that_cannot_stop_thinking_gets_room_for_it_beside_the_answers(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    rig.model = a_model(thinking_reserve_tokens=700)
    run, shard, line = rig.packed()
    (pack,) = line.packs.open_packs(shard)
    line.collect(run, shard)
    assert rig.provider.asked[0].request.max_tokens == pack.max_tokens + 700
    assert rig.one("select assumed_max_tokens from ledger") == pack.max_tokens + 700


def test_room_for_thinking_never_passes_the_models_own_limit(rig: Rig) -> None:
    rig.ingest(*clauses(1))
    rig.model = a_model(thinking_reserve_tokens=700, max_output_tokens=4_200)
    run, shard, line = rig.packed()
    line.collect(run, shard)
    assert rig.provider.asked[0].request.max_tokens == 4_200


def test_a_model_that_answers_nothing_whole_is_not_asked_again_without_end(rig: Rig) -> None:
    rig.ingest(*clauses(200))
    rig.provider.script = answers.always(answers.not_json)
    run, shard, line = rig.packed(packing={"pack_size": 20}, retries={"max_attempts": 10})

    line.collect(run, shard)
    line.reconcile(run, shard)

    # 10 packs, and at most a few more than the twenty that are always asked again.
    assert 10 < rig.one("select count(*) from call") < 60
    details = rig.rows("select distinct error_detail from overlay")
    assert any("retries.max_extra_share allows 50%" in row["error_detail"] for row in details)
    assert rig.statuses(run) == {"failed": 200}
