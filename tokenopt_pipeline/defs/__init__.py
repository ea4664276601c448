"""Dagster's nouns and no rules."""

import warnings

import dagster as dg

# Backfill policies and partitioned checks are previews. Dagster is pinned exactly and the tests hold both to what we use.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
