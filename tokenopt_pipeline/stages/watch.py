"""Watch: how outstanding batches stand, with one listing per provider. Changes what is known, and asks for nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from tokenopt_pipeline.domain.adoption import listing_reaches_back_to
from tokenopt_pipeline.domain.batches import LIMITS, Batch, BatchOutcome, BatchState, ProviderBatch
from tokenopt_pipeline.domain.errors import RequestRejected, ShardBusy, TokenOptError
from tokenopt_pipeline.domain.runs import Run, RunKind, Shard
from tokenopt_pipeline.ports import BatchProvider, ShardStore
from tokenopt_pipeline.stages.batching import LOOK_S, Batching


@dataclass(slots=True, kw_only=True)
class Watched:
    """What a look at all that was due told."""

    looked: int = 0
    ended: int = 0
    adopted: int = 0
    unborn: int = 0
    #: Provider -> why it could not be looked at.
    problems: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Looks at batches of any runs."""

    batching: Batching
    shards: ShardStore
    #: Run number -> the run.
    run_of: Callable[[int], Run]
    #: Whether time is up; looked at between requests.
    stop: Callable[[], bool] = lambda: False

    def watch(self, due: Sequence[Batch]) -> Watched:
        """Looks at these batches. A provider that cannot be reached does not keep the others from being looked at."""
        told = Watched()
        by_provider: dict[tuple[str, RunKind], list[Batch]] = {}
        for batch in due:
            by_provider.setdefault((batch.provider, self.run_of(batch.run_no).kind), []).append(batch)
        for (name, kind), batches in by_provider.items():
            if self.stop():
                break
            try:
                self._watch_provider(name, kind, batches, told)
            except TokenOptError as problem:
                told.problems[name] = str(problem)
                for batch in batches:
                    self._postpone(batch, str(problem))
        return told

    def _watch_provider(self, name: str, kind: RunKind, batches: Sequence[Batch], told: Watched) -> None:
        provider = self.batching.supply.batches(name, kind)
        if provider is None:
            raise RequestRejected(f"batches at {name} are {kind}, and nobody of that kind can be asked here")
        since = min(listing_reaches_back_to(b.asked_at or b.intended_at) for b in batches)
        listed = provider.listed(since=since, timeout_s=LOOK_S)
        by_id = {batch.batch_id: batch for batch in listed}
        for batch in batches:
            if self.stop():
                return
            told.looked += 1
            if batch.state is BatchState.INTENDED:
                self._resolve(batch, provider, listed, told)
                continue
            seen = by_id.get(batch.batch_id or "") or self._looked_up(batch, provider)
            if seen is None:
                self._lose(batch, told)
            elif self.batching.told(batch, seen, provider):
                told.ended += 1

    def _resolve(self, batch: Batch, provider: BatchProvider, listed: list[ProviderBatch], told: Watched) -> None:
        shard = Shard(run_no=batch.run_no, shard_no=batch.shard_no)
        try:
            # Whoever is making the batch right now holds the shard.
            with self.shards.exclusive(shard):
                now_stored = [b for b in self.batching.book.open_batches(shard) if b.batch_no == batch.batch_no]
                if not now_stored or now_stored[0].state is not BatchState.INTENDED:
                    return
                timeout_s = self.run_of(batch.run_no).policy.calls.timeout_s
                found = self.batching.resolve(now_stored[0], provider, listed, timeout_s=timeout_s)
        except ShardBusy:
            return
        told.adopted += found == "adopted"
        told.unborn += found == "unborn"

    def _looked_up(self, batch: Batch, provider: BatchProvider) -> ProviderBatch | None:
        """What the provider tells of a batch that its listing leaves out; None: it does not know it."""
        assert batch.batch_id is not None  # submitted
        try:
            return provider.look(batch.batch_id, timeout_s=LOOK_S)
        except RequestRejected:
            return None

    def _lose(self, batch: Batch, told: Watched) -> None:
        """The provider does not know a batch that it made. Once it could not be under way any more, its packs are free."""
        now = self.batching.clock.now()
        life = timedelta(hours=LIMITS[batch.provider].expires_h)
        why = f"{batch.provider} does not know batch {batch.batch_id} any more"
        if now - batch.intended_at <= life:
            self._postpone(batch, why)
            return
        told.ended += self.batching.book.ended(batch, BatchOutcome.FAILED, n_done=None, problem=why, now=now)

    def _postpone(self, batch: Batch, problem: str) -> None:
        self.batching.book.noted(
            batch, look_at=self.batching.look_at(batch), now=self.batching.clock.now(), problem=problem
        )
