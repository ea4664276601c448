"""The database itself refuses whatever would make an outcome or a figure wrong, by a name that says what was wrong."""

from __future__ import annotations

import psycopg
import pytest

from tokenopt_pipeline_tests.stages.rig import Rig, clauses

#: A block that was answered and one that is in a pack, of one run.
ANSWERED = "(select block_no from overlay where status = 'ai_complete')"
SUBMITTED = "(select block_no from overlay where status = 'submitted')"
PENDING = "(select block_no from overlay where status = 'pending')"
THE_RUN = "(select run_no from run)"
OVERLAY = "insert into overlay (run_no, block_no, shard_no, ordinal, answer_key, verdict, rule_id, evidence)"
PACKED = "insert into pack_block (pack_no, position, run_no, block_no, attempts_before)"
#: The overlay of a block of another document, up to its shard and ordinal.
UNPLACED = f"{OVERLAY} select o.run_no, (select max(block_no) from block),"
KEPT = "'keep', 'kept', 'e'"
OF_FIRST = "from overlay o where o.ordinal = 0"


@pytest.fixture
def stored(rig: Rig) -> Rig:
    """A run of three blocks: one answered, one in a pack, one pending; and a policy change."""
    rig.ingest(*clauses(3))
    rig.ingest("Elsewhere.", collection="others", name="other")
    run, shard, line = rig.packed(packing={"pack_size": 1}, calls={"concurrency": 1})
    rig.connection.execute(
        "delete from pack_block where pack_no in (select max(pack_no) from pack);"
        "set session_replication_role = replica;"
        "update overlay set status = 'pending' where ordinal = 2;"
        "set session_replication_role = origin;"
        "update pack set state = 'settled' where pack_no > (select min(pack_no) from pack)"
    )
    line.collect(run, shard)
    line.reconcile(run, shard)
    rig.connection.execute("update pack set state = 'open' where pack_no not in (select pack_no from call)")
    rig.connection.execute(
        "insert into policy_change (path, changed_by, changed_at, new_policy) values ('p', 'ann', now(), '{}')"
    )
    assert rig.statuses(run) == {"ai_complete": 1, "submitted": 1, "pending": 1}
    return rig


