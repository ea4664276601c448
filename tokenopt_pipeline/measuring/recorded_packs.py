"""Recorded packs: how often a real model was right about an item asked alone, and in one prompt with others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: The recorded model, which stands for the tier `mid`; the weaker one was not recorded at the sizes that `small` is asked with.
MODEL = "gpt-4-32k"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPacks:
    """Scores by pack size. Nothing is asked again: texts and bills were not recorded."""

    #: Pack size -> share of its runs in which each item was right, in the order of items.
    scores: Mapping[int, tuple[float, ...]]

    def first(self, n_items: int) -> RecordedPacks:
        """The same with so many items at most, from the start."""
        return RecordedPacks(scores={size: scores[:n_items] for size, scores in self.scores.items()})

    def at(self, pack_size: int) -> int | None:
        """The smallest recorded size that is no smaller: larger packs are answered no better. None: none is."""
        return min((size for size in self.scores if size >= pack_size), default=None)


def entailment_packs(data: Path) -> RecordedPacks:
    """BatchPrompt's 269 pairs of sentences (RTE), up to nine runs per size, each in another order.

    A run without a readable answer to an item counts as wrong.
    """
    import pandas as pd

    frame = pd.read_parquet(data / "pack_size" / "rte_items.parquet")
    frame = frame[frame["model"] == MODEL]
    items = sorted(frame["item"].unique())
    scores = {}
    for size, rows in frame.groupby("pack_size"):
        right = rows.groupby("item")["correct"].sum().reindex(items, fill_value=0)
        scores[int(str(size))] = tuple(float(n) / int(rows["vote"].nunique()) for n in right)
    return RecordedPacks(scores=scores)
