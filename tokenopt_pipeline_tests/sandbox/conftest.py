"""Fixtures: a running sandbox and the real SDK's client of it."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import pytest

from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from .asking import client_of


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Sandbox:
    """One server per module, forgetful between tests."""
    shared_sandbox.control.reset()
    return shared_sandbox


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[anthropic.Anthropic]:
    with client_of(sandbox) as client:
        yield client
