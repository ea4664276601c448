"""A loop that waits in a store is the same loop afterwards."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.bridge import begin
from tokenopt_pipeline.domain.bridge_policy import BridgePolicy
from tokenopt_pipeline.domain.loop_documents import loop_document, loop_of
from tokenopt_pipeline.domain.requests import Turn
from tokenopt_pipeline.domain.tools import ToolOutcome, ToolResult, toolbox
from tokenopt_pipeline_tests.domain.generated import JSON_VALUES, PLAIN_TEXT, examples
from tokenopt_pipeline_tests.factories import a_tool

_RESULTS = st.builds(ToolResult, call_id=PLAIN_TEXT, text=PLAIN_TEXT, is_error=st.booleans())
_TURNS = st.builds(Turn, carry=PLAIN_TEXT, results=st.lists(_RESULTS, max_size=2).map(tuple), note=PLAIN_TEXT)
_OUTCOMES = st.builds(ToolOutcome, text=PLAIN_TEXT, structured=JSON_VALUES, is_error=st.booleans())


@examples(40)
@given(
    st.lists(_TURNS, max_size=3),
    st.dictionaries(PLAIN_TEXT, _OUTCOMES, max_size=3),
    st.decimals(min_value=0, max_value=9, places=6),
    st.booleans(),
)
def test_a_loop_survives_json(turns: list[Turn], known: dict[str, ToolOutcome], usd: Decimal, answer_now: bool) -> None:
    tools, bounds = toolbox([a_tool()]), BridgePolicy()
    loop = replace(
        begin(tools, bounds, input_tokens=7, max_tokens=9),
        turns=tuple(turns),
        known=known,
        usd=usd,
        answer_now=answer_now,
        requests=2,
        tool_calls=3,
        tokens=4,
    )
    stored = json.loads(json.dumps(loop_document(loop)))
    assert loop_of(stored, tools=tools, bounds=bounds) == loop
