"""Who answers: providers, what is known of models, and what they cost. Protocols of at most four methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Protocol

from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.schemas import ExtractionSchema
from tokenopt_pipeline.domain.usage import TokenUsage


class Provider(Protocol):
    """One vendor's models, or something that speaks like one."""

    def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """One call, without any retry. Safe to call from several threads.

        Raises TransientError, RequestRejected, ContextWindowExceeded or FatalForRun, and nothing else.
        """
        ...


class Reachable(Protocol):
    """A provider that can be asked whether it is there."""

    def reach(self, *, timeout_s: float) -> int:
        """How many models it lists. Costs nothing, and is tried once. Raises TokenOptError."""
        ...


class PrefixKeeper(Protocol):
    """A provider that keeps prefixes under names, for rent."""

    def keep(self, request: ModelRequest, *, ttl_s: float, timeout_s: float) -> tuple[str, int]:
        """(name, tokens) of the request's prefix, which it keeps from now on. Raises TokenOptError, and never retries."""
        ...

    def prolong(self, name: str, *, ttl_s: float, timeout_s: float) -> None:
        """Keeps it so long from now. Raises TokenOptError."""
        ...

    def forget(self, name: str, *, timeout_s: float) -> None:
        """Keeps it no longer. Raises TokenOptError."""
        ...


class Prices(Protocol):
    """List prices."""

    def storage_usd_per_hour(self, model: ModelRef, tokens: int) -> Decimal | None:
        """Dollars for keeping so many tokens of a prefix for an hour; None when no price is known."""
        ...

    def usd(self, model: ModelRef, usage: TokenUsage) -> Decimal | None:
        """Dollars at list price; None when no price is known."""
        ...

    def in_batches(self, share: float) -> Prices:
        """What the same costs in batches; `share` of it where no list has a price for batches."""
        ...


class Models(Protocol):
    """The model table."""

    def spec(self, ref: ModelRef) -> ModelSpec:
        """What is known of the model. Raises NotFound for a model or provider that is not in the table."""
        ...


class Tables(Protocol):
    """What is known of models and what they cost, as a run's frozen policy has it."""

    def models(self, run: Run) -> Models:
        """The model table under the run's policy."""
        ...

    def prices(self, run: Run) -> Prices:
        """The price list under the run's policy."""
        ...


class Supply(Tables, Protocol):
    """`Tables`, and whom a run may ask."""

    def provider(self, run: Run) -> Provider:
        """All providers of the run, each asked for its own models."""
        ...

    def keeper(self, run: Run, ref: ModelRef) -> PrefixKeeper | None:
        """The model's provider, when it keeps prefixes for rent."""
        ...


class Tokenizer(Protocol):
    """Counts tokens; the count is stored with the text and never made twice."""

    def count(self, text: str) -> int:
        """Tokens of the text by our tokenizer, which is nobody's in particular."""
        ...


class AnswerValidators(Protocol):
    """JSON Schema validation."""

    def check_schema(self, schema: ExtractionSchema) -> None:
        """Raises SchemaInvalid when the answer schema is not a JSON Schema."""
        ...

    def violation_of(self, schema: ExtractionSchema) -> Callable[[Mapping[str, object]], str | None]:
        """A function that says in one line what is wrong with one block's values; None when nothing is."""
        ...
