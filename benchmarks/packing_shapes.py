"""Packs against one block per call, for real on the sandbox: the 29-block shape, random workloads, and how right plans were.

Run as `python -m benchmarks.packing_shapes [--workloads N]`. Simulated. The 29-block shape is that of the worker this product
replaces: an extraction schema and one that asks for prose, each unpacked and in packs of 10 and 25. There packs wrote 14 to 28 %
more output than single calls, and packs that overflowed cost 32 to 139 % more; here packs must write no more and cost no more.

Random workloads have 3 to 30 blocks, up to eight fields, short or long instructions, any of three models, and are run three
times: in packs before anything is known, one block per call, and in packs again. The last is what predictions are judged by.
"""

from __future__ import annotations

import argparse
import random  # noqa: TID251 - seeded: the same workloads every time
import statistics
from typing import Any

from benchmarks.bench_rig import BenchRig, Outcome, bench_rig
from benchmarks.reference_workload import a_text

_MODELS = ("anthropic/claude-sonnet-4-5", "anthropic/claude-sonnet-5-5", "anthropic/claude-haiku-4-5")
_NAMES = (
    "responsible_party",
    "obligation",
    "deadline_reference",
    "amount_in_words",
    "revised_wording",
    "note",
    "quotation",
)


def extraction_schema() -> dict[str, Any]:
    """Short facts, as in the first of the two shapes."""
    return {
        "ref": "shape-extraction",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "topic": {"type": "string", "maxLength": 60},
            "sentiment": {"type": "string", "enum": ["positive", "negative", "neutral"]},
            "has_question": {"type": "boolean"},
            "word_count": {"type": "integer", "minimum": 0},
            "key_phrases": {"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 40}},
        },
        "required": ["topic", "sentiment", "has_question", "word_count", "key_phrases"],
    }


def revision_schema() -> dict[str, Any]:
    """Every block rewritten, as in the second: answers are longer than the blocks."""
    return {
        "ref": "shape-revision",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "action": {"type": "string", "enum": ["keep", "rewrite", "skip_nonprose"]},
            "final": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "revised_content": {"type": "string"},
                    "format": {"type": "string", "enum": ["plain", "markdown"]},
                },
                "required": ["revised_content", "format"],
            },
            "diff_summary": {"type": ["string", "null"], "maxLength": 200},
        },
        "required": ["action", "final", "diff_summary"],
        "prompt_config": {"system_instructions": "Rewrite the block in plain words and keep what it means. " * 115},
    }


def a_workload(seed: int) -> tuple[list[str], dict[str, Any], str]:
    """(texts, schema, model) of a random workload, the same for the same seed."""
    chance = random.Random(seed)
    longest = chance.choice([80, 400, 2_000])
    texts = [a_text(1_000 * seed + i, chance.randint(20, longest)) for i in range(chance.randint(3, 30))]
    properties: dict[str, Any] = {}
    for name in chance.sample(_NAMES, chance.randint(1, len(_NAMES))):
        kind: Any = chance.choice(["string", ["string", "null"], "integer"])
        properties[name] = (
            {"type": kind} if kind == "integer" else {"type": kind, "maxLength": chance.choice([40, 400])}
        )
    instructions = "Read the clause and quote what it rests on. " * chance.choice([1, 20, 400])
    schema = {
        "ref": f"workload-{seed}",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": [name for name in properties if chance.random() < 0.8],
        "prompt_config": {"system_instructions": instructions},
    }
    return texts, schema, chance.choice(_MODELS)


def _run(rig: BenchRig, collection: str, schema: dict[str, Any], model: str, **packing: Any) -> Outcome:
    policy = {"routing": {"model": model}, "packing": packing, "reuse": {"enabled": False}}
    return rig.run(collection, schema, policy)


def shapes(rig: BenchRig) -> None:
    """Prints the 29-block shape."""
    rig.ingest("shape", "document", [a_text(i, 200 + 37 * (i % 9)) for i in range(29)])
    for schema in (extraction_schema(), revision_schema()):
        alone = _run(rig, "shape", schema, _MODELS[0], enabled=False)
        for size in (None, 10, 25):
            outcome = alone if size is None else _run(rig, "shape", schema, _MODELS[0], pack_size=size)
            tokens = outcome.summary["tokens"]
            print(
                f"{schema['ref']:<17} {'unpacked' if size is None else f'packs of {size}':<12} calls {outcome.summary['calls']:>2}  "
                f"input {tokens['input']:>6,}  output {tokens['output']:>6,}  ${outcome.usd:.4f} ({outcome.usd / alone.usd - 1:+.0%})  "
                f"splits {outcome.summary['packs_from_splits']}  predicted {outcome.error:+.1%}",
                flush=True,
            )
            assert tokens["output"] <= alone.summary["tokens"]["output"]
            assert outcome.usd <= alone.usd


def workloads(rig: BenchRig, count: int) -> None:
    """Prints what random workloads cost in packs and alone, and how right the predictions were."""
    bills: list[tuple[float, float, float]] = []
    errors: list[float] = []
    brackets = 0
    for seed in range(count):
        texts, schema, model = a_workload(seed)
        rig.ingest(f"workload-{seed}", "document", texts)
        cold = _run(rig, f"workload-{seed}", schema, model)
        alone = _run(rig, f"workload-{seed}", schema, model, enabled=False)
        warm = _run(rig, f"workload-{seed}", schema, model)
        bills.append((cold.usd, warm.usd, alone.usd))
        if warm.prediction.routes[0].learnt_from:
            errors.append(warm.error)

        low, high = warm.prediction.forecast.low.usd, warm.prediction.forecast.high.usd
        assert low is not None
        assert high is not None
        brackets += float(low) <= warm.usd <= float(high)
        assert {cold.summary["violations"], warm.summary["violations"], alone.summary["violations"]} == {0}
    sums = [sum(column) for column in zip(*bills, strict=True)]
    dearer = sum(cold > alone or warm > alone for cold, warm, alone in bills)
    print(
        f"{count} random workloads: packs ${sums[0]:.4f} before anything was learnt, ${sums[1]:.4f} after; one block per call "
        f"${sums[2]:.4f}; dearer in packs: {dearer}"
    )
    absolute = sorted(abs(error) for error in errors)
    print(
        f"predicted against billed dollars, warm ({len(errors)} of {count}): median absolute error {statistics.median(absolute):.2%}, nine in ten within "
        f"{absolute[int(0.9 * len(absolute))]:.2%}, most {absolute[-1]:.2%}; between low and high: {brackets} of {count}"
    )
    assert dearer == 0


def main() -> None:
    """Prints both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", type=int, default=50)
    options = parser.parse_args()
    with bench_rig() as rig:
        print("simulated, n = 1")
        shapes(rig)
        workloads(rig, options.workloads)


if __name__ == "__main__":
    main()
