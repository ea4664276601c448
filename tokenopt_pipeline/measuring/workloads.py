"""Workloads: blocks, the schema asked of them and what is known of the right answers, the same bytes every time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tokenopt_pipeline.adapters.chunking import read_reference
from tokenopt_pipeline.adapters.files import load_schema
from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.domain.errors import NotFound
from tokenopt_pipeline.domain.fingerprints import digest
from tokenopt_pipeline.domain.references import whole_text
from tokenopt_pipeline.measuring import real_documents, recorded, recorded_packs, rule_book

#: The sandbox counts characters divided by four; the reference workload is stated in tokens.
_CHARS_PER_TOKEN = 4
_WORDS = (
    "supplier delivers pumps valves and control panels to site before the end of month while buyer pays invoice within "
    "thirty days after receipt unless notice of defect was given in writing to the office of record at that address"
).split()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceBlock:
    """One block as it goes into a collection."""

    type: str
    text: str
    #: Whether people marked it as one that holds an answer; None: nobody looked.
    carries: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What scenarios are measured on."""

    name: str
    #: Where the documents are from, for the tables.
    source: str
    schema: Mapping[str, Any]
    blocks: tuple[SourceBlock, ...]
    #: Files of a reference that the instructions hold whole: name -> Markdown. A retrieval tier takes it out and looks it up.
    reference: Mapping[str, str] = field(default_factory=dict)
    #: (What is searched for, the file that should be found): what the reference's index is measured on.
    probes: tuple[tuple[str, str], ...] = ()
    #: What real models answered to each block; None: a stand-in invents the answers.
    recording: recorded.Recording | None = None
    #: What was recorded of packs, which is read and not run.
    packs: recorded_packs.RecordedPacks | None = None

    @property
    def content(self) -> bytes:
        """The blocks as the JSON Lines that `tokenopt ingest` reads."""
        lines = (json.dumps({"type": b.type, "text": b.text}, ensure_ascii=False) for b in self.blocks)
        return "\n".join(lines).encode()

    @property
    def content_digest(self) -> str:
        """Of blocks, schema, reference and recordings: two tables compare only where it is the same."""
        known: list[object] = [self.content.decode(), self.schema, self.reference]
        if self.recording is not None:
            known.append(asdict(self.recording))
        if self.packs is not None:
            known.append({str(size): scores for size, scores in self.packs.scores.items()})
        return digest(known)[:16]

    @property
    def recorded_tiers(self) -> frozenset[str] | None:
        """The tiers that recordings say something of; None: nothing is recorded, and every tier can be tried."""
        if self.packs is not None:
            return frozenset({"worker_batching"})
        return None if self.recording is None else frozenset(self.recording.policies)

    def first(self, n_blocks: int) -> Workload:
        """The same with so many blocks at most, from the start."""
        recording = self.recording and replace(self.recording, blocks=self.recording.blocks[:n_blocks])
        packs = self.packs and self.packs.first(n_blocks)
        return replace(self, blocks=self.blocks[:n_blocks], recording=recording, packs=packs)

    def asked_with(self, members: Mapping[str, Any], *, reference: str | None) -> dict[str, Any]:
        """The schema with other members. `reference` names the index that the reference is in; None: it is told whole."""
        schema = {**self.schema, **members}
        if reference is not None:
            return {**schema, "references": [reference]}
        if self.reference:
            prompt = dict(schema.get("prompt_config", {}))
            # As the product tells a reference whole, so that a tier is not flattered by the marks of files.
            files = (read_reference(name, text.encode()) for name, text in sorted(self.reference.items()))
            whole = "\n\n".join(map(whole_text, files))
            prompt["system_instructions"] = f"{prompt.get('system_instructions', '')}\n\n{whole}"
            schema["prompt_config"] = prompt
        return schema


