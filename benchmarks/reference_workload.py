"""The reference workload: 200 blocks of 325 tokens under 25,000 tokens of instructions, on claude-sonnet-4-5's prices.

Run as `python -m benchmarks.reference_workload`. Every figure is simulated: the sandbox answers over the vendor's own SDK and
counts four characters as a token, the whole line runs, and dollars are list prices (3 in, 15 out, 3.75 written to and 0.30
read from the cache, per million). An answer in the schema's own words takes about 200 tokens, of which a third are names of
fields and choices. `floor` is what the same workload was computed to cost without our encoding and planning; `batch` is both, in batches. `edited` is the
same collection again with 20 of its 200 blocks edited, with reuse on and off.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from benchmarks.bench_rig import BenchRig, Outcome, bench_rig

MODEL = "anthropic/claude-sonnet-4-5"
N_BLOCKS, BLOCK_CHARS, PREFIX_CHARS, EDITED = 200, 4 * 325, 4 * 25_000, 20
#: Dollars that the same inputs were computed to cost: caching, packs of 10, and both.
FLOORS = {"naive": 16.16, "caching": 2.74, "packing": 2.33, "both": 1.07}
#: The last of them in batches at half price.
BATCH_FLOOR = 0.52
_SWITCHES = {"naive": (False, False), "caching": (True, False), "packing": (False, True), "both": (True, True)}
_WORDS = (
    "supplier delivers pumps valves and control panels to site before the end of month while buyer pays invoice within "
    "thirty days after receipt unless notice of defect was given in writing to the office of record at that address"
).split()


def a_text(number: int, chars: int) -> str:
    """A block of so many characters, unlike every other."""
    words = " ".join(_WORDS[(number * 7 + k * (3 + number % 5)) % len(_WORDS)] for k in range(chars // 4))
    return f"Clause {number}: {words}"[:chars]


def the_schema() -> dict[str, Any]:
    """Instructions of 25,000 tokens with everything that stands beside them, and fields whose answers take about 200."""
    sentence = (
        "Read the clause, decide what it is about, name the party that must act, and quote the words it rests on. "
    )
    text = {"type": "string", "minLength": 100, "maxLength": 120}
    kinds = ["delivery_obligation", "payment_obligation", "warranty_limitation", "notice_requirement"]
    return {
        "ref": "reference-workload",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "clause_category": {"type": "string", "enum": kinds},
            "responsible_party": {"type": "string", "minLength": 20, "maxLength": 40},
            "obligation_statement": text,
            "supporting_quotation": text,
            "monetary_consequences": {"type": ["string", "null"], "minLength": 20, "maxLength": 40},
            "termination_condition": {"type": ["string", "null"], "minLength": 20, "maxLength": 40},
            "governing_jurisdiction": {"type": ["string", "null"], "minLength": 20, "maxLength": 40},
            "individual_deadlines": {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "deadline_description": {"type": "string", "minLength": 30, "maxLength": 50},
                        "calendar_reference": {"type": ["string", "null"], "minLength": 10, "maxLength": 20},
                    },
                    "required": ["deadline_description", "calendar_reference"],
                },
            },
        },
        "required": [
            "clause_category",
            "responsible_party",
            "obligation_statement",
            "supporting_quotation",
            "monetary_consequences",
            "termination_condition",
            "governing_jurisdiction",
            "individual_deadlines",
        ],
        "prompt_config": {"system_instructions": (sentence * (PREFIX_CHARS // len(sentence)))[: PREFIX_CHARS - 4_500]},
    }


def policy(mode: str, form: str, *, reuse: bool = False) -> Mapping[str, Mapping[str, Any]]:
    """The policy of one row."""
    caching, packing = _SWITCHES[mode]
    return {
        "routing": {"model": MODEL},
        "caching": {"enabled": caching},
        "packing": {"enabled": packing, "output_form": form},
        "reuse": {"enabled": reuse},
    }


def edited(texts: list[str]) -> list[str]:
    """The blocks with every tenth one edited."""
    step = len(texts) // EDITED
    return [f"{text[:-9]} (edited)" if i % step == 0 else text for i, text in enumerate(texts)]


def told(outcome: Outcome) -> str:
    """One row's figures."""
    tokens, summary = outcome.summary["tokens"], outcome.summary
    assert summary["violations"] == summary["outcomes"]["failed"] == summary["packs_from_splits"] == 0
    return (
        f"${outcome.usd:7.4f}  calls {summary['calls']:>3}  input {tokens['input']:>9,} (cached {tokens['input_cached']:>9,}, "
        f"written {tokens['cache_write']:>6,})  output {tokens['output']:>6,}  predicted {outcome.error:+.1%}"
    )


def measured(rig: BenchRig) -> None:
    """Prints every row."""
    texts = [a_text(i, BLOCK_CHARS) for i in range(N_BLOCKS)]
    schema = the_schema()
    rig.ingest("reference", "contract", texts)
    for form in ("plain", "compact"):
        for mode, floor in FLOORS.items():
            outcome = rig.run("reference", schema, policy(mode, form))
            print(f"{mode:<8} {form:<8} {told(outcome)}  floor ${floor:.2f}", flush=True)
        outcome = rig.run("reference", schema, policy("both", form), mode="async")
        print(f"{'batch':<8} {form:<8} {told(outcome)}  floor ${BATCH_FLOOR:.2f}", flush=True)
        # The same once more: now lengths and counts have been learnt.
        print(f"{'both':<8} {form:<8} {told(rig.run('reference', schema, policy('both', form)))}  warm", flush=True)
    rig.ingest("reference", "contract", edited(texts))
    for reuse in (True, False):
        outcome = rig.run("reference", schema, policy("both", "compact", reuse=reuse))
        print(f"{'both':<8} compact  {told(outcome)}  edited, reuse {'on' if reuse else 'off'}", flush=True)


def main() -> None:
    """Prints the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(
        f"{N_BLOCKS} blocks x {BLOCK_CHARS // 4} tokens, prefix about {PREFIX_CHARS // 4:,}, {MODEL}, simulated, n = 1"
    )
    with bench_rig() as rig:
        measured(rig)


if __name__ == "__main__":
    main()
