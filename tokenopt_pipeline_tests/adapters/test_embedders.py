"""Every embedder gives one vector of length 1 per text, the same whatever it is embedded with, or an error of ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest

from tokenopt_pipeline.adapters import minilm
from tokenopt_pipeline.adapters.embedders import open_embedder
from tokenopt_pipeline.adapters.google_embeddings import GoogleEmbedder
from tokenopt_pipeline.adapters.minilm import MiniLMEmbedder
from tokenopt_pipeline.adapters.openai_embeddings import OpenAIEmbedder
from tokenopt_pipeline.domain.errors import (
    AuthenticationFailed,
    InvalidInput,
    ModelUnknown,
    ProviderUnavailable,
    RateLimited,
)
from tokenopt_pipeline.ports import Embedder
from tokenopt_pipeline_tests.adapters.embedding_server import EmbeddingServer, embedding_server, vector_of

KEY = "sk-recognisable-0123456789abcdef"
TEXTS = ["A short text.", "Are not you tired?", "é — ünïcode ✓", "word " * 300]


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as running:
        yield running


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def vendor_embedder(vendor: str, server: EmbeddingServer, dimension: int = 8) -> Embedder:
    if vendor == "google":
        return GoogleEmbedder("gemini-embedding-001", dimension=dimension, api_key=KEY, base_url=server.url)
    model = "text-embedding-3-small" if vendor == "openai" else "nomic-embed-text"
    return OpenAIEmbedder(model, dimension=dimension, vendor=vendor, api_key=KEY, base_url=f"{server.url}/v1")


@pytest.fixture(params=["minilm", "openai", "google", "custom"])
def embedder(request: pytest.FixtureRequest, server: EmbeddingServer) -> Embedder:
    return MiniLMEmbedder() if request.param == "minilm" else vendor_embedder(request.param, server)


def test_there_is_one_vector_of_the_dimension_and_of_length_1_per_text(embedder: Embedder) -> None:
    vectors = embedder.documents(TEXTS)

    assert [len(vector) for vector in vectors] == [embedder.dimension] * len(TEXTS)
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-5) for vector in vectors)


def test_a_text_has_the_same_vector_alone_in_company_and_again(embedder: Embedder) -> None:
    together = embedder.documents(TEXTS)

    for text, vector in zip(TEXTS, together, strict=True):
        [alone] = embedder.documents([text])
        assert alone == pytest.approx(vector, abs=1e-6)
    for turned, vector in zip(embedder.documents(TEXTS[::-1])[::-1], together, strict=True):
        assert turned == pytest.approx(vector, abs=1e-6)
    assert embedder.query(TEXTS[0]) == embedder.query(TEXTS[0])


def test_different_texts_have_different_vectors(embedder: Embedder) -> None:
    assert len({tuple(vector) for vector in embedder.documents(TEXTS)}) == len(TEXTS)


def test_no_texts_need_no_vectors(embedder: Embedder) -> None:
    assert embedder.documents([]) == []


def test_minilm_knows_what_is_close() -> None:
    asked, close, far = MiniLMEmbedder().documents(
        ["How do I shorten a sentence?", "Write concise sentences.", "The boundary layer separates at the wing's edge."]
    )

    assert cosine(asked, close) > cosine(asked, far) + 0.3


def test_minilm_is_the_published_model() -> None:
    # The first numbers that the model card's example prints for its first sentence.
    vector = MiniLMEmbedder().query("This is an example sentence")

    assert vector[:3] == pytest.approx([0.0676, 0.0635, 0.0487], abs=0.01)


def test_other_weights_under_the_same_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "_MODEL_SHA256", "0" * 64)
    monkeypatch.setattr(minilm, "_session", minilm._session.__wrapped__)

    with pytest.raises(InvalidInput, match="expected weights"):
        MiniLMEmbedder().documents(["x"])


@pytest.mark.parametrize("vendor", ["openai", "custom"])
def test_many_texts_go_in_several_requests_and_come_back_in_order(vendor: str, server: EmbeddingServer) -> None:
    texts = [f"text {n}" for n in range(130)]
    embedder = vendor_embedder(vendor, server)

    vectors = embedder.documents(texts)

    assert [len(body["input"]) for _, _, body in server.asked] == [64, 64, 2]
    for text, vector in zip(texts, vectors, strict=True):
        assert cosine(vector, vector_of(text, 8)) == pytest.approx(math.hypot(*vector_of(text, 8)))


def test_long_texts_are_spread_by_their_length(server: EmbeddingServer) -> None:
    vendor_embedder("openai", server).documents(["x" * 200_000, "y" * 200_000])

    assert [len(body["input"]) for _, _, body in server.asked] == [1, 1]


def test_openai_is_told_the_dimension_and_other_servers_are_not(server: EmbeddingServer) -> None:
    vendor_embedder("openai", server).query("x")
    vendor_embedder("custom", server).query("x")

    assert [body.get("dimensions") for _, _, body in server.asked] == [8, None]
    assert {body["encoding_format"] for _, _, body in server.asked} == {"float"}


def test_google_is_told_documents_from_queries(server: EmbeddingServer) -> None:
    embedder = vendor_embedder("google", server)
    embedder.documents(["x"])
    embedder.query("x")

    tasks = [each["taskType"] for _, _, body in server.asked for each in body["requests"]]
    assert tasks == ["RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"]


@pytest.mark.parametrize("vendor", ["openai", "google", "custom"])
@pytest.mark.parametrize(
    ("status", "error"),
    [(401, AuthenticationFailed), (404, ModelUnknown), (429, RateLimited), (500, ProviderUnavailable)],
)
def test_a_refusal_is_an_error_of_ours_without_the_key(
    vendor: str, status: int, error: type[Exception], server: EmbeddingServer
) -> None:
    server.refusal = (status, {"error": {"message": f"no, {KEY}", "code": status, "status": "X"}})

    with pytest.raises(error) as refused:
        vendor_embedder(vendor, server).documents(["x"])
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("vendor", ["openai", "google", "custom"])
def test_a_vector_of_another_dimension_is_refused(vendor: str, server: EmbeddingServer) -> None:
    server.missing = 1

    with pytest.raises(ProviderUnavailable, match="a vector of 7 numbers came back, 8 were expected"):
        vendor_embedder(vendor, server).query("x")


@pytest.mark.parametrize("vendor", ["openai", "google"])
def test_too_few_vectors_are_refused(vendor: str, server: EmbeddingServer) -> None:
    server.refusal = (200, {"data": [], "embeddings": [], "object": "list", "model": "m"})

    with pytest.raises((ProviderUnavailable, InvalidInput)):
        vendor_embedder(vendor, server).documents(["x"])


@pytest.mark.parametrize(
    ("name", "kind", "stored", "dimension"),
    [
        ("minilm", MiniLMEmbedder, "minilm", 384),
        ("auto", MiniLMEmbedder, "minilm", 384),
        ("openai/text-embedding-3-small", OpenAIEmbedder, "openai/text-embedding-3-small", 1536),
        ("openai/text-embedding-3-small:512", OpenAIEmbedder, "openai/text-embedding-3-small", 512),
        ("google/gemini-embedding-001", GoogleEmbedder, "google/gemini-embedding-001", 768),
        ("custom/org/model:768", OpenAIEmbedder, "custom/org/model", 768),
    ],
)
def test_embedders_are_opened_by_name(name: str, kind: type, stored: str, dimension: int) -> None:
    embedder = open_embedder(name, base_url="http://127.0.0.1:9/v1")

    assert isinstance(embedder, kind)
    assert embedder is not None
    assert (embedder.name, embedder.dimension) == (stored, dimension)


def test_no_embedder_is_one_too() -> None:
    assert open_embedder("none") is None


def test_auto_is_none_where_the_model_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenopt_pipeline.adapters.embedders._LOCAL_PARTS", ("no_such_module",))

    assert open_embedder("auto") is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("voyage/x", "known are"),
        ("openai/", "known are"),
        ("openai/other", "state its dimension"),
        ("openai/x:9999", "allowed 1 to 2000"),
        ("custom/x:8", "TOKENOPT_EMBEDDINGS_BASE_URL is not set"),
    ],
)
def test_a_name_that_opens_nothing_says_why(name: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        open_embedder(name)
