"""How far the predicted input tokens are from the billed ones, on recorded requests to Anthropic.

python -m benchmarks.token_error [DIRECTORY with token_truth/ and wire/]

Predicted as the pipeline predicts: our count of what is sent, times the model's ratio, plus the overhead when the request
binds the answer. Counted are the texts, and the JSON of tools, tool calls and the output schema where there are any; the
recordings are other people's small requests, so the constant part of a request weighs more than it does in a pack.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.errors import NotFound
from tokenopt_pipeline.domain.routing import ModelRef

#: Shorter texts say nothing about a ratio.
_LONG_TOKENS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One recorded request."""

    model: str
    #: What besides plain text it holds: `text`, `schema` or `tools`.
    kind: str
    counted_tokens: int
    billed_tokens: int
    #: None for a model that is not in the table.
    predicted_tokens: int | None

    @property
    def error(self) -> float:
        """Predicted over billed, minus one."""
        return (self.predicted_tokens or 0) / self.billed_tokens - 1


def measure(directory: Path) -> list[Measured]:
    """Every recorded text-only request to Anthropic."""
    with gzip.open(directory / "wire" / "anthropic.jsonl.gz", "rt", encoding="utf-8") as lines:
        bodies = {record["id"]: record["request_body"] for record in map(json.loads, lines)}
    with (directory / "token_truth" / "usage.csv").open(encoding="utf-8", newline="") as rows:
        truth = [row for row in csv.DictReader(rows) if row["provider"] == "anthropic"]
    return [_measured(row, bodies[row["id"]]) for row in truth]


def _measured(row: dict[str, str], body: dict[str, Any]) -> Measured:
    schema = (body.get("output_config") or {}).get("format") or body.get("output_format")
    kind = "tools" if body.get("tools") else "schema" if schema else "text"
    parts = [
        *_texts(body.get("system")),
        *(text for message in body["messages"] for text in _texts(message["content"])),
    ]
    parts += [_as_sent(part) for part in (body.get("tools"), schema and schema["schema"]) if part]
    counted = sum(map(O200kTokenizer().count, parts))
    predicted = None
    try:
        model = ModelTable().spec(ModelRef(provider="anthropic", model=row["model"]))
        predicted = model.billed_tokens(counted) + (0 if kind == "text" else model.request_overhead_tokens)
    except NotFound:
        pass
    return Measured(
        model=row["model"],
        kind=kind,
        counted_tokens=counted,
        billed_tokens=int(row["input_tokens"]),
        predicted_tokens=predicted,
    )


def _as_sent(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            yield from _texts(part)
    elif isinstance(content, dict):
        if content.get("type") == "tool_use":
            yield _as_sent(content.get("input"))
        yield from _texts(content.get("text") or content.get("content"))


def report(measured: list[Measured]) -> Iterator[str]:
    """One line per model and kind, and one for all that are in the table."""
    groups: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    for request in measured:
        groups[request.model, request.kind].append(request)
        if request.predicted_tokens is not None:
            groups["all in the table", request.kind].append(request)
    yield f"{'model':32}{'kind':8}{'n':>4}{'billed':>8}{'|error|':>9}{'error':>8}{'long ratio':>12}"
    for (model, kind), requests in sorted(groups.items(), key=lambda group: (group[0][1], -len(group[1]))):
        errors = [r.error for r in requests if r.predicted_tokens is not None]
        ratios = [r.billed_tokens / r.counted_tokens for r in requests if r.counted_tokens >= _LONG_TOKENS]
        told = f"{median(map(abs, errors)):9.1%}{median(errors):8.1%}" if errors else f"{'—':>9}{'—':>8}"
        ratio = f"{median(ratios):.2f} (n={len(ratios)})" if ratios else "—"
        yield f"{model:32}{kind:8}{len(requests):4}{median(r.billed_tokens for r in requests):8.0f}{told}{ratio:>14}"


if __name__ == "__main__":
    shared = Path(os.environ.get("TOKENOPT_SHARED") or Path(__file__).parents[2] / "shared") / "data"
    for line in report(measure(Path(sys.argv[1]) if len(sys.argv) > 1 else shared)):
        print(line)
