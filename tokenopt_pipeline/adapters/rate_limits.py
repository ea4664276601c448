"""What vendors' response headers say is left of a rate limit, in our words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tokenopt_pipeline.domain.flow import Headroom

# OpenAI writes how long it takes: 1s, 6m0s, 174ms, 1h2m3.5s.
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit that headers tell of."""

    #: Header with what is left.
    left: str
    #: Header that says when all of it is there again: a duration or an RFC 3339 time.
    reset: str
    #: What this very request counted for; None when nobody knows.
    used: int | None = None


def headroom_in(headers: Mapping[str, str], *, requests: Limit, tokens: Iterable[Limit]) -> Headroom | None:
    """What headers say is left; of several limits of tokens the one that fits fewest such requests.

    None when they say nothing; a header that cannot be read says nothing.
    """
    requests_left = _count(headers.get(requests.left))
    told = [(limit, left) for limit in tokens if (left := _count(headers.get(limit.left))) is not None]
    scarcest, tokens_left = min(told, key=lambda each: each[1] / (each[0].used or 1), default=(None, None))
    if requests_left is None and tokens_left is None:
        return None
    resets = [_seconds(headers.get(limit.reset)) for limit in (requests, scarcest) if limit is not None]
    return Headroom(
        requests_left=requests_left,
        tokens_left=tokens_left,
        reset_s=max((reset for reset in resets if reset is not None), default=None),
        tokens_of_request=None if scarcest is None else scarcest.used,
    )


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 19 else None


def _seconds(text: str | None) -> float | None:
    if not text:
        return None
    found = _DURATION.fullmatch(text)
    if found is not None:
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
        return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    try:
        until = datetime.fromisoformat(text)
    except ValueError:
        return None
    now = datetime.now(UTC)  # noqa: TID251 - a time means nothing without now
    return max((until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds(), 0.0)
