"""Embeddings of Google's Gemini API through its own SDK."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from tokenopt_pipeline.adapters.embedding_bills import billed
from tokenopt_pipeline.adapters.google import client_at
from tokenopt_pipeline.adapters.google_errors import mapped_errors
from tokenopt_pipeline.adapters.unit_vectors import in_requests, unit_vectors
from tokenopt_pipeline.ports import EmbeddingLedger

if TYPE_CHECKING:
    from google import genai

#: Embedding model -> numbers in a vector when nothing else is asked for.
DIMENSIONS = {"gemini-embedding-001": 768}
_VENDOR = "google"
_TIMEOUT_S = 120.0


class GoogleEmbedder:
    """`ports.Embedder` for Gemini's embedding models. They tell documents from queries."""

    def __init__(
        self,
        model: str,
        *,
        dimension: int,
        api_key: str | None = None,
        base_url: str | None = None,
        ledger: EmbeddingLedger | None = None,
    ) -> None:
        """None: the SDK looks into the environment itself (GEMINI_API_KEY, GOOGLE_GEMINI_BASE_URL); nobody books what is billed."""
        self._model = model
        self._dimension = dimension
        self._api_key = api_key
        self._base_url = base_url
        self._ledger = ledger
        # Kept as long as this object: the SDK closes its transport with the client.
        self._client: genai.Client | None = None
        self._lock = Lock()

    @property
    def name(self) -> str:
        """What its vectors are stored under."""
        return f"{_VENDOR}/{self._model}"

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._dimension

    def documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of length 1 per text, in order. Raises what a provider's call raises."""
        return [vector for part in in_requests(texts) for vector in self._embed(part, "RETRIEVAL_DOCUMENT")]

    def query(self, text: str) -> list[float]:
        """The vector of what is looked for."""
        return self._embed([text], "RETRIEVAL_QUERY")[0]

    def _embed(self, texts: Sequence[str], task: str) -> list[list[float]]:
        from google.genai import types

        with billed(self._ledger, self.name, texts) as use, mapped_errors(lambda: list(self._secrets())):
            answered = self._connected().models.embed_content(
                model=self._model,
                contents=[types.Content(parts=[types.Part(text=text)]) for text in texts],
                config=types.EmbedContentConfig(
                    task_type=task,
                    output_dimensionality=self._dimension,
                    http_options=types.HttpOptions(timeout=round(_TIMEOUT_S * 1000)),
                ),
            )
            use.tokens = answered.usage_metadata.prompt_token_count if answered.usage_metadata else None
            # Shortened vectors come back at other lengths than 1.
            vectors = [each.values or [] for each in answered.embeddings or []]
            return unit_vectors(self.name, vectors, n=len(texts), dimension=self._dimension)

    def _connected(self) -> genai.Client:
        with self._lock:
            if self._client is None:
                self._client = client_at(self._base_url, key=self._api_key)
            return self._client

    def _secrets(self) -> Iterator[str]:
        yield from (self._api_key,) if self._api_key else ()
        found = self._client._api_client.api_key if self._client is not None else None
        yield from (found,) if found else ()
