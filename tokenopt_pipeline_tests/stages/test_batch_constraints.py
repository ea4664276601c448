"""What the database itself refuses about batches, whoever asks."""

from __future__ import annotations

import psycopg
import pytest

from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline_tests.stages.batch_rig import BatchRig
from tokenopt_pipeline_tests.stages.rig import Rig


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("update batch set state = 'intended', outcome = null", "closed to intended is not allowed"),
        ("update batch set state = 'submitted', outcome = null", "closed to submitted is not allowed"),
        ("update batch set batch_id = 'another'", "cannot become another"),
        ("update batch set batch_id = null", "cannot become"),
        ("update batch_result set line = '{}'", "batch_result is append-only"),
        ("delete from batch_result", "batch_result is append-only"),
        ("truncate batch_result", "batch_result is append-only"),
        (
            "insert into batch_result select batch_no, 'nobody-1', '{}', true, now() from batch",
            "a_result_is_of_an_asked_request",
        ),
        ("insert into batch_result select * from batch_result", "batch_result_pkey"),
        (
            "insert into batch_request select batch_no, 'other-1', call_no, pack_no from batch_request",
            "a_call_is_in_one",
        ),
        (
            "insert into batch (run_no, shard_no, model, key, round, n_requests, n_bytes, intended_at, look_at)"
            " select run_no, shard_no, model, key, 2, 1, 1, now(), now() from batch",
            "one_batch_per_intent",
        ),
        (
            "insert into batch (run_no, shard_no, model, key, round, state, batch_id, n_requests, n_bytes, intended_at, look_at)"
            " select run_no, shard_no, model, 'ffffffffffffffff', 2, 'submitted', batch_id, 1, 1, now(), now() from batch",
            "one_intent_per_provider_batch",
        ),
        (
            "insert into batch (run_no, shard_no, model, key, round, state, n_requests, n_bytes, intended_at, look_at)"
            " select run_no, shard_no, model, 'ffffffffffffffff', 2, 'submitted', 1, 1, now(), now() from batch",
            "a_submitted_batch_has_an_id",
        ),
    ],
)
def test_what_would_lose_or_double_a_batch_is_refused(rig: Rig, sandbox: Sandbox, statement: str, said: str) -> None:
    sandbox.control.reset()
    batches = BatchRig(rig=rig, sandbox=sandbox, vendor="openai")
    run, shard = batches.plan(blocks=4)
    batches.finish(run, shard)
    with pytest.raises(psycopg.errors.IntegrityError, match=said):
        rig.connection.execute(statement.encode())
