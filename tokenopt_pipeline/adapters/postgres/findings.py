"""What the asset checks look at, per shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.postgres.connection import Connection, row, rows
from tokenopt_pipeline.domain.runs import Run, Shard

_MOST_OFFENDERS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinding:
    """Whether one property holds for one shard, and the numbers behind it."""

    passed: bool
    numbers: Mapping[str, int | float | str]
    #: Addresses of some offending blocks.
    offenders: tuple[str, ...] = ()


class PostgresFindings:
    """Five properties of a shard's overlays, each looked up on its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def every_block_has_one_outcome(self, run: Run, shard: Shard) -> CheckFinding:
        """As many overlays as blocks, and none whose story is still open. No blocks is a failure."""
        found = row(self._connection, "check_one_outcome", run_no=shard.run_no, shard_no=shard.shard_no)
        if found is None:
            return CheckFinding(passed=False, numbers={"blocks": 0})
        numbers = {"blocks": found["expected"], "overlays": found["found"], "open": found["open"]}
        return CheckFinding(
            passed=found["expected"] > 0 and found["found"] == found["expected"] and found["open"] == 0,
            numbers=numbers,
            offenders=tuple(found["offenders"]),
        )

    def overlays_satisfy_their_schema(self, run: Run, shard: Shard) -> CheckFinding:
        """Every answer is valid against the run's schema, asked anew."""
        violation = JsonSchemaValidators().violation_of(run.schema)
        answers = rows(self._connection, "check_answers", run_no=shard.run_no, shard_no=shard.shard_no)
        broken = [f"{a['block_uid']}: {problem}" for a in answers if (problem := violation(a["answer"])) is not None]
        return CheckFinding(
            passed=not broken,
            numbers={"answers": len(answers), "invalid": len(broken)},
            offenders=tuple(broken[:_MOST_OFFENDERS]),
        )

    def every_skip_has_a_rule(self, run: Run, shard: Shard) -> CheckFinding:
        """Every skipped overlay has its stored decision, and every stored skip was applied."""
        found = row(self._connection, "check_skips", run_no=shard.run_no, shard_no=shard.shard_no)
        assert found is not None  # an aggregate always has a row
        return CheckFinding(passed=found["unexplained"] == 0 and found["unapplied"] == 0, numbers=dict(found))

    def ledger_equals_calls(self, run: Run, shard: Shard) -> CheckFinding:
        """Every answered call has its ledger row and response, and no row stands alone."""
        found = row(self._connection, "check_ledger", run_no=shard.run_no, shard_no=shard.shard_no)
        assert found is not None  # an aggregate always has a row
        numbers = {name: float(n) if name == "usd" else int(n) for name, n in found.items()}
        return CheckFinding(
            passed=found["mismatched"] == 0 and found["answered"] == found["in_ledger"], numbers=numbers
        )

    def spend_is_within_budget(self, run: Run, shard: Shard) -> CheckFinding:
        """What the whole run has spent is at most its budget. Without a budget there is nothing to exceed."""
        found = row(self._connection, "check_budget", run_no=shard.run_no)
        assert found is not None  # the shard's foreign key says so
        limit, spent = found["budget_usd"], found["spent_usd"]
        return CheckFinding(
            passed=limit is None or spent <= limit,
            numbers={"spent_usd": float(spent), "budget_usd": "none" if limit is None else float(limit)},
        )
