"""What a pack of a run asks: the run's own schema, or the first pass that sorts blocks by how hard they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tokenopt_pipeline.domain.answer_lengths import AnswerLength
from tokenopt_pipeline.domain.classification import classification_schema
from tokenopt_pipeline.domain.encoding import PLAIN, AnswerForm, answer_form
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.moves import Asks
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.schemas import ExtractionSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedSchema:
    """A schema and the length of what all its requests share."""

    schema: ExtractionSchema
    #: How its answers are said.
    form: AnswerForm
    #: System prompt and output schema, by our tokenizer.
    prompt_tokens: int
    #: The same with all references whole, as far as its requests carry any.
    widest_prefix_tokens: int

    def lengths(self, run: Run, model: ModelSpec) -> Mapping[str, AnswerLength]:
        """What the run knows of the model's answers to it; those of a first pass are short and not learnt."""
        return run.learned.answers_of(model.ref) if self.schema is run.schema else {}


def asked_of(run: Run, asks: Asks) -> AskedSchema:
    """What such packs of the run ask."""
    if asks is Asks.CLASSIFICATION:
        schema, tokens = classification_schema(run.schema), run.classification_tokens
        form = answer_form(schema, PLAIN)
        return AskedSchema(schema=schema, form=form, prompt_tokens=tokens, widest_prefix_tokens=tokens)
    return AskedSchema(
        schema=run.schema,
        form=run.form,
        prompt_tokens=run.prompt_tokens,
        widest_prefix_tokens=run.widest_prefix_tokens,
    )
