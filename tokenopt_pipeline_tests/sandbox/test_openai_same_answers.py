"""One block and one schema get the same values from every provider."""

from __future__ import annotations

import json
from typing import Any

from tokenopt_pipeline.sandbox.in_process import Sandbox

from . import asking, asking_chat, asking_google, asking_openai
from .asking import TEXTS, json_format, pack_schema
from .asking_openai import ENTRY

SYSTEM = asking_chat.contract()


def answers(sandbox: Sandbox, *texts: str) -> dict[str, Any]:
    """Provider -> the entries of its answer, all asked with the same system part and schema."""
    schema = pack_schema(ENTRY)
    found: dict[str, Any] = {}
    with asking.client_of(sandbox) as client:
        message = asking.ask(client, *texts, system=SYSTEM, output_config=json_format(schema))
        found["anthropic"] = asking.results(message)
    with asking_openai.client_of(sandbox) as client:
        found["openai"] = asking_openai.results(asking_openai.ask(client, *texts, instructions=SYSTEM))
    google = asking_google.client_of(sandbox)
    found["google"] = asking_google.results(asking_google.ask(google, *texts, system_instruction=SYSTEM))
    google.close()
    with asking_chat.client_of(sandbox) as client:
        found["custom"] = asking_chat.results(asking_chat.ask(client, *texts))
    return found


def test_every_provider_gives_the_same_values(sandbox: Sandbox) -> None:
    found = answers(sandbox, *TEXTS)
    assert found["openai"] == found["google"] == found["custom"] == found["anthropic"]
    assert len(found["anthropic"]) == len(TEXTS)
    assert len({json.dumps({**entry, "n": 0}) for entry in found["anthropic"]}) == len(TEXTS)  # not all alike


def test_packing_changes_no_value_anywhere(sandbox: Sandbox) -> None:
    packed = answers(sandbox, *TEXTS)
    for provider, entries in answers(sandbox, TEXTS[1]).items():
        assert [{**entry, "n": 2} for entry in entries] == [packed[provider][1]]
