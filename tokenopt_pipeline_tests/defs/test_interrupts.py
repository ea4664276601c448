"""An interrupt waits for a safe place; a second one does not."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from tokenopt_pipeline.defs.interrupts import Interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_interrupt_is_raised_only_when_the_work_has_come_to_its_end(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    interrupt, before = Interrupt(), signal.getsignal(number)
    seen: list[bool] = []

    def work() -> None:
        with interrupt.kept():
            seen.append(interrupt.asked())
            os.kill(os.getpid(), number)
            seen.append(interrupt.asked())

    with pytest.raises(KeyboardInterrupt):
        work()
    assert seen == [False, True]
    assert capfd.readouterr().err.startswith("stopping: ")
    assert signal.getsignal(number) is before


def test_a_second_interrupt_is_raised_at_once() -> None:
    went_on: list[bool] = []

    def work() -> None:
        with Interrupt().kept():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            went_on.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert went_on == []


def test_what_was_asked_once_is_not_asked_of_the_next_work() -> None:
    interrupt = Interrupt()
    with pytest.raises(KeyboardInterrupt), interrupt.kept():
        os.kill(os.getpid(), signal.SIGINT)
    with interrupt.kept():
        assert not interrupt.asked()


def test_signals_stay_as_they_are_in_other_threads() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with Interrupt().kept():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
