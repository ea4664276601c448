"""The stages' fixtures."""

from __future__ import annotations

from tokenopt_pipeline_tests.stages.conftest import database_url, rig, stages_database

__all__ = ["database_url", "rig", "stages_database"]
