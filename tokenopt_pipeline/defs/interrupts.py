"""A person's interrupt, kept until the work can stop: raised in the middle of a statement it would break the connection."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPPING = b"stopping: the answers on their way are paid for and are stored first; interrupt again to stop at once\n"


class Interrupt:
    """Whether somebody asked this process to stop, by Ctrl-C or by ending the run in the UI."""

    def __init__(self) -> None:
        self._asked = False

    def asked(self) -> bool:
        """Whether to stop at the next safe place."""
        return self._asked

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Notes a first interrupt instead of raising it, and raises KeyboardInterrupt for it in the end; a second is raised at once.

        Outside the main thread signals are nobody's, so nothing changes there.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._asked = False
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._asked:
            raise KeyboardInterrupt

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        # Past every buffer: a handler may run in the middle of a print.
        os.write(2, _STOPPING)
