"""Knowledge: the references a run was planned with, and what each of its packs carries of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tokenopt_pipeline.domain.fingerprints import digest_text
from tokenopt_pipeline.domain.indexes import ServedIndex, lenders_of, lent_by
from tokenopt_pipeline.domain.retrieval import ContextCause, ContextDecision, ContextKind, IndexStanding

_TEXT_ID_HEX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReference:
    """A reference as it was when its run was planned; nothing that happens to it later changes the run."""

    name: str
    #: Digest of its sources.
    sources_digest: str
    #: Of it whole as packs carry it, by our tokenizer.
    n_tokens: int
    #: What its whole text is kept under, see `text_id`.
    text_id: str
    #: Recipe digest of the index that served it; None: there was none.
    index_recipe: str | None

    def standing(self, served: ServedIndex | None, together: Sequence[ServedIndex] = ()) -> IndexStanding | None:
        """How the index that serves it now stands with the run; None: there is none.

        `together`: the indexes of all the run's references, whose rules lend words to searches of each other.
        """
        if served is None:
            return None
        # Another index than the run's own answers from other sources, or answers otherwise.
        return replace(
            served.standing,
            is_stale=served.is_stale or served.recipe_digest != self.index_recipe,
            lent_by=lent_by(lenders_of(served, together)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """The references of a run's schema, in the schema's order. Empty: it wants none."""

    references: tuple[RunReference, ...] = ()

    @property
    def n_tokens(self) -> int:
        """All of them whole, by our tokenizer."""
        return sum(reference.n_tokens for reference in self.references)

    @property
    def recipe(self) -> list[list[str | None]]:
        """What of them an answer may depend on."""
        return [[each.name, each.sources_digest, each.index_recipe] for each in self.references]

    def document(self) -> list[dict[str, Any]]:
        """As JSON values; `parse_knowledge` reads them back."""
        return [asdict(reference) for reference in self.references]


NO_KNOWLEDGE = Knowledge()


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedContext:
    """What a pack carries of its run's references, and why; stored with it."""

    kind: ContextKind
    cause: ContextCause
    #: One sentence.
    reason: str
    #: What it adds to the pack's input, by our tokenizer.
    tokens: int = 0
    #: Texts in the order they are shown: references whole, or chunks that were found.
    text_ids: tuple[str, ...] = ()

    @property
    def prefix_tokens(self) -> int:
        """The part that other packs share."""
        return self.tokens if self.kind is ContextKind.FULL else 0


NO_CONTEXT = CarriedContext(
    kind=ContextKind.NONE, cause=ContextCause.NOT_ASKED, reason="the schema asks for no references"
)


def parse_knowledge(document: Sequence[Mapping[str, Any]]) -> Knowledge:
    """What `Knowledge.document` says."""
    return Knowledge(references=tuple(RunReference(**reference) for reference in document))


def text_id(text: str) -> str:
    """What a text is kept under, 32 hex digits: equal texts are kept once."""
    return digest_text(text)[:_TEXT_ID_HEX]


def carried_whole(decision: ContextDecision, knowledge: Knowledge) -> CarriedContext:
    """All references whole."""
    ids = tuple(reference.text_id for reference in knowledge.references)
    return _carried(decision, knowledge.n_tokens, ids)


def carried_found(decision: ContextDecision, passages: Sequence[str], *, tokens: int) -> CarriedContext:
    """Chunks that were found, in their order; `tokens` is their size as a request carries them."""
    return _carried(decision, tokens, tuple(text_id(passage) for passage in passages))


def carried_nothing(decision: ContextDecision) -> CarriedContext:
    """No text at all."""
    return _carried(decision, 0, ())


def _carried(decision: ContextDecision, tokens: int, text_ids: tuple[str, ...]) -> CarriedContext:
    return CarriedContext(
        kind=decision.kind, cause=decision.cause, reason=decision.reason, tokens=tokens, text_ids=text_ids
    )