def _words(i: int, chars: int) -> str:
    """A text of exactly so many characters that differs from every other `i`."""
    words = f"Clause {i}: " + " ".join(_WORDS[(i * 7 + k * (3 + i % 5)) % len(_WORDS)] for k in range(chars // 3))
    return words[:chars]


def _fixed_schema(ref: str, *, instruction_chars: int, answer_chars: int) -> dict[str, Any]:
    sentence = "Read the clause, decide its topic, name the party that must act, and say in one finding what it asks. "
    return {
        "ref": ref,
        "type": "object",
        "properties": {
            "topic": {"type": "string", "enum": ["delivery", "payment", "defects", "notices"]},
            # Nothing that a block would have to state: a stand-in's inventions are rightly doubted, and doubts cost.
            "is_binding": {"type": "boolean"},
            "finding": {"type": "string", "minLength": answer_chars, "maxLength": answer_chars + 10},
        },
        "required": ["topic", "is_binding", "finding"],
        "additionalProperties": False,
        "prompt_config": {"system_instructions": (sentence * (instruction_chars // 50))[:instruction_chars]},
    }


def reference_workload(n_blocks: int = 200) -> Workload:
    """200 blocks of 325 tokens under 25,000 tokens of instructions, 200 tokens of answer each.

    The cost model this product was specified with (facts of 2026-02); its recomputed dollars are the bars in `gates.toml`.
    """
    chars = 325 * _CHARS_PER_TOKEN
    return Workload(
        name="reference",
        source="made up in the shape of the specification's cost model",
        schema=_fixed_schema("reference", instruction_chars=25_000 * _CHARS_PER_TOKEN, answer_chars=720),
        blocks=tuple(SourceBlock(type="paragraph", text=_words(i, chars)) for i in range(n_blocks)),
    )


def short_document() -> Workload:
    """29 blocks of 141 tokens under 880 tokens a call: the one document that the predecessor's logs were measured on."""
    chars = 141 * _CHARS_PER_TOKEN
    return Workload(
        name="short_29",
        source="made up in the shape of the predecessor's logged document",
        schema=_fixed_schema("short-document", instruction_chars=500 * _CHARS_PER_TOKEN, answer_chars=240),
        blocks=tuple(SourceBlock(type="paragraph", text=_words(i, chars)) for i in range(29)),
    )


def peer_workload(n_blocks: int = 500) -> Workload:
    """500 blocks of about 75 tokens, three small fields, 3,000 tokens of instructions: what public tools were measured on."""
    return Workload(
        name="peer_shape",
        source="made up in the shape of the public peer measurements",
        schema=_fixed_schema("peer-shape", instruction_chars=10_720, answer_chars=8),
        blocks=tuple(SourceBlock(type="paragraph", text=_words(i, 264)) for i in range(n_blocks)),
    )


def rules_workload(n_blocks: int = 200) -> Workload:
    """Blocks of 325 tokens that each break two of 312 rules; the rules are a reference of 25,000 tokens."""
    return Workload(
        name="rules",
        source="made up: 312 rules, 25,000 tokens, and blocks that break two each",
        schema={**rule_book.SCHEMA, "ref": "rules", "retrieval": "none"},
        blocks=tuple(SourceBlock(type="paragraph", text=text) for text in rule_book.texts(n_blocks)),
        reference=rule_book.rules(),
        probes=tuple(rule_book.questions()),
    )


def shipped_collection(folder: Path) -> Workload:
    """The demo collection that comes with the product, asked for facts and entities."""
    blocks: list[SourceBlock] = []
    for path in sorted(folder.iterdir()):
        document = read_document(path.name, path.read_bytes())
        blocks += [SourceBlock(type=b.type.value, text=b.text) for b in document.blocks]
    return Workload(
        name="shipped", source="demo/collection", schema=load_schema("facts-and-entities")[1], blocks=tuple(blocks)
    )


def cuad(data: Path) -> Workload:
    """Contracts of the Contract Understanding Atticus Dataset; lawyers marked the blocks that hold a clause."""
    return _real("cuad", "CUAD contracts, CC-BY-4.0", "contract-clauses", real_documents.cuad(data))


def contract_nli(data: Path) -> Workload:
    """Non-disclosure agreements; annotators marked the evidence for 17 hypotheses."""
    schema = real_documents.contract_nli_schema(data)
    return _real("contract_nli", "ContractNLI agreements, CC-BY-4.0", schema, real_documents.contract_nli(data))


def style_rules(data: Path) -> Workload:
    """Prose and code of the Rust book, reviewed under the rules of four real styles."""
    rules, probes = real_documents.style_rules(data)
    return _reviewed("style", data, reference=rules, probes=probes)


def style_guide(data: Path) -> Workload:
    """The same under the pages of a real style guide, which say in prose what they are about."""
    pages = real_documents.style_guide(data)
    return _reviewed("guide", data, reference=pages, probes=list(real_documents.titles(pages)))


def _reviewed(name: str, data: Path, *, reference: Mapping[str, str], probes: Sequence[tuple[str, str]]) -> Workload:
    ref, schema = load_schema("prose-style")
    return Workload(
        name=name,
        source="The Rust Programming Language, MIT or Apache-2.0",
        schema={**schema, "ref": ref, "retrieval": "none"},
        blocks=tuple(SourceBlock(type=t, text=x, carries=c) for t, x, c in real_documents.rust_book(data)),
        reference=reference,
        probes=tuple(probes),
    )


def sroie(data: Path) -> Workload:
    """Receipts line by line; a line carries when one of the four gold values stands in it."""
    return _real(
        "sroie", "ICDAR-2019 SROIE receipts, for research", real_documents.SROIE_SCHEMA, real_documents.sroie(data)
    )


def bfcl(data: Path) -> Workload:
    """Questions with functions to call: what two models answered, whether it was right, and what it cost."""
    recording = recorded.function_calls(data)
    return Workload(
        name="bfcl",
        source=f"Berkeley Function Calling Leaderboard, answers of {recorded.SMALL} and {recorded.MID} as recorded, for research",
        # Every question has functions of its own; this is what they have in common.
        schema={"ref": "calls", "properties": {"calls": {"type": "array"}}, "required": ["calls"]},
        blocks=tuple(SourceBlock(type="paragraph", text=block.text) for block in recording.blocks),
        recording=recording,
    )


def rte_packs(data: Path) -> Workload:
    """Pairs of sentences that were asked alone and in packs; their texts were not recorded."""
    packs = recorded_packs.entailment_packs(data)
    n_items = len(packs.scores[1])
    return Workload(
        name="rte_packs",
        source=f"{n_items} RTE items of BatchPrompt, answers of {recorded_packs.MODEL} at pack sizes "
        f"{', '.join(map(str, sorted(packs.scores)))} as recorded, for research",
        schema={"ref": "entailment", "properties": {"entailed": {"type": "boolean"}}, "required": ["entailed"]},
        blocks=tuple(SourceBlock(type="paragraph", text=f"item {n}") for n in range(n_items)),
        packs=packs,
    )


def _real(
    name: str, source: str, schema: str | Mapping[str, Any], blocks: Sequence[tuple[str, str, bool | None]]
) -> Workload:
    return Workload(
        name=name,
        source=source,
        schema=load_schema(schema)[1] if isinstance(schema, str) else schema,
        blocks=tuple(SourceBlock(type=t, text=x, carries=c) for t, x, c in blocks),
    )


#: Workloads that need nothing but this package.
_ALWAYS: Mapping[str, Callable[[], Workload]] = {
    "reference": reference_workload,
    "short_29": short_document,
    "peer_shape": peer_workload,
    "rules": rules_workload,
}
#: Workloads of real documents that may not be redistributed with the product.
_REAL: Mapping[str, Callable[[Path], Workload]] = {
    "cuad": cuad,
    "contract_nli": contract_nli,
    "style": style_rules,
    "guide": style_guide,
    "sroie": sroie,
    "bfcl": bfcl,
    "rte_packs": rte_packs,
}
WORKLOADS: tuple[str, ...] = (*_ALWAYS, "shipped", *_REAL)


def load_workload(name: str, *, shipped: Path, data: Path | None) -> Workload:
    """The workload. `shipped` is the demo collection's folder, `data` that of the real documents.

    Raises NotFound: there is none of that name, or its documents are not on this machine.
    """
    if name in _ALWAYS:
        return _ALWAYS[name]()
    if name == "shipped":
        return shipped_collection(shipped)
    if name not in _REAL:
        raise NotFound(f"workload {name!r} is none of {', '.join(WORKLOADS)}")
    if data is None or not data.is_dir():
        raise NotFound(f"workload {name} needs its documents, and {data or 'no folder of them'} is not there")
    return _REAL[name](data)
