"""Token counts with the shipped vocabulary."""

from __future__ import annotations

import base64
import gc
import gzip
import json
import time
import weakref
from collections.abc import Mapping
from importlib.resources import files
from itertools import pairwise

import pytest

from tokenopt_pipeline.adapters import tokenizers
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline_tests.adapters.anthropic_exchange import shared


@pytest.fixture(scope="module")
def tokenizer() -> O200kTokenizer:
    tokenizer = O200kTokenizer()
    tokenizer.count("the vocabulary is loaded")
    return tokenizer


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        # Every byte and every common word is one token; digits go in threes.
        ("hello world", 2),
        ("a", 1),
        (" the", 1),
        ("123456", 2),
        ("1234567", 3),
    ],
)
def test_known_texts_have_their_known_counts(tokenizer: O200kTokenizer, text: str, tokens: int) -> None:
    assert tokenizer.count(text) == tokens


def merged_by_hand(word: str, ranks: Mapping[bytes, int]) -> int:
    """Tokens of one word by the definition of byte pair encoding: merge the lowest-ranked neighbours until none merge."""
    parts = [bytes([byte]) for byte in word.encode()]
    while True:
        pairs = [(ranks[one + other], i) for i, (one, other) in enumerate(pairwise(parts)) if one + other in ranks]
        if not pairs:
            return len(parts)
        _, i = min(pairs)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


@pytest.mark.parametrize(
    "word",
    ["antidisestablishmentarianism", "お誕生日おめでとう", "Donaudampfschifffahrt", "合同期限", "обязательство", "😀"],
)
def test_a_word_is_merged_as_byte_pair_encoding_is_defined(tokenizer: O200kTokenizer, word: str) -> None:
    packed = files("tokenopt_pipeline.adapters").joinpath("vocabularies", "o200k_base.tiktoken.gz").read_bytes()
    lines = (line.split() for line in gzip.decompress(packed).splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    assert tokenizer.count(word) == merged_by_hand(word, ranks)


def test_recorded_requests_to_a_model_of_this_vocabulary_were_billed_these_tokens_and_seven(
    tokenizer: O200kTokenizer,
) -> None:
    """A chat request of one message costs seven tokens more than its text."""
    with gzip.open(shared("data/wire/openai.jsonl.gz"), "rt", encoding="utf-8") as lines:
        records = [record for record in map(json.loads, lines) if record["endpoint"] == "POST /v1/chat/completions"]
    compared = 0
    for record in records:
        body, answer = record["request_body"] or {}, record["response_body"]
        messages = body.get("messages") or []
        is_plain = not {"tools", "functions", "response_format"} & set(body) and record["status"] == 200
        if not is_plain or [m["role"] for m in messages] != ["user"] or not isinstance(messages[0]["content"], str):
            continue
        if body["model"] in ("gpt-4o", "gpt-4o-mini") and isinstance(answer, dict):
            assert tokenizer.count(messages[0]["content"]) + 7 == answer["usage"]["prompt_tokens"], record["id"]
            compared += 1
    assert compared >= 20


@pytest.mark.parametrize("special", ["<|endoftext|>", "<|endofprompt|>"])
def test_special_tokens_are_text_like_any_other(tokenizer: O200kTokenizer, special: str) -> None:
    assert tokenizer.count(special) > 1


def test_no_text_is_too_odd_to_count(tokenizer: O200kTokenizer) -> None:
    assert tokenizer.count("half \ud800, \x00, \u2028, e\u0301") > 0


@pytest.mark.parametrize("run", ["a", " ", "\n", "汉", "!", "aB", "😀", "e\u0301"], ids=repr)
def test_a_million_characters_without_a_break_are_counted_in_seconds(tokenizer: O200kTokenizer, run: str) -> None:
    text = run * (1_000_000 // len(run))
    start = time.perf_counter()
    assert tokenizer.count(text) > 1_000
    assert time.perf_counter() - start < 5


def test_counting_in_slices_adds_at_most_one_token_a_cut(tokenizer: O200kTokenizer) -> None:
    sentence = "The supplier shall deliver forty units to the warehouse in Bremen. "
    text = sentence * 3_000
    whole = len(tokenizers._encoding().encode_ordinary(text))
    assert whole <= tokenizer.count(text) <= whole + len(text) // tokenizers._SLICE_CHARS + 1


def test_a_vocabulary_that_is_not_the_published_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizers, "_SHA256", "0" * 64)
    with pytest.raises(RuntimeError, match="does not hold the published vocabulary"):
        tokenizers._encoding.__wrapped__()


def test_the_shipped_vocabulary_has_a_token_for_every_byte() -> None:
    packed = files("tokenopt_pipeline.adapters").joinpath("vocabularies", "o200k_base.tiktoken.gz").read_bytes()
    assert len(gzip.decompress(packed).splitlines()) == 199_998


def test_a_released_vocabulary_is_held_no_more_and_loaded_again_when_it_is_needed(tokenizer: O200kTokenizer) -> None:
    held = weakref.ref(tokenizers._encoding())
    O200kTokenizer.release()
    gc.collect()
    assert held() is None
    assert tokenizer.count("hello world") == 2
