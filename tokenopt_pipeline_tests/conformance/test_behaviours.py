"""Every promise has a test for every provider or says why not, and no test is about something nobody promised."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tokenopt_pipeline_tests.conformance.behaviours import BEHAVIOURS, PROVIDERS


def test_every_promise_is_tried_at_every_provider_or_says_why_not(request: pytest.FixtureRequest) -> None:
    tried: dict[str, set[str]] = defaultdict(set)
    for item in request.session.items:
        marker = item.get_closest_marker("promise")
        if marker is not None:
            vendor = marker.args[1] or getattr(item, "callspec").params["vendor"]  # noqa: B009 - only functions have one
            tried[marker.args[0]].add(vendor)
    if len(tried) < len(BEHAVIOURS):
        pytest.skip("only a part of the folder was collected")
    for name, behaviour in BEHAVIOURS.items():
        assert tried[name] | set(behaviour.gaps) == set(PROVIDERS), name
        assert not tried[name] & set(behaviour.gaps), name


def test_every_row_is_one_sentence_with_a_source() -> None:
    for name, behaviour in BEHAVIOURS.items():
        assert behaviour.promise.endswith("."), name
        assert behaviour.promise.count(". ") == 0, name
        assert behaviour.source, name
