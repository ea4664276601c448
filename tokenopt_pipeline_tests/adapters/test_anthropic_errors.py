"""Every error of the SDK and of the HTTP library below it as one of ours."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import anthropic
import httpx2
import pytest
from anthropic._error_classes import ERROR_CLASSES

from tokenopt_pipeline.adapters.anthropic_errors import mapped_errors
from tokenopt_pipeline.domain.errors import (
    AuthenticationFailed,
    ModelUnknown,
    ProviderUnavailable,
    SpendLimitReached,
    TokenOptError,
)
from tokenopt_pipeline_tests.adapters.anthropic_exchange import (
    KEY,
    STATUSES,
    an_error,
    assert_one_line,
    error_of,
    failing,
)

_REQUEST = httpx2.Request("POST", "http://provider.test/v1/messages")

#: error_code -> ours, where the code says something else than its status.
CODES: dict[str, type[TokenOptError]] = {
    "claude_code_key_creator_not_member": AuthenticationFailed,
    "cmek_key_disabled": AuthenticationFailed,
    "cmek_key_network_blocked": AuthenticationFailed,
    "key_profile_mismatch": AuthenticationFailed,
    "organization_not_enrolled_in_beta": AuthenticationFailed,
    "organization_on_hold": AuthenticationFailed,
    "organization_type_not_supported": AuthenticationFailed,
    "parent_organization_required": AuthenticationFailed,
    "workspace_policy_violation": AuthenticationFailed,
    "request_body_timeout": ProviderUnavailable,
    "contract_spend_limit_reached": SpendLimitReached,
    "enforced_spend_limit_reached": SpendLimitReached,
}
#: Codes of the SDK's public classes that mean no more than their status does.
PLAIN_CODES = {
    "claude_code_version_too_old",
    "cmek_context_unavailable",
    "cmek_key_unreachable",
    "linked_organization_billing_unavailable",
    "linked_organization_spend_limit_reached",
    "ramp_limit_exceeded",
    "request_body_encoding_invalid",
    "request_body_encoding_unsupported",
    "request_body_too_large_after_decoding",
    "sandbox_egress_restricted",
}
#: Every public exception that carries no HTTP status, and ours.
WITHOUT_STATUS: dict[str, tuple[Exception, type[TokenOptError]]] = {
    "AnthropicError": (anthropic.AnthropicError("no"), AuthenticationFailed),
    "APIError": (anthropic.APIError("no", _REQUEST, body=None), ProviderUnavailable),
    "APIConnectionError": (anthropic.APIConnectionError(request=_REQUEST), ProviderUnavailable),
    "APITimeoutError": (anthropic.APITimeoutError(_REQUEST), ProviderUnavailable),
    "APIResponseValidationError": (
        anthropic.APIResponseValidationError(httpx2.Response(200, request=_REQUEST), None),
        ProviderUnavailable,
    ),
    "APIWebhookValidationError": (
        anthropic.APIWebhookValidationError("no", _REQUEST, body=None),
        ProviderUnavailable,
    ),
    "RetryableError": (anthropic.RetryableError("no"), ProviderUnavailable),
    "CredentialsError": (anthropic.CredentialsError("no"), AuthenticationFailed),
    "IdentityTokenFileError": (anthropic.IdentityTokenFileError("no"), AuthenticationFailed),
    "WorkloadIdentityError": (anthropic.WorkloadIdentityError("no", status_code=401), AuthenticationFailed),
}
_TRANSPORT: dict[str, type[TokenOptError]] = {
    "InvalidURL": ProviderUnavailable,
    "CookieConflict": ProviderUnavailable,
}


def mapped(problem: Exception) -> TokenOptError:
    """What comes out of the door when this goes in."""
    with pytest.raises(TokenOptError) as caught, mapped_errors(lambda: [KEY]):
        raise problem
    return caught.value


def public_exceptions() -> dict[str, type[Exception]]:
    names = (*anthropic.__all__, *vars(anthropic))
    found = {name: getattr(anthropic, name) for name in names}
    return {n: c for n, c in found.items() if inspect.isclass(c) and issubclass(c, Exception)}


def subclasses_of(error: type[Exception]) -> Iterator[type[Exception]]:
    yield error
    for below in error.__subclasses__():
        yield from subclasses_of(below)


def test_every_public_exception_without_a_status_is_in_the_table() -> None:
    bare = {n for n, c in public_exceptions().items() if not issubclass(c, anthropic.APIStatusError)}
    assert bare == set(WITHOUT_STATUS)


@pytest.mark.parametrize("name", WITHOUT_STATUS)
def test_an_exception_without_a_status_becomes_the_tables_error(name: str) -> None:
    problem, ours = WITHOUT_STATUS[name]
    assert type(mapped(problem)) is ours


def test_every_status_and_every_public_code_of_the_sdk_is_in_a_table() -> None:
    public = {c for c in public_exceptions().values() if issubclass(c, anthropic.APIStatusError)}
    codes = {code for (_, code), error in ERROR_CLASSES.items() if code and error in public}
    assert {status for status, _ in ERROR_CLASSES} <= set(STATUSES)
    assert codes <= set(CODES) | PLAIN_CODES


def test_every_class_with_a_status_is_reached_by_a_status_or_a_code() -> None:
    reached = set(ERROR_CLASSES.values()) | {anthropic.APIStatusError, anthropic.InternalServerError}
    assert set(subclasses_of(anthropic.APIStatusError)) == reached


@pytest.mark.parametrize(("status", "code"), ERROR_CLASSES, ids=str)
def test_every_error_class_of_the_sdk_becomes_one_of_ours(status: int, code: str | None) -> None:
    body = an_error(code=code)
    problem = ERROR_CLASSES[status, code]("no", response=httpx2.Response(status, request=_REQUEST), body=body)
    ours = mapped(problem)
    assert type(ours) is CODES.get(code or "", STATUSES[status])
    assert ours.__cause__ is problem
    assert_one_line(ours)


def test_every_exception_of_the_sdk_wherever_it_is_defined_is_caught_at_the_door() -> None:
    tabled = {type(problem) for problem, _ in WITHOUT_STATUS.values()}
    for error in subclasses_of(anthropic.AnthropicError):
        if error not in tabled and not issubclass(error, anthropic.APIStatusError):
            assert_one_line(mapped(error.__new__(error)))


def transport_errors() -> list[str]:
    return [n for n, c in vars(httpx2).items() if inspect.isclass(c) and issubclass(c, Exception)]


@pytest.mark.parametrize("name", transport_errors())
def test_every_error_of_the_http_library_means_that_the_provider_is_unavailable(name: str) -> None:
    error = getattr(httpx2, name)
    for problem in (error.__new__(error), error.__new__(error, "reset by peer")):
        assert type(mapped(problem)) is _TRANSPORT.get(name, ProviderUnavailable)


@pytest.mark.parametrize("name", transport_errors())
def test_every_error_of_the_http_library_raised_in_a_transport_is_told_by_its_cause(name: str) -> None:
    error = getattr(httpx2, name)
    exchange = failing(error.__new__(error, "reset by peer"))
    problem = error_of(exchange)
    assert isinstance(problem, ProviderUnavailable)
    assert len(exchange.sent) == 1


def test_what_is_no_error_of_the_outside_is_not_hidden() -> None:
    with pytest.raises(TypeError, match="our mistake"), mapped_errors(list):
        raise TypeError("our mistake")


def test_one_of_our_errors_passes_the_door_unchanged() -> None:
    problem = ModelUnknown("no")
    assert mapped(problem) is problem