def refused(rig: Rig, statement: str) -> psycopg.errors.Diagnostic:
    """Why the statement fails."""
    with pytest.raises(psycopg.errors.IntegrityError) as found:
        rig.connection.execute(statement.encode())
    return found.value.diag


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        pytest.param(
            f"{OVERLAY} select run_no, block_no, shard_no, 99, answer_key, 'keep', 'kept', 'e' from overlay where ordinal = 0",
            "overlay_pkey",
            id="a second overlay of a block",
        ),
        pytest.param(
            f"{UNPLACED} 0, 2, answer_key, {KEPT} {OF_FIRST}", "one_block_per_ordinal", id="one ordinal twice"
        ),
        pytest.param(
            f"{UNPLACED} 7, 3, answer_key, {KEPT} {OF_FIRST}", "an_overlay_belongs_to_a_shard", id="no such shard"
        ),
        pytest.param(
            f"{UNPLACED} 0, 3, answer_key, {KEPT} {OF_FIRST}", "an_overlay_belongs_to_a_shard", id="another's place"
        ),
        pytest.param(
            f"{OVERLAY} select run_no, 999, 0, 3, answer_key, 'keep', 'kept', 'e' from overlay where ordinal = 0",
            "an_overlay_belongs_to_a_shard",
            id="no such block",
        ),
        pytest.param(
            f"update overlay set ordinal = 0 where block_no = {PENDING}", None, id="another place for an overlay"
        ),
        pytest.param(f"update overlay set verdict = 'reuse' where block_no = {PENDING}", None, id="another decision"),
        pytest.param("update pack_block set block_no = block_no + 1", None, id="another block in a pack"),
        pytest.param("update pack set shard_no = 1", None, id="another shard for a pack"),
        pytest.param("update block set document_no = 1, block_index = 7", None, id="another place for a block"),
        pytest.param(f"delete from block where block_no = {PENDING}", None, id="a block taken away"),
        pytest.param(f"delete from overlay where block_no = {PENDING}", None, id="an overlay taken away"),
        pytest.param("delete from pack where pack_no = (select max(pack_no) from pack)", None, id="a pack taken away"),
        pytest.param(
            f"{PACKED} select max(pack_no), 9, run_no, 999, 0 from pack group by run_no",
            "a_packed_block_is_enrolled",
            id="a packed block without an overlay",
        ),
        pytest.param(
            f"{PACKED} select 999, 9, {THE_RUN}, {PENDING}, 0", "a_packed_block_is_enrolled", id="a block in no pack"
        ),
        pytest.param(
            "insert into shard select run_no, 5, end_ordinal - 1, end_ordinal + 5 from shard",
            "shards_share_no_ordinal",
            id="shards that overlap",
        ),
        pytest.param(
            f"update overlay set status = 'lost' where block_no = {PENDING}", None, id="a status nobody knows"
        ),
        pytest.param(
            f"update overlay set status = 'skipped' where block_no = {PENDING}",
            "only_a_skip_is_skipped",
            id="skipped without a skip decision",
        ),
        pytest.param(
            f"update overlay set status = 'failed' where block_no = {SUBMITTED}",
            "a_failed_overlay_has_an_error_class",
            id="failed without a class",
        ),
        pytest.param(
            f"update overlay set status = 'ai_complete', call_no = 1 where block_no = {SUBMITTED}",
            "an_answered_overlay_has_values",
            id="answered without values",
        ),
        pytest.param(
            f"update overlay set staged = '{{}}', call_no = 1 where block_no = {SUBMITTED}",
            "a_staged_answer_stands",
            id="values without an answer",
        ),
        pytest.param(
            f"update overlay set status = 'ai_complete', call_no = 1 where block_no = {SUBMITTED}",
            "an_answered_overlay_has_values",
            id="an answer without values",
        ),
        pytest.param(
            f"update overlay set status = 'ai_complete', staged = '{{}}' where block_no = {SUBMITTED}",
            "an_answered_overlay_has_an_origin",
            id="values from nowhere",
        ),
        pytest.param(
            f"update overlay set reused_run_no = 1, reused_block_no = 1 where block_no = {ANSWERED}",
            "an_answered_overlay_has_an_origin",
            id="values from two places",
        ),
        pytest.param(
            f"update overlay set status = 'ai_complete', staged = '{{}}', reused_run_no = 1 where block_no = {SUBMITTED}",
            "reuse_names_run_and_block",
            id="reused from a run but no block",
        ),
        pytest.param(
            f"update overlay set status = 'confirmed' where block_no = {ANSWERED}",
            "a_confirmed_overlay_has_confirmed_values",
            id="confirmed without values",
        ),
        pytest.param(
            "insert into model_output select call_no, 9, run_no, block_no, 'valid', '{}', '', true from model_output",
            "one_last_output_per_block",
            id="a second valid output",
        ),
        pytest.param(
            f"insert into model_output select call_no, 9, run_no, {SUBMITTED}, 'valid', '{{}}', '', false from model_output",
            "a_valid_output_is_the_last_or_says_why_not",
            id="a valid output that is not the last",
        ),
        pytest.param(
            f"insert into model_output select call_no, 9, run_no, {SUBMITTED}, 'valid', null, '', true from model_output",
            "a_valid_output_has_an_answer",
            id="a valid output without an answer",
        ),
        pytest.param(
            "insert into pack_block (pack_no, position, run_no, block_no, attempts_before)"
            " select max(pack_no), 9, run_no, block_no, 0 from pack_block where is_live group by run_no, block_no",
            "one_live_pack_per_block",
            id="two live packs for one block",
        ),
        pytest.param(
            "insert into call (pack_no, run_no, try_no, fingerprint, state, started_at, ended_at)"
            " select pack_no, run_no, 2, '', 'answered', now(), now() from call",
            "one_answer_per_pack",
            id="a second answer to a pack",
        ),
        pytest.param(
            "insert into call (pack_no, run_no, try_no, fingerprint, started_at) select pack_no, run_no, try_no, '', now() from call",
            "one_call_per_pack_and_try",
            id="one try twice",
        ),
        pytest.param(
            "update call set error_class = 'RateLimited'",
            "a_failed_call_has_an_error",
            id="an answered call with an error",
        ),
        pytest.param(
            "update call set ended_at = null", "an_ended_call_has_an_end", id="an answered call without an end"
        ),
        pytest.param(
            "insert into run (run_id, collection_no, schema_hash, policy, policy_hash, policy_sources, inputs_digest,"
            " answer_recipe, mode, kind, n_blocks, n_shards, created_at) select 'other', collection_no, schema_hash, policy,"
            " policy_hash, policy_sources, inputs_digest, answer_recipe, mode, kind, n_blocks, n_shards, now() from run",
            "one_open_run_per_inputs",
            id="two open runs of the same inputs",
        ),
        pytest.param("update run set kind = 'recorded'", "run_kind_is_known", id="a run of no known kind"),
        pytest.param("update run set state = 'complete'", "an_ended_run_has_an_end", id="an ended run without an end"),
        pytest.param(
            f"{UNPLACED} 0, 2, answer_key, 'reuse', 'r', 'e' {OF_FIRST}",
            "reuse_names_its_canonical_block",
            id="reuse of no block",
        ),
        pytest.param(
            f"{UNPLACED} 0, 2, answer_key, 'keep', 'kept', '' {OF_FIRST}",
            "a_decision_says_what_it_saw",
            id="a silent decision",
        ),
        pytest.param("update shard set end_ordinal = 0", "a_shard_has_blocks", id="an empty shard"),
        pytest.param(
            f"insert into chosen_answer select {THE_RUN}, {ANSWERED}, (select min(call_no) from call), 'r', now()",
            "a_block_has_one_end",
            id="a chosen answer beside a last output",
        ),
        pytest.param(
            f"insert into chosen_answer select {THE_RUN}, {PENDING}, (select min(call_no) from call), 'r', now()",
            "a_chosen_answer_is_valid",
            id="a chosen answer that is none",
        ),
        pytest.param(
            "update pack set cause = 'fallback'", "a_fallback_has_an_obstacle", id="a fallback without reason"
        ),
        pytest.param("update pack set obstacle = 'refused'", "an_obstacle_costs_a_hop", id="a hop that is not counted"),
        pytest.param("update pack set asks = 'nothing'", "what_a_pack_asks_is_known", id="a pack that asks nothing"),
        pytest.param("update pack set cause = 'whim'", "why_a_pack_exists_is_known", id="a pack without a cause"),
        pytest.param(
            "insert into collection (name, created_at) values ('a b', now())",
            "collection_name_is_a_plain_word",
            id="a collection with a space",
        ),
    ],
)
def test_what_would_be_wrong_is_refused_by_name(stored: Rig, statement: str, constraint: str | None) -> None:
    before = stored.states()
    diagnostic = refused(stored, statement)
    if constraint is not None:
        assert diagnostic.constraint_name == constraint
    assert stored.states() == before


