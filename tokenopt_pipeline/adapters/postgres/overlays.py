"""Overlays in Postgres."""

from __future__ import annotations

from collections.abc import Mapping

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, rows, store_errors
from tokenopt_pipeline.domain.runs import Shard

# Own answers first: reuse looks at what they became. Twice, because what repeats a block may repeat one that itself was taken
# from another run. Then whoever has been waiting in other shards.
_REUSE = ("reuse_overlays", "fail_reused_overlays")
_ELSEWHERE = ("reuse_overlays_elsewhere", "fail_reused_overlays_elsewhere")
_STEPS = ("complete_overlays", "complete_chosen_overlays", "fail_overlays", *_REUSE, *_REUSE, *_ELSEWHERE)


class PostgresOverlays:
    """`ports.OverlayStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def reconcile(self, shard: Shard) -> Mapping[str, int]:
        """Moves every block whose story has ended into its final state; status -> blocks, of the whole shard."""
        place = {"run_no": shard.run_no, "shard_no": shard.shard_no}
        with store_errors(), self._connection.transaction():
            rows(self._connection, "fresh_plans")
            for step in _STEPS:
                change(self._connection, step, **place)
            counts = rows(self._connection, "overlay_counts", **place)
        return {r["status"]: r["n"] for r in counts}
