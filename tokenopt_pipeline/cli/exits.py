"""Exit codes, and errors as one line: the contract of every command."""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import click

from tokenopt_pipeline.domain.errors import (
    BudgetExceeded,
    FatalForRun,
    InvalidInput,
    ReferenceBusy,
    RunCancelled,
    ShardBusy,
    TokenOptError,
    TransientError,
)
from tokenopt_pipeline.settings import read_settings

DONE, WITH_FAILURES, BAD_INPUT, STOPPED, DEPENDENCY_MISSING = 0, 1, 2, 3, 4
P = ParamSpec("P")


def exit_code(problem: BaseException) -> int:
    """The exit code that an error ends a command with."""
    if isinstance(problem, InvalidInput | click.ClickException):
        return BAD_INPUT
    # Busy is no missing dependency: somebody else does the work, and the same command goes on later.
    if isinstance(problem, BudgetExceeded | RunCancelled | ShardBusy | ReferenceBusy | KeyboardInterrupt | click.Abort):
        return STOPPED
    if isinstance(problem, TransientError | FatalForRun | OSError):
        return DEPENDENCY_MISSING
    return WITH_FAILURES


def contract(command: Callable[P, int]) -> Callable[P, None]:
    """Runs a command that returns its exit code; every error ends it with one line on stderr and no trace.

    A command with `as_json` prints one JSON object on stdout even then.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
            # What is still in the buffer would meet a closed pipe only when Python ends.
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read our output has enough of it.
            _let_go_of_stdout()
            code = DONE
        except (Exception, KeyboardInterrupt) as problem:  # noqa: BLE001 - the last door: a person gets a line, not a trace
            code = tell(problem, as_json=bool(kwargs.get("as_json")))
            if isinstance(problem, KeyboardInterrupt):
                # Threads that wait for a provider would keep the process for as long as it takes to answer.
                os._exit(code)
        sys.exit(code)

    return wrapped


class ContractGroup(click.Group):
    """A group of commands whose wrong use is told as every other error is: in one line, with --json as JSON."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Runs the command line and exits."""
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            # Help and version return; our commands exit themselves.
            code = super().main(arguments, *rest, **{**extra, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as problem:
            problem.show()
            code = BAD_INPUT
        except (click.ClickException, click.Abort, KeyboardInterrupt) as problem:
            code = tell(problem, as_json="--json" in arguments)
        sys.exit(code)


def tell(problem: BaseException, *, as_json: bool) -> int:
    """Says what went wrong and returns the exit code."""
    code, message = exit_code(problem), " ".join(_message(problem).split())
    click.echo(f"tokenopt: {message}", err=True)
    try:
        if as_json:
            click.echo(json.dumps({"error": message, "error_class": type(problem).__name__, "exit_code": code}))
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # What went wrong was the output itself, and stderr has said so.
        _let_go_of_stdout()
    return code


def _let_go_of_stdout() -> None:
    """Python would otherwise try once more to write what is left, and complain, while it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _message(problem: BaseException) -> str:
    if isinstance(problem, TokenOptError):
        return str(problem)
    if isinstance(problem, KeyboardInterrupt | click.Abort):
        return "stopped; what was stored stays, and the same command goes on from there"
    if isinstance(problem, click.UsageError) and problem.ctx is not None:
        return f"{problem.format_message()} See `{problem.ctx.command_path} --help`"
    if isinstance(problem, click.ClickException):
        return problem.format_message()
    if isinstance(problem, OSError):
        return f"{problem.filename or 'the output'} cannot be used: {problem.strerror or problem}"
    said = " ".join(str(problem).split())[:200]
    return f"a defect of tokenopt: {type(problem).__name__}: {said}{_kept_trace(problem)}"


def _kept_trace(problem: BaseException) -> str:
    """Where the trace of a defect was put; empty when there was no place for it."""
    path = Path(read_settings().home) / "last-defect.txt"
    try:
        path.write_text("".join(traceback.format_exception(problem)), "utf-8")
        path.chmod(0o600)
    except OSError:
        return ""
    return f" (the trace is in {path})"
