"""When may the next units of a rate be had?

The generic cell rate algorithm (ITU-T I.371, annex A), which is a token bucket that needs one number. All of it is
integer arithmetic: that number is a time in microseconds times the rate's amount, so that a unit costs one period.
"""

from upshift.model.pool import Rate
from upshift.model.span import Instant


class Allowance:
    """One rate and how far it is used. Without give-backs: at most burst + amount per period, over any window.

    More units than the burst come through when it is all there, and are owed afterwards: they pass the bound once, by
    what they are more than the burst.
    """

    __slots__ = ("_ahead", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._ahead = 0
        """The theoretical arrival time: from then on the whole burst is there."""

    def delay(self, units: int, now: Instant) -> int:
        """Microseconds until so many units may be had; 0 for now."""
        rate = self.rate
        late = self._ahead - now * rate.amount - (rate.burst - min(units, rate.burst)) * rate.period
        return 0 if late <= 0 else -(-late // rate.amount)

    def take(self, units: int, now: Instant) -> None:
        """Charge units, whether they may be had or not."""
        rate = self.rate
        self._ahead = max(self._ahead, now * rate.amount) + units * rate.period

    def give_back(self, units: int) -> None:
        """Units that were charged and not used after all."""
        self._ahead -= units * self.rate.period

    def idle(self, now: Instant) -> bool:
        """Whether it is as if it had never been used."""
        return self._ahead <= now * self.rate.amount

    def at(self, rate: Rate, now: Instant) -> "Allowance":
        """The same use at another rate: what was owed takes as long as before, and at most as the new burst does."""
        moved = Allowance(rate)
        owed = max(0, self._ahead - now * self.rate.amount) * rate.amount // self.rate.amount
        moved._ahead = now * rate.amount + min(owed, rate.burst * rate.period)
        return moved
