"""Results: what a downloaded file of results is worth, and what becomes of requests that it says nothing about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: A file that lacks something is downloaded so often before what it lacks is taken for lost.
MOST_DOWNLOADS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultCounts:
    """What stood in a file of results. Lines of the asked ids are counted once, whatever order they came in."""

    asked: int
    #: Asked requests that have a line, in this file or in one before it.
    found: int = 0
    #: Lines about a request that had one already.
    repeated: int = 0
    #: Lines about requests that are none of this batch's.
    unknown: int = 0
    #: Lines that cannot be read.
    garbled: int = 0
    #: Why the file as a whole could not be read to its end; None: it could.
    broken: str | None = None

    @property
    def missing(self) -> int:
        """Asked requests without a line."""
        return self.asked - self.found


class Worth(StrEnum):
    """What to do after an import."""

    WHOLE = "whole"  # every request has its line
    AGAIN = "again"  # something is missing, and the file may be better the next time
    PARTIAL = "partial"  # something is missing, and another download would not bring it


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a file is worth, and why in one line; empty when nothing is wrong."""

    worth: Worth
    why: str = ""


def judge(counts: ResultCounts, *, downloads: int) -> Judgement:
    """What the file is worth after so many downloads, this one included."""
    if counts.missing == 0:
        return Judgement(worth=Worth.WHOLE)
    if counts.broken is not None:
        why = counts.broken
    elif counts.unknown and not counts.found:
        why = f"all {counts.unknown} lines are about requests of another batch"
    else:
        told = [
            f"{n} {what}"
            for n, what in ((counts.garbled, "garbled"), (counts.unknown, "unknown"), (counts.repeated, "repeated"))
            if n
        ]
        more = f"; lines: {', '.join(told)}" if told else ""
        why = f"{counts.missing} of {counts.asked} requests have no line{more}"
    return Judgement(worth=Worth.PARTIAL if downloads >= MOST_DOWNLOADS else Worth.AGAIN, why=why)