STATUSES = ("pending", "skipped", "submitted", "ai_complete", "failed", "confirmed")
LEGAL = {
    ("pending", "submitted"),
    ("pending", "ai_complete"),
    ("pending", "failed"),
    ("submitted", "ai_complete"),
    ("submitted", "failed"),
    ("ai_complete", "confirmed"),
    ("failed", "confirmed"),
}
#: Status -> its fields, so that only the transition can be wrong.
FIELDS = {
    "pending": "error_class = null, staged = null, call_no = null, confirmed = null",
    "skipped": "error_class = null, staged = null, call_no = null, confirmed = null",
    "failed": "error_class = 'refused', staged = null, call_no = null, confirmed = null",
    "ai_complete": "error_class = null, staged = '{}', call_no = 1, confirmed = null",
    "confirmed": "error_class = null, staged = '{}', call_no = 1, confirmed = '{}'",
}
FIELDS["submitted"] = FIELDS["pending"]


def test_an_overlay_moves_only_along_its_transitions(stored: Rig) -> None:
    def set_status(status: str) -> None:
        stored.connection.execute(
            f"update overlay set status = '{status}', {FIELDS[status]} where ordinal = 2".encode()
        )

    for old in STATUSES:
        for new in STATUSES:
            stored.connection.execute("set session_replication_role = replica")
            verdict = "skip" if old == "skipped" else "keep"
            stored.connection.execute(
                f"update overlay set status = '{old}', verdict = '{verdict}', {FIELDS[old]} where ordinal = 2".encode()
            )
            stored.connection.execute("set session_replication_role = origin")
            if old == new or (old, new) in LEGAL:
                set_status(new)
                continue
            with pytest.raises(
                psycopg.errors.CheckViolation, match=f"{old} to {new} is not allowed|only_a_skip_is_skipped"
            ):
                set_status(new)


@pytest.mark.parametrize("old", ["ai_complete", "confirmed"])
def test_an_answer_fails_only_when_it_is_rejected(stored: Rig, old: str) -> None:
    stored.connection.execute("set session_replication_role = replica")
    stored.connection.execute(f"update overlay set status = '{old}', {FIELDS[old]} where ordinal = 2".encode())
    stored.connection.execute("set session_replication_role = origin")
    fails = f"update overlay set status = 'failed', {FIELDS['failed']}, error_class = 'rejected' where ordinal = 2"
    stored.connection.execute(fails.replace("error_class = 'refused', ", "").encode())
    assert stored.one("select status from overlay where ordinal = 2") == "failed"


@pytest.mark.parametrize("table", ["ledger", "response", "model_output", "policy_change"])
@pytest.mark.parametrize("change", ["update {} set {} = {}", "delete from {}", "truncate {}", "truncate {} cascade"])
def test_what_was_paid_for_or_audited_is_never_edited_or_taken_away(stored: Rig, table: str, change: str) -> None:
    column = {"ledger": "usd", "response": "text", "model_output": "detail", "policy_change": "path"}[table]
    before = stored.states()
    assert before[table][0] > 0

    with pytest.raises(psycopg.errors.RestrictViolation, match=f"{table} is append-only"):
        stored.connection.execute(change.format(table, column, column).encode())

    assert stored.states() == before
