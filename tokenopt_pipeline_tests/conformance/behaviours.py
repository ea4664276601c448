"""What every provider promises, row by row: each test of this folder says which row it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

PROVIDERS = ("anthropic", "openai", "google", "custom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One promise."""

    #: One sentence.
    promise: str
    #: Where it comes from.
    source: str
    #: Provider -> why the promise is not tried, or not made, there.
    gaps: Mapping[str, str] = field(default_factory=dict)


_NO_CACHE = {"custom": "open servers tell no cache use that one could rely on"}

BEHAVIOURS: Mapping[str, Behaviour] = {
    "answer-with-usage": Behaviour(
        promise="An answer is its text and what it was billed.", source="ports.Provider; each API's reference, 2026-11"
    ),
    "structured-answers": Behaviour(
        promise="Answers are valid by the original schema, whatever the dialect made of it.",
        source="structured output guides, 2026-08 to 2026-11",
    ),
    "simulated-told": Behaviour(
        promise="Whether a stand-in answered is told, and never guessed.",
        source="design.md 7: simulated, recorded, live",
    ),
    "one-attempt": Behaviour(
        promise="One call is one request: the SDK tries nothing again by itself.",
        source="anthropic 2.12, openai 3.54, google-genai 3.4: default retries, read in source",
    ),
    "timeout": Behaviour(promise="The timeout reaches the HTTP library.", source="ports.Provider"),
    "long-answers": Behaviour(
        promise="A large max_tokens needs no streaming.", source="anthropic 2.12 refuses it without an explicit timeout"
    ),
    "threads": Behaviour(promise="Threads share one client and each gets its own answer.", source="ports.Provider"),
    "transport-errors": Behaviour(
        promise="Every error of the HTTP library means that the provider is unavailable.",
        source="httpx2 2.16, every public error",
    ),
    "may-be-billed": Behaviour(
        promise="What broke after it was sent may be billed, and says so; what never left does not.",
        source="no provider makes calls idempotent",
    ),
    "odd-bodies": Behaviour(
        promise="What is no body of the API is told in one line and is one of our errors.",
        source="gateways, proxies and web servers answer in their own words",
    ),
    "retry-after": Behaviour(
        promise="The time to wait is read in whatever form it comes.", source="RFC 9110, 10.2.3; SDKs' retry-after-ms"
    ),
    "headroom": Behaviour(
        promise="An answer says what is left of the rate limits.",
        source="rate limit headers of recorded exchanges",
        gaps={
            "google": "it sends no such headers",
            "custom": "read when a server sends OpenAI's; the sandbox's does not",
        },
    ),
    "bad-address": Behaviour(
        promise="A malformed address is refused before anything is sent.", source="httpx2 2.16 would quote it"
    ),
    "nobody-there": Behaviour(promise="Nobody listening is told with the reason.", source="ports.Provider"),
    "bad-key": Behaviour(
        promise="A key that no header can carry is refused before anything is sent.",
        source="httpx2 2.16 would quote the header",
    ),
    "no-secret-told": Behaviour(
        promise="A key or password is in no message, traceback, log or repr.",
        source="house rule: secrets never reach a log",
    ),
    "truncation": Behaviour(
        promise="A cut answer is truncated, and its whole entries count.",
        source="stop reasons in each API's reference, 2026-11",
    ),
    "refusal": Behaviour(
        promise="A refusal is an answer with its words, and no error.", source="stop reasons, 2026-11"
    ),
    "failing-server": Behaviour(
        promise="A failing server is told in our words and asked once.", source="error guides, 2026-11"
    ),
    "no-money": Behaviour(
        promise="The end of the money stops the run at once.",
        source="error guides, 2026-11",
        gaps={
            "google": "the sandbox has no such fault in Google's dialect; test_google_errors.py has its bodies",
            "custom": "a bare server names no code for it, and the words mean a rate limit elsewhere",
        },
    ),
    "unknown-model": Behaviour(
        promise="A model that does not exist stops the run at once.", source="error guides, 2026-11"
    ),
    "prefix-cache": Behaviour(
        promise="A shared prefix is read from the cache the second time.",
        source="prompt caching guides, 2026-08 to 2026-11",
        gaps=_NO_CACHE,
    ),
    "same-bytes": Behaviour(
        promise="The order in which a schema's keywords are written changes nothing.",
        source="prompt caching guides: prefixes are bytes",
    ),
    "reach": Behaviour(
        promise="A provider can be asked whether it is there, for free.", source="each API's list of models"
    ),
    "capability-ladder": Behaviour(
        promise="What a server can do is found out once: json_schema, json_object, or words alone.",
        source="vLLM, llama.cpp, Ollama and gateways differ",
        gaps=dict.fromkeys(("anthropic", "openai", "google"), "the model table knows"),
    ),
    "no-room": Behaviour(
        promise="A request that has no room in the context can be split.",
        source="error bodies of vLLM, llama.cpp and the vendors",
        gaps=dict.fromkeys(
            ("anthropic", "openai", "google"), "tried on quoted bodies in the error tests of each adapter"
        ),
    ),
    "recorded-answers": Behaviour(
        promise="Every recorded answer of an endpoint we use is read, or its reason is known.",
        source="recorded exchanges",
    ),
    "recorded-usage": Behaviour(
        promise="The usage of every recorded answer is the recorded one.", source="recorded exchanges"
    ),
    "recorded-words": Behaviour(
        promise="Text and stop of every recorded answer are the recorded ones.", source="recorded exchanges"
    ),
}


def promised(behaviour: str, provider: str | None = None) -> pytest.MarkDecorator:
    """Marks a test as one of a behaviour; of `provider` alone, or of the provider its parameter `vendor` names."""
    assert behaviour in BEHAVIOURS
    return pytest.mark.promise(behaviour, provider)
