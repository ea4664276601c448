"""Batches of the stand-in, as two vendors show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch. Times are seconds since 1970."""

    name: str
    #: What it was made with.
    told: Mapping[str, Any]
    made_at: float
    ends_at: float
    results: Sequence[Mapping[str, Any]]
    errors: Sequence[Mapping[str, Any]]

    def document(self, now: float) -> dict[str, Any]:
        """The batch as its vendor shows it at this moment."""
        has_ended = now >= self.ends_at
        total = len(self.results) + len(self.errors)
        if "requests" in self.told:
            counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
            counts["succeeded" if has_ended else "processing"] = total
            return {
                "id": self.name,
                "type": "message_batch",
                "processing_status": "ended" if has_ended else "in_progress",
                "request_counts": counts,
                "created_at": datetime.fromtimestamp(self.made_at, UTC).isoformat(),
                "expires_at": datetime.fromtimestamp(self.made_at + 86_400, UTC).isoformat(),
                "ended_at": datetime.fromtimestamp(self.ends_at, UTC).isoformat() if has_ended else None,
                "results_url": None,
            }
        done = (
            {"completed": len(self.results), "failed": len(self.errors)} if has_ended else {"completed": 0, "failed": 0}
        )
        return {
            "id": self.name,
            "object": "batch",
            "endpoint": self.told["endpoint"],
            "input_file_id": self.told["input_file_id"],
            "completion_window": "24h",
            "status": "completed" if has_ended else "in_progress",
            "output_file_id": f"{self.name}-results" if has_ended and self.results else None,
            "error_file_id": f"{self.name}-errors" if has_ended and self.errors else None,
            "created_at": int(self.made_at),
            "in_progress_at": int(self.made_at),
            "completed_at": int(self.ends_at) if has_ended else None,
            "expires_at": int(self.made_at) + 86_400,
            "request_counts": {"total": total, **done},
            "metadata": self.told.get("metadata") or {},
        }


def done_line(custom_id: str, body: Mapping[str, Any], *, is_openai: bool) -> dict[str, Any]:
    """A request that was carried out, in a file of results."""
    if not is_openai:
        return {"custom_id": custom_id, "result": {"type": "succeeded", "message": body}}
    response = {"status_code": 200, "request_id": f"req_{custom_id}", "body": body}
    return {"id": f"line_{custom_id}", "custom_id": custom_id, "response": response, "error": None}


def failed_line(custom_id: str, *, is_openai: bool) -> dict[str, Any]:
    """A request that was not, with the status in the response and no error beside it, as OpenAI writes it."""
    if not is_openai:
        error = {"type": "error", "error": {"type": "api_error", "message": "Internal server error"}}
        return {"custom_id": custom_id, "result": {"type": "errored", "error": error}}
    body = {"error": {"message": "The server had an error", "type": "server_error", "code": None}}
    response = {"status_code": 500, "request_id": f"req_{custom_id}", "body": body}
    return {"id": f"line_{custom_id}", "custom_id": custom_id, "response": response, "error": None}
