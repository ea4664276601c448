"""`tokenopt explain` and `tokenopt export`: one block's story, all blocks' outcomes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenopt_pipeline.cli.figures import dollars
from tokenopt_pipeline.domain.cache_breaks import CacheFinding
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.moves import Cause
from tokenopt_pipeline.domain.overlays import OverlayStatus

_CAUSES = {
    Cause.SPLIT: "split from",
    Cause.FALLBACK: "instead of",
    Cause.ESCALATION: "escalated from",
    Cause.SECOND_OPINION: "a second opinion on",
    Cause.CLASSIFIED: "classified by",
}


def story_lines(story: Mapping[str, Any]) -> Iterator[str]:
    """A block's story as a person reads it, in the order it happened."""
    text = " ".join(story["text"].split())
    yield f"block       {story['block_uid']}"
    yield f"            {story['block_type']}, {story['n_tokens']} tokens, number {story['ordinal'] + 1} of the run, in {story['source_names']}"
    yield f"            “{text[:200]}{'…' if len(text) > 200 else ''}”"
    if story["verdict"] is None:
        yield "decision    none yet: the shard has not been materialized"
    else:
        yield f"decision    {story['verdict']} by rule {story['decision_rule']}: {story['evidence']}"
    if story["canonical_block"] is not None:
        yield f"            the identical block is {story['canonical_block']} in run {story['canonical_run']}"
    if story["not_reused"] is not None:
        yield f"not reused  {story['not_reused']}"
    pack = None
    for call in story["calls"]:
        if call["pack_no"] != pack:
            pack = call["pack_no"]
            yield from _pack_lines(call)
        if call["batch_no"] is not None:
            outcome = f", {call['batch_outcome']}" if call["batch_outcome"] else ""
            yield f"batch       {call['batch_no']}, round {call['batch_round']}: {call['batch_id'] or 'no id yet'}, {call['batch_state']}{outcome}"
        yield from _call_lines(call)
    for review in story["reviews"]:
        note = f": {review['note']}" if review["note"] else ""
        yield f"review      {review['verdict']} by {review['reviewer']}, {review['reviewed_at']:%Y-%m-%d %H:%M:%S}{note}"
    yield f"outcome     {_outcome(story)}"
    answer = story["staged"] if story["confirmed"] is None else story["confirmed"]
    if answer is not None:
        yield f"output      {json.dumps(answer, ensure_ascii=False)}"


def _outcome(story: Mapping[str, Any]) -> str:
    if story["status"] == OverlayStatus.FAILED:
        return f"failed, {story['error_class']}: {story['error_detail']}"
    if story["status"] == OverlayStatus.SKIPPED:
        return f"skipped by rule {story['rule_id']}"
    chosen = story["chosen_because"]
    return f"{story['status']}: {chosen}" if chosen is not None else str(story["status"])


def _pack_lines(call: Mapping[str, Any]) -> Iterator[str]:
    """The pack of a call: where it comes from, whom it asks and why, and what it carries."""
    pack = call["pack_no"]
    source = f", {_CAUSES[call['cause']]} pack {call['parent_pack_no']}" if call["parent_pack_no"] else ""
    yield f"pack        {pack}: place {call['position']} of {call['pack_blocks']}{source}; attempts spoilt before: {call['attempts_before']}"
    if call["pack_reason"] is not None:
        yield f"            {call['pack_reason']}"
    yield f"route       {call['route_reason']}"
    yield f"            mode {call['mode']}; cache: {call['cache_reason']}"
    if call["context_kind"] is not None:
        yield f"references  {call['context_kind']}, {call['context_tokens']:,} tokens ({call['context_cause']}): {call['context_reason']}"
    if call["bridge_cause"] is not None:
        yield f"bridge      asked plainly, {call['bridge_cause']}: {call['bridge_reason']}"


def add_cache_outcomes(story: Mapping[str, Any], findings: Iterable[CacheFinding]) -> None:
    """Tells each call of a story what became of its shared prefix; None where that is not known any more."""
    known = {finding.call_no: finding for finding in findings}
    for call in story["calls"]:
        found = known.get(call["call_no"])
        call["cache"] = None if found is None else {"outcome": found.outcome.value, "why": found.detail}


