"""Calls as they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tokenopt_pipeline.domain.answer_lengths import shares
from tokenopt_pipeline.domain.consequences import Consequence
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
    #: Packs that ask blocks of this one once more, the same model or another.
    again: Sequence[NewPack]
    #: Block -> what follows under the run's routing; for every block or, where routing was not asked, for none.
    consequences: Mapping[int, Consequence] = field(default_factory=dict)
    error_class: str | None = None
    error_message: str | None = None

    @property
    def answer_tokens(self) -> tuple[int | None, ...]:
        """Billed tokens of each block's answer, in the pack's order; None for a block without one."""
        if self.response is None:
            return (None,) * len(self.answer.outputs)
        return _answer_tokens(self.answer, self.response)

    @property
    def seen_tokens(self) -> int:
        """How long one answer is at least, as a cut text has shown; 0 when it was not cut."""
        return 0 if self.response is None else seen_tokens(self.answer, self.response)


def seen_tokens(answer: DecodedAnswer, response: ModelResponse) -> int:
    """How long one answer of a pack is at least, as a cut text has shown; 0 when it was not cut."""
    if response.stop is not StopReason.TRUNCATED or len(answer.outputs) == 1:
        return 0
    known = [n for n in _answer_tokens(answer, response) if n is not None]
    # The last one was cut off: it is longer than what is left for it.
    return max([*known, response.usage.output - sum(known)])


def _answer_tokens(answer: DecodedAnswer, response: ModelResponse) -> tuple[int | None, ...]:
    said = [output.said_chars for output in answer.outputs]
    is_whole = response.stop is not StopReason.TRUNCATED
    return shares(response.usage.output, said, chars=len(response.text), is_whole=is_whole)
