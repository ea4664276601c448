"""References through Dagster: indexed by configuration, checked on their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tokenopt_pipeline.defs.references import REFERENCE_CHECKS, reference_index
from tokenopt_pipeline.defs.resources import StraightLine
from tokenopt_pipeline_tests.defs.dagster_rig import DagsterRig
from tokenopt_pipeline_tests.stages.reference_rig import GUIDE

_RESOURCES = {"straight_line": StraightLine()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in GUIDE.items():
        path = tmp_path / "guide" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "guide"


def materialize(rig: DagsterRig, folder: Path, probes: Path | None = None) -> dict[str, Any]:
    """The metadata of a materialization, and check name -> whether it passed."""
    reference = {"name": "defs-guide", "paths": [str(folder)], "probes": None if probes is None else str(probes)}
    config = {"ops": {"reference_index": {"config": {"references": [reference], "embedder": "none"}}}}
    result = dg.materialize(
        [reference_index, *REFERENCE_CHECKS], instance=rig.instance, resources=_RESOURCES, run_config=config
    )
    [materialization] = result.asset_materializations_for_node("reference_index")
    checks = {found.check_name: found for found in result.get_asset_check_evaluations()}
    return {"metadata": {k: v.value for k, v in materialization.metadata.items()}, "checks": checks}


def test_a_materialization_indexes_what_the_configuration_names_and_again_changes_nothing(
    dagster_rig: DagsterRig, folder: Path
) -> None:
    first = materialize(dagster_rig, folder)["metadata"]
    again = materialize(dagster_rig, folder)["metadata"]

    assert (first["references"], first["chunks"]) == (1, 5)
    assert first["defs-guide"]["rules"] == 2
    assert again == first


def test_the_checks_pass_over_a_current_index_whose_probes_are_found(
    dagster_rig: DagsterRig, folder: Path, tmp_path: Path
) -> None:
    probes = tmp_path / "probes.jsonl"
    lines = [{"query": f"They are not here {n}.", "relevant": ["guide/Style/Contractions.yml"]} for n in range(40)]
    probes.write_text("\n".join(map(json.dumps, lines)))

    checks = materialize(dagster_rig, folder, probes)["checks"]

    assert {name: found.passed for name, found in checks.items()} == {
        "indexes_match_their_sources": True,
        "recall_is_above_its_gate": True,
    }


def test_a_reference_is_measured_with_the_rules_of_one_that_is_indexed_before_it(
    dagster_rig: DagsterRig, folder: Path, tmp_path: Path
) -> None:
    page, probes = tmp_path / "about.md", tmp_path / "probes.jsonl"
    page.write_text("# Shortened forms\n\nUse contractions instead of long forms.")
    asks = [{"query": f"They are not here {n}.", "relevant": ["about.md"]} for n in range(40)]
    probes.write_text("\n".join(map(json.dumps, asks)))
    references = [
        {"name": "defs-guide", "paths": [str(folder)]},
        {"name": "defs-about", "paths": [str(page)], "probes": str(probes), "rules": ["defs-guide"]},
    ]
    config = {"ops": {"reference_index": {"config": {"references": references, "embedder": "none"}}}}

    result = dg.materialize(
        [reference_index, *REFERENCE_CHECKS], instance=dagster_rig.instance, resources=_RESOURCES, run_config=config
    )

    [recall] = [e for e in result.get_asset_check_evaluations() if e.check_name == "recall_is_above_its_gate"]
    assert recall.metadata["recall defs-about"].value == 1


def test_a_stale_index_and_missed_probes_fail_their_checks(
    dagster_rig: DagsterRig, folder: Path, tmp_path: Path
) -> None:
    probes = tmp_path / "probes.jsonl"
    wrong = [{"query": f"They are not here {n}.", "relevant": ["guide/Style/Very.yml"]} for n in range(40)]
    probes.write_text("\n".join(map(json.dumps, wrong)))
    materialize(dagster_rig, folder, probes)
    dagster_rig.tamper("update reference set sources_digest = 'changed' where name = 'defs-guide'")

    result = dg.materialize([reference_index, *REFERENCE_CHECKS], instance=dagster_rig.instance, resources=_RESOURCES)

    failed = {e.check_name: e.metadata for e in result.get_asset_check_evaluations() if not e.passed}
    assert failed["indexes_match_their_sources"]["stale"].value == "defs-guide"
    assert failed["recall_is_above_its_gate"]["below_gate"].value == "defs-guide"
