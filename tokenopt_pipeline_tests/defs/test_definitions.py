"""The code location loads anywhere, and says what it has always said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg

from tokenopt_pipeline.definitions import defs

LINE = ["blocks", "skip_decisions", "routed_packs", "batch_submissions", "model_responses", "reconciled_overlays"]
CHECKS = {
    "every_block_has_one_outcome",
    "overlays_satisfy_their_schema",
    "every_skip_has_a_rule",
    "ledger_equals_calls",
    "spend_is_within_budget",
}
LOAD = """
import psycopg, socket
from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
from tokenopt_pipeline.adapters.sandbox_process import SandboxProcess
def refuse(*_, **__): raise AssertionError("loading must not reach outside")
psycopg.connect = psycopg.Connection.connect = socket.socket.connect = EmbeddedServer.up = SandboxProcess.up = refuse
import dagster as dg
from tokenopt_pipeline.definitions import defs
dg.Definitions.validate_loadable(defs)
"""


def test_the_definitions_load_without_environment_database_or_network() -> None:
    found = subprocess.run(
        [sys.executable, "-c", LOAD], env={}, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_the_six_assets_stand_in_one_line_partitioned_by_shard() -> None:
    graph = defs.resolve_asset_graph()
    assert {k.to_user_string() for k in graph.get_all_asset_keys()} == {
        *LINE,
        "reference_index",
        "benchmark_results",
        "verification_report",
    }
    for before, asset in zip([None, *LINE], LINE, strict=False):
        node = graph.get(dg.AssetKey(asset))
        assert node.parent_keys == ({dg.AssetKey(before)} if before else set())
        assert isinstance(node.partitions_def, dg.DynamicPartitionsDefinition)
        assert node.partitions_def.name == "shards"
        assert node.group_name == "extraction"
        assert node.backfill_policy == dg.BackfillPolicy.multi_run(100)


def test_the_five_checks_are_of_the_last_asset_and_partitioned_like_it() -> None:
    graph = defs.resolve_asset_graph()
    of_the_line = {key for key in graph.asset_check_keys if key.asset_key.to_user_string() in LINE}
    assert {(k.asset_key.to_user_string(), k.name) for k in of_the_line} == {
        ("reconciled_overlays", name) for name in CHECKS
    }
    for key in of_the_line:
        assert graph.get(key).partitions_def == graph.get(dg.AssetKey("reconciled_overlays")).partitions_def
        # A failed check does not stop anything: the run has ended by then.
        assert not graph.get(key).blocking


def test_references_are_an_asset_of_their_own_without_partitions_and_with_two_checks() -> None:
    graph = defs.resolve_asset_graph()
    node = graph.get(dg.AssetKey("reference_index"))
    assert (node.partitions_def, node.parent_keys, node.group_name) == (None, set(), "references")
    checks = {key.name for key in graph.asset_check_keys if key.asset_key == dg.AssetKey("reference_index")}
    assert checks == {"indexes_match_their_sources", "recall_is_above_its_gate"}


def test_one_job_takes_shards_down_the_line_and_checks_them() -> None:
    job = defs.resolve_job_def("extraction")
    assert {k.to_user_string() for k in job.asset_layer.executable_asset_keys} == set(LINE)
    assert {k.name for k in job.asset_layer.asset_graph.asset_check_keys} == CHECKS
    assert job.executor_def is dg.in_process_executor


def test_only_provider_calls_are_in_the_providers_pool() -> None:
    nodes = defs.resolve_job_def("extraction").nodes
    assert {n.name: n.definition.pools for n in nodes if n.definition.pools} == {"model_responses": {"providers"}}


def test_a_code_location_that_is_only_loaded_imports_nothing_of_the_outside() -> None:
    """Else every look at it would wait for database drivers, vendors' libraries and vocabularies."""
    code = (
        "import sys, tokenopt_pipeline.definitions;"
        "print([m for m in ('psycopg', 'anthropic', 'openai', 'google.genai', 'genai_prices', 'tiktoken', 'pandas',"
        " 'jsonschema_rs', 'httpx2', 'tokenopt_pipeline.assembly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
