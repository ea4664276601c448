"""Flow control: how many requests to one model may be in flight, learnt from its answers and refusals.

Additive increase, multiplicative decrease (Chiu and Jain, 1989; TCP's congestion avoidance), and a bound ahead of time from
what the provider says is left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

# A refusal halves the window, as in TCP (RFC 5681, 3.1).
_DECREASE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """What a provider says of its rate limit beside an answer or a refusal. None: it did not say."""

    #: Requests that it would take before the limit fills up again.
    requests_left: int | None = None
    #: Tokens that it would take before then; the scarcest kind, where there are several.
    tokens_left: int | None = None
    #: Seconds until all that is scarce here is there again.
    reset_s: float | None = None
    #: Tokens this very request counted for.
    tokens_of_request: int | None = None

    @property
    def requests_that_fit(self) -> int | None:
        """Requests like this one that fit into what is left; None when nothing was said."""
        fitting = []
        if self.requests_left is not None:
            fitting.append(self.requests_left)
        if self.tokens_left is not None and self.tokens_of_request:
            fitting.append(self.tokens_left // self.tokens_of_request)
        return min(fitting, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowWindow:
    """How many requests to one model may be in flight. Times are monotonic seconds."""

    #: Most that may ever be in flight: the policy's share.
    ceiling: int
    #: What refusals and answers have made of it, from 1 to the ceiling.
    size: float
    #: What the provider says is left, until `bound_until_s`; None: enough, or it said nothing.
    bound: int | None = None
    bound_until_s: float = 0.0
    #: Nobody is to ask before.
    paused_until_s: float = 0.0
    #: Requests that began until then saw the window as it was, so their refusals say nothing new.
    changed_at_s: float = float("-inf")
    #: How often a refusal made it smaller.
    decreases: int = 0
    #: How often what was left was less than what might have been in flight.
    shrinks: int = 0

    def under(self, ceiling: int) -> FlowWindow:
        """The window for whoever may have so many requests in flight at most: a run brings its own ceiling."""
        if ceiling == self.ceiling:
            return self
        # Whoever has learnt nothing but the old ceiling starts at the new one.
        size = float(ceiling) if self.size >= self.ceiling else min(self.size, float(ceiling))
        return replace(self, ceiling=ceiling, size=size)

    def room(self, in_flight: int, now_s: float) -> int:
        """How many requests may begin now."""
        if now_s < self.paused_until_s:
            return 0
        return max(self.current(now_s) - in_flight, 0)

    def current(self, now_s: float) -> int:
        """How many requests may be in flight now; at least one, since only an answer tells more."""
        size = int(self.size)
        if self.bound is not None and now_s < self.bound_until_s:
            size = min(size, self.bound)
        return max(size, 1)

    def story(self, now_s: float) -> dict[str, int]:
        """The figures that a person looks at."""
        return {
            "window": self.current(now_s),
            "ceiling": self.ceiling,
            "decreases": self.decreases,
            "shrinks": self.shrinks,
        }

    def answered(self, headroom: Headroom | None, *, now_s: float) -> FlowWindow:
        """After an answer: a little wider, one more for every window's worth of answers, and bounded by what is left."""
        wider = replace(self, size=min(self.size + 1 / self.size, float(self.ceiling)))
        return wider._bounded(headroom, now_s=now_s)

    def refused(self, headroom: Headroom | None, *, began_s: float, pause_s: float, now_s: float) -> FlowWindow:
        """After a refusal by a rate limit of a request that began at `began_s`: half as wide, and nobody asks for a while.

        Requests that were in flight together are refused together; only the first of them makes the window smaller.
        """
        until = max(self.paused_until_s, now_s + pause_s)
        paused = replace(self, paused_until_s=until)
        if began_s > self.changed_at_s:
            size = max(self.size * _DECREASE, 1.0)
            paused = replace(paused, size=size, changed_at_s=now_s, decreases=self.decreases + 1)
        return paused._bounded(headroom, now_s=now_s)

    def paused(self, pause_s: float, *, now_s: float) -> FlowWindow:
        """After a silence that is the provider's and no single request's: nobody asks for a while."""
        return replace(self, paused_until_s=max(self.paused_until_s, now_s + pause_s))

    def _bounded(self, headroom: Headroom | None, *, now_s: float) -> FlowWindow:
        fitting = None if headroom is None else headroom.requests_that_fit
        if headroom is None or fitting is None or headroom.reset_s is None:
            return self
        if fitting >= int(self.size):
            return replace(self, bound=None, bound_until_s=now_s)
        was_bounded = self.bound is not None and now_s < self.bound_until_s
        return replace(
            self,
            bound=fitting,
            bound_until_s=now_s + headroom.reset_s,
            shrinks=self.shrinks + (0 if was_bounded else 1),
        )


def open_window(ceiling: int) -> FlowWindow:
    """The window before anything is known: as wide as the policy lets it be."""
    return FlowWindow(ceiling=ceiling, size=float(ceiling))
