"""What clients of all vendors share."""

from __future__ import annotations

import ssl

import pytest

from tokenopt_pipeline.adapters import http_connections
from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.google import GoogleProvider
from tokenopt_pipeline.adapters.google_embeddings import GoogleEmbedder
from tokenopt_pipeline.adapters.openai import OpenAIProvider
from tokenopt_pipeline.adapters.openai_embeddings import OpenAIEmbedder


def test_the_certificates_are_read_once_for_all_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    plain = ssl.create_default_context

    def counting(*arguments: object, **named: object) -> ssl.SSLContext:
        read.append(named)
        return plain(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setenv("SSL_CERT_FILE", str(ssl.get_default_verify_paths().openssl_cafile))
    monkeypatch.setattr(ssl, "create_default_context", counting)
    http_connections.tls.cache_clear()
    url = "http://127.0.0.1:9"
    for provider in (AnthropicProvider, OpenAIProvider, GoogleProvider):
        provider(api_key="k", base_url=url).connected()
    GoogleEmbedder("embed", dimension=8, api_key="k", base_url=url)._connected()
    OpenAIEmbedder("embed", dimension=8, api_key="k", base_url=url)._connected()
    assert len(read) == 1
