"""The base class of an error says whether trying again can help."""

from __future__ import annotations

import inspect
import re
from decimal import Decimal

import pytest

from tokenopt_pipeline.domain import errors
from tokenopt_pipeline.domain.errors import (
    BudgetExceeded,
    DocumentUnreadable,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    TerminalError,
    TokenOptError,
    TransientError,
)

_CLASSES = {name: cls for name, cls in vars(errors).items() if inspect.isclass(cls) and issubclass(cls, Exception)}


def _drawn_parents() -> dict[str, str]:
    """Class -> parent, as the tree in the module's docstring draws them: three columns per level."""
    parents: dict[str, str] = {}
    line_of_descent: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        drawn = re.match(r"((?:[│ ]  )*)([├└]─ )([A-Z]\w+)", line)
        if drawn:
            depth = len(drawn[1]) // 3 + 1
            parents[drawn[3]] = line_of_descent[depth - 1]
            line_of_descent[depth:] = [drawn[3]]
        elif line == "TokenOptError":
            line_of_descent = [line]
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    declared = {name: cls.__mro__[1].__name__ for name, cls in _CLASSES.items() if cls is not TokenOptError}
    assert _drawn_parents() == declared


def test_every_error_but_the_root_is_either_transient_or_terminal() -> None:
    for cls in _CLASSES.values():
        assert cls is TokenOptError or issubclass(cls, TransientError) != issubclass(cls, TerminalError)


@pytest.mark.parametrize("cls", [RateLimited, ProviderUnavailable])
def test_what_a_provider_asked_us_to_wait_travels_with_the_error(
    cls: type[RateLimited] | type[ProviderUnavailable],
) -> None:
    assert cls("slow down", retry_after_s=2.5).retry_after_s == 2.5
    assert cls("slow down").retry_after_s is None
    assert str(cls("slow down")) == "slow down"


def test_an_unreadable_document_says_which_and_why_in_one_line() -> None:
    problem = DocumentUnreadable("lease.pdf", "it is encrypted")
    assert (problem.name, problem.reason, str(problem)) == (
        "lease.pdf",
        "it is encrypted",
        "lease.pdf: it is encrypted",
    )


def test_a_rejected_request_carries_its_status() -> None:
    assert RequestRejected("no", status=400).status == 400
    assert RequestRejected("no").status is None


def test_a_budget_that_would_be_passed_says_by_what() -> None:
    problem = BudgetExceeded("stop", limit_usd=Decimal("1.00"), needed_usd=Decimal("1.02"))
    assert (problem.limit_usd, problem.needed_usd) == (Decimal("1.00"), Decimal("1.02"))
