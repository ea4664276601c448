"""Google's caches: explicit ones by name on v1beta, implicit ones without a promise."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.google_config import GoogleSettings
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from .asking_google import EARLIER_MODEL, MODEL, ask, client_of, results, usage_of

INSTRUCTIONS = "s" * 20_000  # 5000 tokens
NOW_S = 1_800_000_000.0


@pytest.fixture
def google_client(sandbox: Sandbox) -> Iterator[genai.Client]:
    client = client_of(sandbox)
    yield client
    client.close()


def create(client: genai.Client, *, model: str = MODEL, system: str = INSTRUCTIONS, **more: Any) -> str:
    """The name of a new cache."""
    config = types.CreateCachedContentConfig(system_instruction=system, **more)
    name = client.caches.create(model=model, config=config).name
    assert name is not None
    return name


def test_a_request_that_names_a_cache_reads_it(sandbox: Sandbox, google_client: genai.Client) -> None:
    name = create(google_client)
    response = ask(google_client, cached_content=name)
    prompt, cached, _ = usage_of(response)
    assert cached == 5000
    assert 5000 < prompt < 5200
    assert results(response) == results(ask(google_client))  # where the instructions stand changes no answer
    assert sandbox.control.stats()["cache_hits"] == 1


def test_a_cache_is_shown_listed_extended_and_removed() -> None:
    with running_sandbox(clock=lambda: NOW_S) as sandbox:
        client = client_of(sandbox)
        name = create(client, display_name="pack prompt")
        shown = client.caches.get(name=name)
        assert shown.display_name == "pack prompt"
        assert shown.model == f"models/{MODEL}"
        assert shown.usage_metadata is not None
        assert shown.usage_metadata.total_token_count == 5000
        made = datetime.fromtimestamp(NOW_S, UTC)
        assert shown.create_time == made
        assert shown.expire_time == made + timedelta(hours=1)
        extended = client.caches.update(name=name, config=types.UpdateCachedContentConfig(ttl="7200s"))
        assert extended.expire_time == made + timedelta(hours=2)
        assert [cached.name for cached in client.caches.list()] == [name]
        client.caches.delete(name=name)
        assert list(client.caches.list()) == []
        client.close()


def test_a_cache_is_gone_when_its_time_is_over() -> None:
    now_s = [NOW_S]
    with running_sandbox(clock=lambda: now_s[0]) as sandbox:
        client = client_of(sandbox)
        name = create(client, ttl="60s")
        now_s[0] += 59
        assert usage_of(ask(client, cached_content=name))[1] == 5000
        now_s[0] += 1
        with pytest.raises(errors.ClientError, match="CachedContent not found") as refused:
            ask(client, cached_content=name)
        assert (refused.value.code, refused.value.status) == (403, "PERMISSION_DENIED")
        client.close()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"system_instruction": "more"}, "can not be used with GenerateContent request setting system_instruction"),
        ({"model": EARLIER_MODEL}, "has to be the same"),
    ],
)
def test_a_cache_brings_its_own_instructions_and_model(
    google_client: genai.Client, more: dict[str, Any], words: str
) -> None:
    name = create(google_client)
    with pytest.raises(errors.ClientError, match=words):
        ask(google_client, cached_content=name, **more)


def test_a_cache_too_small_is_refused_with_the_models_minimum(google_client: genai.Client) -> None:
    with pytest.raises(errors.ClientError, match="total_token_count=2000, min_total_token_count=4096"):
        create(google_client, system="s" * 8000)
    assert create(google_client, model=EARLIER_MODEL, system="s" * 8000).startswith("cachedContents/")


def test_a_cache_is_its_keys_own_and_v1beta_only(sandbox: Sandbox, google_client: genai.Client) -> None:
    name = create(google_client)
    stranger, stable = client_of(sandbox, "another key"), client_of(sandbox, version="v1")
    with pytest.raises(errors.ClientError) as refused:
        stranger.caches.get(name=name)
    assert refused.value.code == 403
    with pytest.raises(errors.ClientError) as refused:
        create(stable)
    assert refused.value.code == 404
    stranger.close()
    stable.close()


def test_a_reset_forgets_caches(sandbox: Sandbox, google_client: genai.Client) -> None:
    create(google_client)
    sandbox.control.reset()
    assert list(google_client.caches.list()) == []


def test_a_repeated_prefix_is_read_without_being_asked_for_and_written_for_free(
    sandbox: Sandbox, google_client: genai.Client
) -> None:
    assert usage_of(ask(google_client, "one", system_instruction=INSTRUCTIONS))[1] == 0
    read = usage_of(ask(google_client, "two", system_instruction=INSTRUCTIONS))[1]
    assert 5000 - 128 < read <= 5000
    assert sandbox.control.stats()["cache_writes"] == 0


def test_what_is_short_for_the_model_is_not_kept(google_client: genai.Client) -> None:
    for model, kept in ((MODEL, False), (EARLIER_MODEL, True)):
        for text in ("one", "two"):
            read = usage_of(ask(google_client, text, model=model, system_instruction="s" * 12_000))[1]
        assert (read > 0) == kept


def test_an_implicit_hit_is_no_promise() -> None:
    config = SandboxConfig(google=GoogleSettings(implicit_hit_share=0.5))
    with running_sandbox(config) as sandbox:
        client = client_of(sandbox)
        reads = [usage_of(ask(client, f"text {n}", system_instruction=INSTRUCTIONS))[1] > 0 for n in range(40)]
        assert 8 < sum(reads) < 32
        client.close()
