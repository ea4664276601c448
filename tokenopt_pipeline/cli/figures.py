"""A run's figures as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenopt_pipeline.domain.embedding_use import EmbeddingBill
from tokenopt_pipeline.domain.overlays import OverlayStatus


def summary_lines(s: Mapping[str, Any]) -> list[str]:
    """The summary of a run, one aspect per line. Unknown is a dash."""
    outcomes, tokens = s["outcomes"], s["tokens"]
    split = f" ({s['packs_from_splits']} from splits)" if s["packs_from_splits"] else ""
    failed = f" · {s['calls_failed']} tries got no answer" if s["calls_failed"] else ""
    lost = s["calls_that_may_be_billed"]
    failed += f" · {lost} sent whose answer was never had (possibly billed)" if lost else ""
    lines = [
        f"run         {s['run']}   {s['schema']} over {s['collection']}   {s['state']}, {s['kind']}",
        f"blocks      {s['blocks']:,} in {s['shards']} shard{'s' if s['shards'] != 1 else ''}",
        f"skipped     {outcomes['skipped']:,}{_by(s['skipped_by_rule'])}",
    ]
    if s["reused_by_rule"]:
        lines.append(f"reused      {sum(s['reused_by_rule'].values()):,}{_by(s['reused_by_rule'])}")
    lines += [
        f"packs       {s['packs']:,}{split}",
        f"calls       {s['calls']:,}{failed}",
        *_batch_lines(s),
        f"tokens      input {tokens['input']:,} (read from cache {tokens['input_cached']:,}, written to it "
        f"{tokens['cache_write']:,}) · output {tokens['output']:,}",
        *_cache_lines(s.get("cache", {})),
        *_bridge_lines(s.get("bridge", {})),
        *context_lines(s.get("contexts", {})),
        *embedding_lines(s.get("embeddings", {})),
        *_routing_lines(s.get("routing") or {}),
        f"dollars     {dollars(s['usd'])} {s['kind']}, at list price",
        f"baseline    {dollars(s['usd_baseline'])} computed: the same blocks one per call, nothing skipped, cached or packed",
        "overlays    "
        + " · ".join(
            f"{name} {n:,}"
            for name, n in outcomes.items()
            if n or name in (OverlayStatus.AI_COMPLETE, OverlayStatus.FAILED)
        ),
    ]
    if s["failed_by_class"]:
        lines.append(f"failed      {outcomes['failed']:,}{_by(s['failed_by_class'])}")
    if s["budget_usd"] is not None:
        lines.append(f"budget      {dollars(s['budget_usd'])}")
    lines.append(f"violations  {s['violations']} of exactly one outcome per block")
    return lines


def _batch_lines(s: Mapping[str, Any]) -> list[str]:
    """What went in batches, and what is still out; nothing of a run without any."""
    if not s.get("batches") and not s.get("batches_outstanding"):
        return []
    out, late = s.get("batches_outstanding", 0), s.get("calls_superseded", 0)
    told = f" · {out:,} outstanding with {s['requests_outstanding']:,} requests" if out else ""
    told += f" · {late:,} answers came after another" if late else ""
    return [f"batches     {s['batches']:,}{told}"]


def _cache_lines(outcomes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What became of the calls' shared prefixes, and why the newest of those that did not read theirs."""
    if not outcomes:
        return []
    counts = ", ".join(f"{name.replace('_', ' ')} {told['calls']:,}" for name, told in outcomes.items())
    return [f"cache       {counts}"] + [
        f"            {name.replace('_', ' ')}, call {told['newest']}: {told['why']}"
        for name, told in outcomes.items()
        if name not in ("hit", "first")
    ]


def _bridge_lines(bridge: Mapping[str, Any]) -> list[str]:
    """How packs' models talked with tools, and why some were asked plainly after all."""
    if not bridge:
        return []
    many = "" if bridge["conversations"] == 1 else "s"
    going_on = f", {bridge['going_on']:,} going on" if bridge["going_on"] else ""
    gave_up = (
        f"; asked plainly after all {sum(bridge['gave_up'].values()):,}{_by(bridge['gave_up'])}"
        if bridge["gave_up"]
        else ""
    )
    return [
        f"bridge      {bridge['conversations']:,} conversation{many} of {bridge['turns']:,} turns{going_on}; "
        f"{bridge['tool_calls']:,} tool calls, {bridge['calls_made']:,} made{gave_up}"
    ]


def context_lines(contexts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What packs carry of their references, and what decided that."""
    told = [f"{kind.replace('_', ' ')} {sum(causes.values()):,}{_by(causes)}" for kind, causes in contexts.items()]
    return [f"references  {' · '.join(told)}"] if told else []


def embedding_lines(told: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What vendors are paid for the vectors of queries; nothing where the embedder is this machine's."""
    return [
        f"embeddings  {name}: {one['requests']:,} requests, {one['tokens']:,} tokens"
        f"{' by our count' if one.get('is_counted') else ''}, {dollars(one['usd'])}, within the dollars"
        for name, one in told.items()
    ]


def bill_document(bill: EmbeddingBill) -> dict[str, Any]:
    """What vectors cost, as JSON values."""
    return {
        "requests": bill.requests,
        "tokens": bill.tokens,
        "usd": None if bill.usd is None else float(bill.usd),
    }


def _routing_lines(told: Mapping[str, Any]) -> list[str]:
    """Whom the run asked beside or instead of the first model; one line per kind that happened."""
    if not told:
        return []
    usd = told["usd"]
    lines = []
    if told["fallbacks"]:
        lines.append(f"fallback    {sum(told['fallbacks'].values()):,} blocks{_by(told['fallbacks'])}")
    if told["first_passes"]:
        lines.append(
            f"first pass  {told['first_passes']:,} blocks for {dollars(usd['first_passes'])}{_by(told['classified'])}"
        )
    if told["second_opinions"]:
        lines.append(f"compared    {told['second_opinions']:,} blocks for {dollars(usd['second_opinions'])}")
    if told["escalated"]:
        lines.append(f"escalated   {sum(told['escalated'].values()):,} blocks{_by(told['escalated'])}")
    if told["earlier_answers_stand"]:
        lines.append(f"            an earlier answer stands for {told['earlier_answers_stand']:,} blocks")
    return lines


def dollars(amount: float | None) -> str:
    """`$0.0123`; a dash for an unknown amount, which is not zero."""
    if amount is None:
        return "—"
    return f"${amount:,.2f}" if amount >= 100 else f"${amount:,.4f}"


def _by(counts: Mapping[str, int]) -> str:
    return f"  ({', '.join(f'{name} {n:,}' for name, n in counts.items())})" if counts else ""
