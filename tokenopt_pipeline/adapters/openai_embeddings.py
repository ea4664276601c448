"""Embeddings of OpenAI, and of any server that speaks its `/embeddings`, through OpenAI's SDK."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from tokenopt_pipeline.adapters.embedding_bills import billed
from tokenopt_pipeline.adapters.http_connections import LOOPBACK_MOUNTS, check_base_url, check_key, tls
from tokenopt_pipeline.adapters.openai_errors import mapped_errors
from tokenopt_pipeline.adapters.unit_vectors import in_requests, unit_vectors
from tokenopt_pipeline.ports import EmbeddingLedger

if TYPE_CHECKING:
    import openai

#: Embedding model -> numbers in a vector when nothing else is asked for. The large model's 3,072 are cut to what is
#: stored; its makers measured little loss (OpenAI, new embedding models, 2024-01).
DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 1024}
_VENDOR_URL = "https://api.openai.com/v1"
_TIMEOUT_S = 120.0


class OpenAIEmbedder:
    """`ports.Embedder` for OpenAI's models, or for another server's at `base_url` under `vendor`'s name."""

    def __init__(
        self,
        model: str,
        *,
        dimension: int,
        vendor: str = "openai",
        api_key: str | None = None,
        base_url: str | None = None,
        ledger: EmbeddingLedger | None = None,
    ) -> None:
        """None: the SDK looks into the environment itself (OPENAI_API_KEY, OPENAI_BASE_URL); nobody books what is billed."""
        self._model = model
        self._dimension = dimension
        self._vendor = vendor
        self._api_key = api_key
        self._base_url = base_url
        self._ledger = ledger
        self._client: openai.OpenAI | None = None
        self._lock = Lock()

    @property
    def name(self) -> str:
        """What its vectors are stored under."""
        return f"{self._vendor}/{self._model}"

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._dimension

    def documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of length 1 per text, in order. Raises what a provider's call raises."""
        return [vector for part in in_requests(texts) for vector in self._embed(part)]

    def query(self, text: str) -> list[float]:
        """The same as for a document: these models make no difference."""
        return self._embed([text])[0]

    def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        with billed(self._ledger, self.name, texts) as use, mapped_errors(self._vendor, lambda: list(self._secrets())):
            # Only OpenAI's newer models can be told a dimension; other servers refuse the field.
            import openai

            size = self._dimension if self._vendor == "openai" else openai.omit
            answered = self._connected().embeddings.create(
                model=self._model, input=list(texts), dimensions=size, encoding_format="float", timeout=_TIMEOUT_S
            )
            use.tokens = answered.usage.prompt_tokens if answered.usage else None
            ordered = sorted(answered.data, key=lambda each: each.index)
            return unit_vectors(
                self.name, [each.embedding for each in ordered], n=len(texts), dimension=self._dimension
            )

    def _connected(self) -> openai.OpenAI:
        import openai

        with self._lock:
            if self._client is None:
                client = openai.OpenAI(
                    api_key=self._api_key,
                    base_url=self._base_url,
                    max_retries=0,
                    http_client=openai.DefaultHttpxClient(mounts=LOOPBACK_MOUNTS, verify=tls()),
                )
                if not str(client.base_url).strip("/"):
                    # An empty variable counts as unset.
                    client.base_url = _VENDOR_URL
                check_base_url(self._vendor, str(client.base_url))
                check_key(self._vendor, client.api_key)
                self._client = client
            return self._client

    def _secrets(self) -> Iterator[str]:
        yield from (self._api_key,) if self._api_key else ()
        if self._client is not None and self._client.api_key:
            yield self._client.api_key
