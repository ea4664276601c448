"""Recorded exchanges about batches of the real APIs, replayed through the SDKs and our reading of them."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.anthropic_batches import AnthropicBatches
from tokenopt_pipeline.adapters.google import GoogleProvider
from tokenopt_pipeline.adapters.google_batches import GoogleBatches
from tokenopt_pipeline.adapters.openai import OpenAIProvider
from tokenopt_pipeline.adapters.openai_batches import OpenAIBatches
from tokenopt_pipeline.domain.batches import BatchOutcome, ProviderBatch
from tokenopt_pipeline.domain.requests import StopReason
from tokenopt_pipeline.ports import BatchProvider
from tokenopt_pipeline_tests.factories import a_request

#: Status as each vendor writes it -> how it is read.
_ENDED = {
    "ended": BatchOutcome.COMPLETED,
    "completed": BatchOutcome.COMPLETED,
    "BATCH_STATE_SUCCEEDED": BatchOutcome.COMPLETED,
    "failed": BatchOutcome.FAILED,
}


@pytest.fixture(scope="module")
def recorded(shared: Path) -> Mapping[str, list[dict[str, Any]]]:
    """Vendor -> exchanges about batches, in the order of the recordings."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for vendor in ("anthropic", "openai", "google"):
        with gzip.open(shared / "data" / "wire" / f"{vendor}.jsonl.gz", "rt") as file:
            for line in file:
                record = json.loads(line)
                if "batch" in (record["tags"] or "") and "atch" in record["path"] and record["status"] == 200:
                    found[vendor].append(record)
    return found


def at(vendor: str, record: dict[str, Any]) -> BatchProvider:
    """The vendor's adapter, to which every request is answered as recorded."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        body = record["response_body"]
        content = body if isinstance(body, str) else json.dumps(body)
        return httpx2.Response(200, content=content.encode(), headers={"content-type": "application/json"})

    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    if vendor == "anthropic":
        return AnthropicBatches(AnthropicProvider(api_key="replayed", http_client=client))
    if vendor == "openai":
        return OpenAIBatches(OpenAIProvider(api_key="replayed", http_client=client))
    return GoogleBatches(GoogleProvider(api_key="replayed", http_client=client))


def described(record: dict[str, Any]) -> dict[str, Any]:
    """What the recording says of one batch, whichever vendor's."""
    body = record["response_body"]
    told = body.get("metadata", body) if "name" in body else body
    counts = body.get("request_counts") or {}
    total = counts.get("total") if "total" in counts else sum(counts.values())
    return {
        "id": body.get("id") or body["name"],
        "status": body.get("processing_status") or body.get("status") or told.get("state"),
        "total": int(str((told.get("batchStats") or {}).get("requestCount", total))),
    }


def test_every_recorded_state_of_a_batch_is_read_as_it_was(recorded: Mapping[str, list[dict[str, Any]]]) -> None:
    read = 0
    for vendor, records in recorded.items():
        for record in records:
            if record["method"] != "GET" or record["response_kind"] != "json" or "results" in record["path"]:
                continue
            body, wire = record["response_body"], at(vendor, record)
            if "data" in body:
                continue
            told = described(record)
            seen: ProviderBatch = wire.look(told["id"], timeout_s=5)
            assert seen.batch_id == told["id"], record["id"]
            assert seen.outcome == _ENDED.get(told["status"]), record["id"]
            assert seen.n_requests == (told["total"] or None), record["id"]
            assert seen.created_at.year in (2025, 2026), record["id"]
            read += 1
    assert read > 25


def test_the_recorded_listing_names_the_batches_that_were_made(recorded: Mapping[str, list[dict[str, Any]]]) -> None:
    lists = [r for r in recorded["openai"] if r["method"] == "GET" and "data" in r["response_body"]]
    assert lists
    for record in lists:
        listed = at("openai", record).listed(since=_long_ago(), timeout_s=5)
        assert [b.batch_id for b in listed] == list(dict.fromkeys(b["id"] for b in record["response_body"]["data"]))


def test_every_recorded_result_is_read_as_a_call_of_its_own_is(
    recorded: Mapping[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    answers = 0
    for vendor, records in recorded.items():
        for i, record in enumerate(records):
            has_results = record["path"].endswith("/results") or "output" in (
                record["response_body"].get("metadata") or {} if isinstance(record["response_body"], dict) else {}
            )
            if not has_results:
                continue
            wire, file = at(vendor, record), tmp_path / f"{vendor}{i}"
            assert wire.download("batches/any" if vendor == "google" else "any", file, timeout_s=5) is False
            for line in filter(bytes.strip, file.read_bytes().splitlines()):
                assert wire.id_in(line)
                response = wire.response(line.decode(), a_request(), simulated=False)
                assert response.stop in (StopReason.COMPLETE, StopReason.TRUNCATED)
                assert response.text
                assert response.usage.output > 0
                answers += 1
    assert answers >= 8


def _long_ago() -> Any:
    from datetime import UTC, datetime

    return datetime(2020, 1, 1, tzinfo=UTC)
