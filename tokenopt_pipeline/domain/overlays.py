"""Overlays: the one output of a block in a run, and the states it passes through."""

from __future__ import annotations

from enum import StrEnum


class OverlayStatus(StrEnum):
    """`pending | skipped`, as decided; `pending → submitted → ai_complete | failed`; `pending → ai_complete | failed` (reused);
    and in review `ai_complete | failed → confirmed`, `ai_complete | confirmed → failed` (rejected)."""

    PENDING = "pending"  # to be asked or reused, and neither has happened
    SKIPPED = "skipped"  # a rule says why
    SUBMITTED = "submitted"  # in a pack
    AI_COMPLETE = "ai_complete"  # the model's values, valid against the schema
    FAILED = "failed"  # no usable answer; the error class says why
    CONFIRMED = "confirmed"  # a person agreed, or said what is right


#: States in which a block's story has ended.
FINAL = (OverlayStatus.SKIPPED, OverlayStatus.AI_COMPLETE, OverlayStatus.FAILED, OverlayStatus.CONFIRMED)
