"""What commands share: an open database, a resolved policy, a parsed schema."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.files import load_policy, load_schema, parse_setting, resolve_policy
from tokenopt_pipeline.adapters.postgres.connection import Connection, connect
from tokenopt_pipeline.adapters.postgres.policies import PostgresPolicies
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.policy import ResolvedPolicy
from tokenopt_pipeline.domain.routing import models_reachable
from tokenopt_pipeline.domain.schemas import parse_schema
from tokenopt_pipeline.settings import Settings, read_settings
from tokenopt_pipeline.stages.contexts import know
from tokenopt_pipeline.stages.plan import RunRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """An open database."""

    settings: Settings
    url: str
    connection: Connection


@contextmanager
def open_workspace() -> Iterator[Workspace]:
    """The database that the environment names, up, migrated and connected. Raises StoreUnavailable."""
    settings = read_settings()
    url = assembly.open_database(settings)
    with connect(url, application="tokenopt cli") as connection:
        yield Workspace(settings=settings, url=url, connection=connection)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options that `plan` and `run` share, as typed."""

    collection: str
    schema: str
    policy: str | None
    settings: Sequence[str]
    mode: str
    budget: str | None
    model: str | None


def build_request(asked: Asked, *, backend: assembly.Backend, connection: Connection) -> RunRequest:
    """The request behind the options; nothing is written. Raises InvalidInput."""
    name, source = load_schema(asked.schema)
    schema = parse_schema(source, name=source.get("ref", name))
    resolved = _resolve(asked, schema.policy_hints)
    return RunRequest(
        collection=asked.collection,
        schema=schema,
        schema_source=source,
        resolved=resolved,
        mode=asked.mode,
        kind=backend.under(resolved.policy).kind_of(models_reachable(resolved.policy.routing)),
        known=know(schema, resolved.policy, references=assembly.references_on(connection), tokenizer=O200kTokenizer()),
    )


def summaries_on(workspace: Workspace) -> PostgresSummaries:
    """The figures of runs in this workspace."""
    return PostgresSummaries(workspace.connection, tables=assembly.RunTables())


def who() -> str:
    """The person at this machine; an account without a name, as containers have them, by its number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def audit_policy_file(workspace: Workspace, path: str) -> None:
    """Keeps who used which content of a policy file, and when."""
    PostgresPolicies(workspace.connection).seen(
        str(Path(path).resolve()), load_policy(path).document, who=who(), now=SystemClock().now()
    )


def _resolve(asked: Asked, hints: Any) -> ResolvedPolicy:
    layers: list[tuple[str, Any]] = [(f"schema {asked.schema}", hints)]
    if asked.model is not None:
        layers.append(("--model", {"routing": {"model": asked.model}}))
    layers += [(f"--set {text}", parse_setting(text)) for text in asked.settings]
    if asked.budget is not None:
        layers.append(("--budget", {"run": {"budget_usd": asked.budget}}))
    return resolve_policy(asked.policy, *layers)
