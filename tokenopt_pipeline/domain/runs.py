"""Runs and shards: one pass of one schema over one collection under one frozen policy, cut into Dagster partitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tokenopt_pipeline.domain.encoding import FORM_VERSION, PLAIN, AnswerForm, answer_form
from tokenopt_pipeline.domain.fingerprints import digest
from tokenopt_pipeline.domain.knowledge import NO_KNOWLEDGE, Knowledge
from tokenopt_pipeline.domain.learning import NOTHING_LEARNED, Learned
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.policy import Policy, ResolvedPolicy, snapshot
from tokenopt_pipeline.domain.prompts import PACK_FORMAT
from tokenopt_pipeline.domain.schemas import ExtractionSchema


class RunState(StrEnum):
    """Where a run stands. `open → complete`, `open → cancelled`; a run with failed blocks completes too."""

    OPEN = "open"
    COMPLETE = "complete"
    CANCELLED = "cancelled"


class RunKind(StrEnum):
    """Whether a stand-in or a paid provider answers. Frozen with the run: figures of both kinds are never mixed."""

    SIMULATED = "simulated"
    LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it was planned; nothing of it changes but its state."""

    run_no: int
    run_id: str
    collection: str
    schema: ExtractionSchema
    #: Our tokenizer's count of the schema's system prompt.
    prompt_tokens: int
    policy: Policy
    policy_hash: str
    mode: str
    kind: RunKind
    state: RunState
    n_blocks: int
    n_shards: int
    #: What was known of the models when it was planned.
    learned: Learned = NOTHING_LEARNED
    #: Our tokenizer's count of the first pass's system prompt and output schema; 0: no rule has two passes.
    classification_tokens: int = 0
    #: The references of its schema as they were when it was planned.
    knowledge: Knowledge = NO_KNOWLEDGE

    @property
    def widest_prefix_tokens(self) -> int:
        """Our tokenizer's count of what requests of the run share, with all references whole."""
        return self.prompt_tokens + self.knowledge.n_tokens

    @property
    def form(self) -> AnswerForm:
        """How its answers are said."""
        return answer_form(self.schema, self.policy.packing.output_form)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run that is about to be stored."""

    run_id: str
    collection: str
    #: The collection's documents in order, as they were when the run was planned.
    document_ids: tuple[str, ...]
    schema: ExtractionSchema
    #: The schema file's own content.
    schema_source: Mapping[str, object]
    prompt_tokens: int
    resolved: ResolvedPolicy
    #: See `answer_recipe`.
    answer_recipe: str
    mode: str
    kind: RunKind
    #: In order, each block of the documents in exactly one.
    spans: tuple[ShardSpan, ...]
    #: Frozen with it, and no part of what makes two runs the same.
    learned: Learned = NOTHING_LEARNED
    classification_tokens: int = 0
    #: The policy as it was asked for; None: `resolved` is.
    requested: Policy | None = None
    knowledge: Knowledge = NO_KNOWLEDGE
    #: Text id -> text, of all that the knowledge names.
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def inputs_digest(self) -> str:
        """What makes two runs the same."""
        return inputs_digest(
            self.collection,
            self.document_ids,
            self.schema,
            self.requested or self.resolved.policy,
            mode=self.mode,
            kind=self.kind,
            knowledge=self.knowledge,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A shard of a run."""

    run_no: int
    shard_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSpan:
    """A shard's part of a run: blocks `first` (inclusive) to `end` (exclusive), counted from 0 in document order."""

    shard_no: int
    first: int
    end: int


def shard_spans(n_blocks: int, shard_blocks: int) -> Iterator[ShardSpan]:
    """Spans that cover all blocks, each exactly once, in order. A run without blocks has no shard."""
    for number, first in enumerate(range(0, n_blocks, shard_blocks)):
        yield ShardSpan(shard_no=number, first=first, end=min(first + shard_blocks, n_blocks))


def shard_key(run_id: str, shard_no: int) -> str:
    """The Dagster partition key of a shard. Keys of one run sort in shard order."""
    return f"{run_id}-{shard_no:06d}"


def inputs_digest(
    collection: str,
    document_ids: Sequence[str],
    schema: ExtractionSchema,
    policy: Policy,
    *,
    mode: str,
    kind: RunKind,
    knowledge: Knowledge = NO_KNOWLEDGE,
) -> str:
    """What makes two runs the same: collection, documents in order, schema and its name, references, policy, mode, kind."""
    parts = [collection, list(document_ids), schema.ref, schema.schema_hash, snapshot(policy), mode, kind]
    return digest([*parts, *_known(knowledge)])


def answer_recipe(
    schema: ExtractionSchema,
    policy: Policy,
    kind: RunKind,
    models: Sequence[ModelSpec],
    knowledge: Knowledge = NO_KNOWLEDGE,
) -> str:
    """What an answer depends on beside the block itself; blocks with equal content and recipe may share an answer.

    `models` are those the routing can reach: how they are asked counts, their limits do not.
    """
    settings = snapshot(policy)
    manners = [[str(m.ref), m.output_method, m.thinking, *_address(policy, m)] for m in models]
    # What was measured decides which rules a person writes, and no answer.
    routing = {key: value for key, value in settings["routing"].items() if key != "measured"}
    parts: list[object] = [PACK_FORMAT, schema.schema_hash, routing, manners, kind, *_known(knowledge)]
    if knowledge.references and schema.retrieval == "eligible":
        # What decides which of their chunks are found, and when they are sent whole.
        parts.append({"retrieval": settings["retrieval"]})
    if policy.bridge.enabled:
        parts.append({"bridge": settings["bridge"]})
    if policy.packing.output_form != PLAIN:
        # Compact answers are another question; plain ones are the one that was always asked.
        parts += [policy.packing.output_form, FORM_VERSION]
    return digest(parts)


def _known(knowledge: Knowledge) -> list[object]:
    """Nothing without references, so that what knows none keeps the digest it always had."""
    return [{"references": knowledge.recipe}] if knowledge.references else []


def _address(policy: Policy, model: ModelSpec) -> list[str]:
    """Where a model of the policy's own server is asked: two servers may call different models alike."""
    server = policy.providers.get(model.ref.provider)
    return [] if server is None else [server.base_url]
