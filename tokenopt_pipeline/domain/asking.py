"""What a pack of a run asks: the run's own schema, or the first pass that sorts blocks by how hard they are."""

from __future__ import annotations

from dataclasses import dataclass

from tokenopt_pipeline.domain.classification import classification_schema
from tokenopt_pipeline.domain.moves import Asks
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.schemas import ExtractionSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedSchema:
    """A schema and the length of what all its requests share."""

    schema: ExtractionSchema
    #: System prompt and output schema, by our tokenizer.
    prompt_tokens: int


def asked_of(run: Run, asks: Asks) -> AskedSchema:
    """What such packs of the run ask."""
    if asks is Asks.CLASSIFICATION:
        return AskedSchema(schema=classification_schema(run.schema), prompt_tokens=run.classification_tokens)
    return AskedSchema(schema=run.schema, prompt_tokens=run.prompt_tokens)
