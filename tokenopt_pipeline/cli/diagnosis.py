"""What `tokenopt doctor` finds: database, providers, and the models that a run would ask."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.files import resolve_policy
from tokenopt_pipeline.adapters.postgres.server import redacted
from tokenopt_pipeline.domain.errors import ModelUnknown, RequestRejected, TokenOptError
from tokenopt_pipeline.domain.policy import Policy
from tokenopt_pipeline.domain.routing import ModelRef, models_reachable
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.settings import Settings

_TIMEOUT_S = 5.0

Findings = dict[str, dict[str, Any]]


def diagnose(settings: Settings, policy_file: str | None) -> Findings:
    """Name -> whether it is as it should be, and what was found. Raises PolicyInvalid."""
    policy = resolve_policy(policy_file).policy
    findings: Findings = {"home": {"ok": True, "found": str(settings.home)}}
    _look(findings, "database", lambda: redacted(assembly.open_database(settings)))
    backend = assembly.open_backend(settings)
    _look(findings, "policy", lambda: _servers(backend, policy))
    if findings["policy"]["ok"]:
        backend = backend.under(policy)
    if policy_file is None:
        del findings["policy"]
    for name, vendor in settings.vendors.items():
        if name not in backend.providers:
            findings[name] = {"ok": True, "found": f"not configured: {vendor.key_variable} is not set"}
        else:
            where = vendor.base_url or ("the vendor" if vendor.has_credentials else "the local sandbox")
            _look(findings, name, partial(_reached, backend, name, where))
    for name, server in policy.providers.items():
        if name in backend.providers:
            _look(findings, name, partial(_reached, backend, name, server.base_url))
    for ref in models_reachable(policy.routing):
        _look(findings, f"model {ref}", partial(_model, ref, policy))
    return findings


def _look(findings: Findings, name: str, finding: Callable[[], str]) -> None:
    try:
        findings[name] = {"ok": True, "found": finding()}
    except TokenOptError as problem:
        findings[name] = {"ok": False, "found": str(problem)}


def _servers(backend: assembly.Backend, policy: Policy) -> str:
    backend.under(policy)
    return f"{len(policy.providers)} servers of its own, {len(policy.models)} models described"


def _reached(backend: assembly.Backend, name: str, where: str) -> str:
    kind = backend.kinds[name]
    try:
        return f"{kind}, at {where}: reachable, lists {backend.reach(name, timeout_s=_TIMEOUT_S)} models"
    except (ModelUnknown, RequestRejected):
        # It answers; some servers of one's own have no list.
        return f"{kind}, at {where}: reachable, lists no models"


def _model(ref: ModelRef, policy: Policy) -> str:
    spec = assembly.models_under(policy).spec(ref)
    priced = assembly.prices_under(policy).usd(ref, TokenUsage()) is not None
    return f"{spec.context_tokens:,} tokens of context, {'priced' if priced else 'no price known'}"