def _call_lines(call: Mapping[str, Any]) -> Iterator[str]:
    if call["call_no"] is None:
        yield "call        none yet"
        return
    if call["state"] == "started" and call["batch_no"] is not None and call["batch_state"] != "closed":
        yield f"call        {call['call_no']}, try {call['try_no']}: begun {call['started_at']:%H:%M:%S}, the batch has not come back"
    elif call["state"] == "started":
        yield f"call        {call['call_no']}, try {call['try_no']}: begun {call['started_at']:%H:%M:%S}, answer never stored"
    elif call["input_uncached"] is None:
        yield f"call        {call['call_no']}, try {call['try_no']}: {call['error_class']}, {call['error_message']}"
    else:
        usd = None if call["usd"] is None else float(call["usd"])
        yield (
            f"call        {call['call_no']}, try {call['try_no']}: input {call['input_uncached']:,} uncached, "
            f"{call['cache_read']:,} from cache, {call['cache_write_5m'] + call['cache_write_1h']:,} written; "
            f"output {call['output']:,}; {dollars(usd)} {call['kind']}, {call['latency_ms']:,} ms for the whole pack"
        )
    for _, name, arguments, problem in call["tool_calls"] or ():
        shown = problem if arguments is None else json.dumps(arguments, ensure_ascii=False)
        yield f"tools       {name} {shown[:200]}"
    if call.get("cache"):
        yield f"cache       {call['cache']['outcome'].replace('_', ' ')}: {call['cache']['why']}"
    if call["finding"] is not None:
        yield f"finding     {call['finding']}{': ' + call['detail'] if call['detail'] else ''}"
    for doubt in call["doubts"] or ():
        yield f"doubt       {doubt['id']}: {doubt['evidence']}"
    if call["verdict"]:
        yield f"verdict     {call['verdict']}"


def policy_lines(changes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Changes of policy files as a person reads them: one line each, and one per key that changed."""
    for change in changes:
        old, new = _keys(change["old_policy"] or {}), _keys(change["new_policy"])
        first = " first seen" if change["old_policy"] is None else ""
        yield f"{change['changed_at']:%Y-%m-%d %H:%M:%S}  {change['changed_by']}  {change['path']}{first}"
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key) or (key in old) != (key in new):
                yield f"    {key}: {_shown(old, key)} → {_shown(new, key)}"


def _keys(policy: Mapping[str, Any]) -> dict[str, Any]:
    """`section.key` -> value; a section that is no mapping stands for itself."""
    found: dict[str, Any] = {}
    for section, members in policy.items():
        if isinstance(members, Mapping):
            found.update((f"{section}.{key}", value) for key, value in members.items())
        else:
            found[section] = members
    return found


def _shown(policy: Mapping[str, Any], key: str) -> str:
    return json.dumps(policy[key], ensure_ascii=False) if key in policy else "—"


def write_export(records: Iterable[dict[str, Any]], *, form: str, out: Path | None, properties: list[str]) -> int:
    """Writes records as JSON lines, or flat with a column per property as CSV or Parquet; how many there were.

    Raises InvalidInput when the place cannot be written or the form needs a file.
    """
    if form == "parquet" and out is None:
        raise InvalidInput("parquet is binary: name a file with --out")
    target = None if out is None else out.with_name(out.name + ".part")
    try:
        count = _write_lines(records, target) if form == "jsonl" else _write_frame(records, target, form, properties)
        if out is not None and target is not None:
            # Whoever reads the file sees the old one or the whole new one.
            target.replace(out)
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise InvalidInput(f"{out or 'standard output'} cannot be written: {problem.strerror}") from problem
    return count


def _write_lines(records: Iterable[dict[str, Any]], target: Path | None) -> int:
    count = 0
    stream = sys.stdout if target is None else target.open("w", encoding="utf-8")
    try:
        for record in records:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
    finally:
        if target is not None:
            stream.close()
    return count


def _write_frame(records: Iterable[dict[str, Any]], target: Path | None, form: str, properties: list[str]) -> int:
    import pandas as pd

    frame = pd.DataFrame([_flat(record, properties) for record in records])
    if form == "csv":
        frame.to_csv(sys.stdout if target is None else target, index=False)
    else:
        frame.to_parquet(target, index=False)
    return len(frame)


def _flat(record: dict[str, Any], properties: list[str]) -> dict[str, Any]:
    document, block = record["immutable"]["document"], record["immutable"]["block"]
    extracted = record["extracted"]
    flat = {
        "block_uid": block["uid"],
        "document_id": document["id"],
        "source_name": document["source_name"],
        "block_index": block["index"],
        "block_type": block["type"],
        "locator": json.dumps(block["locator"], ensure_ascii=False),
        "text": block["text"],
        **{name: extracted[name] for name in ("run", "schema", "status", "rule", "error_class", "model", "kind")},
    }
    data = extracted["data"] or {}
    for name in properties:
        value = data.get(name)
        # A column has one type; nested values and mixed ones are kept as JSON.
        flat[f"data.{name}"] = (
            None if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        )
    return flat
