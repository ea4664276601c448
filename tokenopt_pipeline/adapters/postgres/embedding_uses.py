"""What vendors are paid for vectors, in Postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from threading import Lock

from tokenopt_pipeline.adapters.postgres.calls import admit
from tokenopt_pipeline.adapters.postgres.connection import Connection, change, row, store_errors
from tokenopt_pipeline.domain.embedding_use import EmbeddingBill, EmbeddingUse, tokens_at_most
from tokenopt_pipeline.domain.errors import PriceUnknown, RateLimited, TerminalError
from tokenopt_pipeline.domain.routing import ModelRef, parse_model_ref
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.ports import Clock, Prices, Tokenizer


@dataclass(slots=True, kw_only=True)
class PostgresEmbeddingLedger:
    """`ports.EmbeddingLedger`. Safe for several threads when `session` is."""

    #: Opens what a booking is written on.
    session: Callable[[], AbstractContextManager[Connection]]
    prices: Prices
    #: Counts where a vendor says nothing.
    tokenizer: Tokenizer
    clock: Clock
    #: Whose money it is; None: no run's, and no budget bounds it.
    run: Run | None = None
    #: Of this object's requests.
    bill: EmbeddingBill = field(default_factory=EmbeddingBill)
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def use(self, embedder: str, texts: Sequence[str]) -> Iterator[EmbeddingUse]:
        """Commits the intent, lets the request be made, and stores what it was billed.

        One that was refused cost nothing; one that broke off may have been billed, and keeps counting at its ceiling.
        """
        ref = parse_model_ref(embedder)
        ceiling = self.prices.usd(ref, TokenUsage(input_uncached=tokens_at_most(texts)))
        if ceiling is None and self.run is not None and self.run.policy.run.budget_usd is not None:
            raise PriceUnknown(
                f"embedder {embedder} has no known price, and the run has a budget; `models.{embedder}.price` declares one"
            )
        with self.session() as connection, store_errors(), connection.transaction():
            if self.run is not None:
                admit(connection, self.run.run_no, ceiling)
            begun = row(
                connection,
                "begin_embedding",
                run_no=None if self.run is None else self.run.run_no,
                embedder=embedder,
                texts=len(texts),
                usd_ceiling=ceiling,
                now=self.clock.now(),
            )
        assert begun is not None  # an insert returns its row
        use = EmbeddingUse()
        try:
            yield use
        except Exception as problem:
            if use.tokens is not None:
                self._answered(begun["use_no"], ref, texts, use)
            elif isinstance(problem, TerminalError | RateLimited):
                self._settle(begun["use_no"], state="refused", tokens=None, is_counted=None, usd=None)
            raise
        self._answered(begun["use_no"], ref, texts, use)

    def _answered(self, use_no: int, ref: ModelRef, texts: Sequence[str], use: EmbeddingUse) -> None:
        tokens = sum(map(self.tokenizer.count, texts)) if use.tokens is None else use.tokens
        usd = self.prices.usd(ref, TokenUsage(input_uncached=tokens))
        self._settle(use_no, state="answered", tokens=tokens, is_counted=use.tokens is None, usd=usd)
        with self._lock:
            self.bill = self.bill.plus(tokens, usd)

    def _settle(self, use_no: int, **found: object) -> None:
        with self.session() as connection:
            change(connection, "settle_embedding", use_no=use_no, **found)
