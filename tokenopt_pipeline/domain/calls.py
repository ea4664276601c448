"""Calls as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tokenopt_pipeline.domain.answer_lengths import shares
from tokenopt_pipeline.domain.outputs import DecodedAnswer
from tokenopt_pipeline.domain.packs import NewPack, OpenPack, PackMember
from tokenopt_pipeline.domain.prefixes import Prefix
from tokenopt_pipeline.domain.requests import ModelResponse, StopReason
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
    again: Sequence[NewPack]
    error_class: str | None = None
    error_message: str | None = None

    @property
    def answer_tokens(self) -> tuple[int | None, ...]:
        """Billed tokens of each block's answer, in the pack's order; None for a block without one."""
        said = [output.said_chars for output in self.answer.outputs]
        if self.response is None:
            return (None,) * len(said)
        is_whole = self.response.stop is not StopReason.TRUNCATED
        return shares(self.response.usage.output, said, chars=len(self.response.text), is_whole=is_whole)
