"""Exit codes, and errors as one line: the contract of every command."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

import click

from tokenopt_pipeline.domain.errors import BudgetExceeded, FatalForRun, InvalidInput, TokenOptError, TransientError

DONE, WITH_FAILURES, BAD_INPUT, STOPPED, DEPENDENCY_MISSING = 0, 1, 2, 3, 4
P = ParamSpec("P")


def exit_code(problem: BaseException) -> int:
    """The exit code that an error ends a command with."""
    if isinstance(problem, InvalidInput):
        return BAD_INPUT
    if isinstance(problem, BudgetExceeded | KeyboardInterrupt):
        return STOPPED
    if isinstance(problem, TransientError | FatalForRun):
        return DEPENDENCY_MISSING
    return WITH_FAILURES


def contract(command: Callable[P, int]) -> Callable[P, None]:
    """Runs a command that returns its exit code; errors of ours end it with one line on stderr.

    A command with `as_json` prints one JSON object on stdout even then.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except (TokenOptError, KeyboardInterrupt) as problem:
            code = exit_code(problem)
            message = str(problem) if isinstance(problem, TokenOptError) else "stopped; the same command resumes"
            message = " ".join(message.split())
            click.echo(f"tokenopt: {message}", err=True)
            if kwargs.get("as_json"):
                click.echo(json.dumps({"error": message, "error_class": type(problem).__name__, "exit_code": code}))
        except BrokenPipeError:
            # Whoever read our output has enough of it; Python would complain once more while closing stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = DONE
        sys.exit(code)

    return wrapped
