"""Where the recorded outcomes are, and the pairs of models that routing is measured on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenopt_pipeline.domain.outcomes import OutcomeRow

HAIKU, SONNET, OPUS = "claude-3-haiku-20240307", "claude-3-5-sonnet-20240620", "claude-3-opus-20240229"
MINI, FOUR_O = "gpt-4o-mini-2024-07-18-FC", "gpt-4o-2024-08-06-FC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A cheap and a dear model of one recording."""

    subset: str
    small: str
    mid: str


PAIRS = (
    Pair(subset="bfcl", small=HAIKU, mid=SONNET),
    Pair(subset="bfcl", small=HAIKU, mid=OPUS),
    Pair(subset="bfcl", small=MINI, mid=FOUR_O),
    Pair(subset="routerbench", small="gpt-3.5-turbo-1106", mid="gpt-4-1106-preview"),
)


def routing_folder(argument: str | None = None) -> Path:
    """The folder of `queries.parquet`, `outcomes.parquet` and `bfcl_replay.jsonl.gz`."""
    shared = Path(os.environ.get("TOKENOPT_SHARED") or Path(__file__).parents[2] / "shared")
    return Path(argument) if argument else shared / "data" / "routing"


def published_task_rule(folder: Path, pair: Pair) -> dict[str, Any] | None:
    """What `headroom_pairs.json` says of the task rule for this pair; None when it says nothing.

    Its rule was fitted on all rows of this recording and tested on rows that are not here.
    """
    path = folder / "headroom_pairs.json"
    rows = json.loads(path.read_text("utf-8")) if path.is_file() else []
    found = next((r for r in rows if (r["set"], r["small"], r["large"]) == (pair.subset, pair.small, pair.mid)), None)
    if found is None:
        return None
    return {
        "n": found["n_test"],
        **found["threshold_set_on_public"]["task_level"],
        "saving_at_-1pp_in_hindsight": found["saving_vs_always_large_at_-1pp"]["task_level"],
    }


def naive_task_rule(rows: Sequence[OutcomeRow], target: float) -> frozenset[str]:
    """The tasks that the plain rule sends to the small model: those that lose least, one after the other, while the rows it
    is fitted on stay within the target."""
    losses: dict[str, list[float]] = {}
    for row in rows:
        losses.setdefault(row.task, []).append(row.tiers["mid"].score - row.tiers["small"].score)
    chosen: set[str] = set()
    lost = 0.0
    for task in sorted(losses, key=lambda t: (sum(losses[t]) / len(losses[t]), t)):
        lost += sum(losses[task]) / len(rows)
        if lost > -target + 1e-12:
            break
        chosen.add(task)
    return frozenset(chosen)
