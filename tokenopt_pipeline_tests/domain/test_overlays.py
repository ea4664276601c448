"""The states of an overlay."""

from __future__ import annotations

from tokenopt_pipeline.domain.overlays import FINAL, OverlayStatus


def test_a_story_has_ended_in_every_state_but_the_two_where_something_is_still_to_come() -> None:
    assert set(OverlayStatus) - set(FINAL) == {OverlayStatus.PENDING, OverlayStatus.SUBMITTED}


def test_final_states_are_named_once() -> None:
    assert len(set(FINAL)) == len(FINAL)
