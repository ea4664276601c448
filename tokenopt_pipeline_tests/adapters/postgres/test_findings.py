"""Each property of a shard that the asset checks look at holds over a sound run and sees every way of breaking it."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.adapters.postgres.findings import CheckFinding, PostgresFindings
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline_tests.stages import scripted_provider as answers
from tokenopt_pipeline_tests.stages.rig import Rig, clauses

PROPERTIES = {
    "one outcome": PostgresFindings.every_block_has_one_outcome,
    "schema": PostgresFindings.overlays_satisfy_their_schema,
    "skips": PostgresFindings.every_skip_has_a_rule,
    "ledger": PostgresFindings.ledger_equals_calls,
    "budget": PostgresFindings.spend_is_within_budget,
}


@pytest.fixture
def sound(rig: Rig) -> tuple[Rig, Run, Shard]:
    """One shard with a skipped, a failed, a repeated and answered blocks, in packs of two."""
    rig.ingest("* * *", *clauses(5), *clauses(1), types={"* * *": BlockType.DIVIDER})
    rig.provider.script = answers.on_text("Clause 2:", answers.refusing)
    run = rig.plan(packing={"pack_size": 2}, run={"budget_usd": 1})
    rig.finish(run)
    assert rig.statuses(run) == {"skipped": 1, "ai_complete": 5, "failed": 1}
    return rig, run, Shard(run_no=run.run_no, shard_no=0)


def look(rig: Rig, run: Run, shard: Shard) -> dict[str, CheckFinding]:
    findings = PostgresFindings(rig.connection)
    return {name: of(findings, run, shard) for name, of in PROPERTIES.items()}


def test_all_hold_over_a_sound_run_and_say_over_what(sound: tuple[Rig, Run, Shard]) -> None:
    found = look(*sound)

    assert {name for name, f in found.items() if not f.passed} == set()
    assert found["one outcome"].numbers == {"blocks": 7, "overlays": 7, "open": 0}
    assert found["schema"].numbers == {"answers": 5, "invalid": 0}
    assert found["skips"].numbers == {"skipped": 1, "unexplained": 0, "unapplied": 0}
    assert (found["ledger"].numbers["answered"], found["ledger"].numbers["unpriced"]) == (5, 0)
    assert found["budget"].numbers["budget_usd"] == 1.0


LAST_CALL = "(select max(call_no) from ledger)"
#: What the database itself refuses is looked for all the same.
UNCHECKED = "alter table overlay drop constraint a_decision_says_what_it_saw, drop constraint only_a_skip_is_skipped"
BREACHES = [
    ("one outcome", "update overlay set status = 'submitted', staged = null, call_no = null where ordinal = 4"),
    ("one outcome", "delete from overlay where ordinal = 4"),
    ("one outcome", "update shard set end_ordinal = end_ordinal + 1"),
    ("schema", """update overlay set staged = '{"kind": "nonsense"}' where ordinal = 4"""),
    ("schema", "update overlay set staged = '{}' where ordinal = 6"),
    ("schema", """update overlay set status = 'confirmed', confirmed = '{"kind": 3}' where ordinal = 4"""),
    ("skips", "update overlay set rule_id = '' where verdict = 'skip'"),
    ("skips", "update overlay set evidence = '' where verdict = 'skip'"),
    ("skips", "update overlay set verdict = 'keep' where verdict = 'skip'"),
    ("skips", "update overlay set verdict = 'skip' where ordinal = 4"),
    ("ledger", f"delete from ledger where call_no = {LAST_CALL}"),
    ("ledger", f"delete from response where call_no = {LAST_CALL}"),
    ("ledger", f"update call set state = 'failed', error_class = 'X' where call_no = {LAST_CALL}"),
    ("ledger", f"update ledger set pack_blocks = pack_blocks + 1 where call_no = {LAST_CALL}"),
    ("ledger", f"delete from model_output where call_no = {LAST_CALL}"),
    ("budget", f"update ledger set usd = 1.01 where call_no = {LAST_CALL}"),
]


@pytest.mark.parametrize(("name", "breach"), [pytest.param(n, b, id=f"{n}: {b[-60:]}") for n, b in BREACHES])
def test_a_breach_is_seen_by_the_property_it_breaks_and_by_no_other(
    sound: tuple[Rig, Run, Shard], name: str, breach: str
) -> None:
    rig, run, shard = sound
    with rig.connection.transaction(force_rollback=True):
        rig.connection.execute("set local session_replication_role = replica")
        rig.connection.execute(UNCHECKED)
        assert rig.connection.execute(breach.encode()).rowcount == 1

        assert {n for n, f in look(rig, run, shard).items() if not f.passed} == {name}


def test_offending_blocks_are_named_up_to_ten(sound: tuple[Rig, Run, Shard]) -> None:
    rig, run, shard = sound
    document = rig.one("select document_id from document")
    with rig.connection.transaction(force_rollback=True):
        rig.connection.execute("set local session_replication_role = replica")
        rig.connection.execute(
            "update overlay set status = 'pending', staged = null, call_no = null where ordinal in (1, 4)"
        )
        found = look(rig, run, shard)["one outcome"]
    assert found.offenders == (f"{document}:1", f"{document}:4")


def test_a_shard_that_does_not_exist_has_no_outcome(sound: tuple[Rig, Run, Shard]) -> None:
    rig, run, _ = sound
    finding = PostgresFindings(rig.connection).every_block_has_one_outcome(run, Shard(run_no=run.run_no, shard_no=9))
    assert (finding.passed, finding.numbers) == (False, {"blocks": 0})


def test_without_a_budget_there_is_nothing_to_exceed(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    run = rig.plan()
    rig.finish(run)
    finding = PostgresFindings(rig.connection).spend_is_within_budget(run, Shard(run_no=run.run_no, shard_no=0))
    assert (finding.passed, finding.numbers["budget_usd"]) == (True, "none")
