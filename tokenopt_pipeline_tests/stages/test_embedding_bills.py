"""Vectors that a vendor is paid for are in the books: of a run, within its budget, or of whoever built an index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.adapters.google_embeddings import GoogleEmbedder
from tokenopt_pipeline.adapters.openai_embeddings import OpenAIEmbedder
from tokenopt_pipeline.adapters.postgres.embedding_uses import PostgresEmbeddingLedger
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.domain.embedding_use import EmbeddingBill
from tokenopt_pipeline.domain.errors import BudgetExceeded, PriceUnknown, ProviderUnavailable, RequestRejected
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline_tests.adapters.embedding_server import EmbeddingServer, embedding_server
from tokenopt_pipeline_tests.stages.reference_rig import Words
from tokenopt_pipeline_tests.stages.rig import OneSupply, Rig, clauses

SMALL = "text-embedding-3-small"
#: Dollars per token, by the list.
PRICE = Decimal("0.02") / 1_000_000


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as running:
        yield running


def planned(rig: Rig, **policy: Any) -> Run:
    rig.ingest(*clauses(2))
    return rig.plan(rig.request(**policy))


def ledger_of(rig: Rig, run: Run | None) -> PostgresEmbeddingLedger:
    return PostgresEmbeddingLedger(
        session=lambda: nullcontext(rig.connection), prices=ListPrices(), tokenizer=Words(), clock=rig.clock, run=run
    )


def openai(server: EmbeddingServer, ledger: PostgresEmbeddingLedger, *, vendor: str = "openai") -> OpenAIEmbedder:
    return OpenAIEmbedder(SMALL, dimension=8, vendor=vendor, api_key="k", base_url=f"{server.url}/v1", ledger=ledger)


def summary(rig: Rig, run: Run) -> dict[str, Any]:
    return PostgresSummaries(rig.connection, tables=OneSupply(model=rig.model)).summary(run)


def states(rig: Rig) -> list[tuple[str, int | None, Decimal | None]]:
    return [(r["state"], r["tokens"], r["usd"]) for r in rig.rows("select * from embedding_use order by use_no")]


def test_what_a_runs_searches_embed_is_in_its_dollars(rig: Rig, server: EmbeddingServer) -> None:
    run = planned(rig)
    ledger = ledger_of(rig, run)
    openai(server, ledger).query("Two words")
    openai(server, ledger).query("Three more words")

    # The server says one token for each request.
    assert states(rig) == [("answered", 1, PRICE)] * 2
    assert ledger.bill == EmbeddingBill(requests=2, tokens=2, usd=2 * PRICE)
    told = summary(rig, run)
    assert told["embeddings"][f"openai/{SMALL}"]["requests"] == 2
    assert told["usd"] == float(2 * PRICE)


def test_every_request_of_many_texts_is_one_entry_and_an_index_is_no_runs(rig: Rig, server: EmbeddingServer) -> None:
    openai(server, ledger_of(rig, None)).documents([f"text {n}" for n in range(130)])

    assert rig.rows("select run_no, texts from embedding_use order by use_no") == [
        {"run_no": None, "texts": n} for n in (64, 64, 2)
    ]


def test_where_a_vendor_says_nothing_tokens_are_counted_and_that_is_told(rig: Rig, server: EmbeddingServer) -> None:
    run = planned(rig)
    embedder = GoogleEmbedder(
        "gemini-embedding-001", dimension=8, api_key="k", base_url=server.url, ledger=ledger_of(rig, run)
    )
    embedder.query("Three more words")

    told = summary(rig, run)["embeddings"]["google/gemini-embedding-001"]
    assert (told["tokens"], told["is_counted"]) == (3, True)


def test_a_refused_request_costs_nothing_and_one_that_broke_off_counts_at_its_ceiling(
    rig: Rig, server: EmbeddingServer
) -> None:
    run = planned(rig)
    embedder = openai(server, ledger_of(rig, run))
    server.refusal = (400, {"error": {"message": "no"}})
    with pytest.raises(RequestRejected):
        embedder.query("words")
    assert summary(rig, run)["usd"] == 0.0
    server.refusal = (500, {"error": {"message": "no"}})
    with pytest.raises(ProviderUnavailable):
        embedder.query("words")

    assert states(rig) == [("refused", None, None), ("intended", None, None)]
    # Five letters, and two tokens for where the text begins and ends.
    assert summary(rig, run)["usd"] == float(7 * PRICE)


def test_an_answer_that_cannot_be_used_is_billed_all_the_same(rig: Rig, server: EmbeddingServer) -> None:
    run = planned(rig)
    server.missing = 1
    with pytest.raises(ProviderUnavailable, match="a vector of 7 numbers"):
        openai(server, ledger_of(rig, run)).query("words")

    assert states(rig) == [("answered", 1, PRICE)]


def test_a_budget_without_room_for_a_query_stops_it_before_it_is_sent(rig: Rig, server: EmbeddingServer) -> None:
    run = planned(rig, run={"budget_usd": "0.0001"})
    embedder = openai(server, ledger_of(rig, run))
    embedder.query("x" * 2_000)
    server.refusal = (500, {"error": {"message": "no"}})
    with pytest.raises(ProviderUnavailable):
        embedder.query("x" * 4_000)
    # What broke off may have been billed, and leaves a fifth of the budget.
    with pytest.raises(BudgetExceeded):
        embedder.query("x" * 2_000)

    assert len(server.asked) == 2
    assert [state for state, *_ in states(rig)] == ["answered", "intended"]


def test_a_run_with_a_budget_asks_no_embedder_whose_price_nobody_knows(rig: Rig, server: EmbeddingServer) -> None:
    run = planned(rig, run={"budget_usd": "1"})
    with pytest.raises(PriceUnknown, match=f"`models.custom/{SMALL}.price` declares one"):
        openai(server, ledger_of(rig, run), vendor="custom").query("words")
    assert server.asked == []


def test_without_a_price_the_dollars_of_the_run_are_unknown(rig: Rig, server: EmbeddingServer) -> None:
    run = planned(rig)
    openai(server, ledger_of(rig, run), vendor="custom").query("words")
    assert summary(rig, run)["usd"] is None
