"""Conversations with tools: what is stored of them. Protocols of at most four methods."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from tokenopt_pipeline.domain.bridge import StopCause, ToldResult
from tokenopt_pipeline.domain.conversations import KeptConversation, SettledTurn
from tokenopt_pipeline.domain.errors import TokenOptError
from tokenopt_pipeline.domain.packs import OpenPack


class ConversationStore(Protocol):
    """Conversations as a run begins them or goes on with them."""

    def open(self, pack: OpenPack, *, usd_ceiling: Decimal | None, now: datetime) -> KeptConversation:
        """Reserves what the pack may cost at most, once, and gives its conversation as far as it is stored.

        Raises, with nothing written, RunCancelled or BudgetExceeded.
        """
        ...

    def find(self, pack: OpenPack) -> KeptConversation | None:
        """The pack's conversation as far as it is stored; None: there has been none."""
        ...


class TurnStore(Protocol):
    """Turns of conversations: intent before, everything else after. Safe to call from several threads."""

    def begin(self, pack: OpenPack, *, fingerprint: str, usd_ceiling: Decimal | None, now: datetime) -> int:
        """Commits the intent to ask, within what is reserved, and gives the call's number. Raises RunCancelled."""
        ...

    def settle(self, turn: SettledTurn, *, now: datetime) -> None:
        """Stores a turn and its ledger row, in one transaction; the pack stays open."""
        ...

    def tell(self, pack: OpenPack, told: Sequence[ToldResult], *, calls_made: int, tools_ms: int) -> None:
        """Stores what the model is told about the calls of its newest turn."""
        ...

    def give_up(
        self,
        plain: OpenPack,
        *,
        cause: StopCause,
        reason: str,
        refused: tuple[int, TokenOptError] | None,
        now: datetime,
    ) -> None:
        """Stores that the pack is asked plainly from now on, as `plain` has it, and the call that was refused, if one was."""
        ...
