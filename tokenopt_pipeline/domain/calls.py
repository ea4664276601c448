"""Calls as they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tokenopt_pipeline.domain.consequences import Consequence
from tokenopt_pipeline.domain.outputs import DecodedAnswer
from tokenopt_pipeline.domain.packs import NewPack, OpenPack, PackMember
from tokenopt_pipeline.domain.prefixes import Prefix
from tokenopt_pipeline.domain.requests import ModelResponse
from tokenopt_pipeline.domain.retries import NextStep
from tokenopt_pipeline.domain.usage import CallAssumptions


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredCall:
    """Everything that is stored, in one transaction, when a call was answered."""

    call_no: int
    pack: OpenPack
    members: Sequence[PackMember]
    request_fingerprint: str
    prefix: Prefix
    #: None when the provider refused the request itself, so that nothing was billed.
    response: ModelResponse | None
    usd: Decimal | None
    latency_ms: int
    assumptions: CallAssumptions
    answer: DecodedAnswer
    next_step: NextStep
    #: Packs that ask blocks of this one once more, the same model or another.
    again: Sequence[NewPack]
    #: Block -> what follows under the run's routing; for every block or, where routing was not asked, for none.
    consequences: Mapping[int, Consequence] = field(default_factory=dict)
    error_class: str | None = None
    error_message: str | None = None
