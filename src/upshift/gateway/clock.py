"""What time is it? Real time in production, driven by hand in tests."""

import time
from typing import Protocol

from upshift.model.span import MICROS, Instant


class Clock(Protocol):
    """Wall time decides calendar periods; ticks (monotonic, nanoseconds) measure durations."""

    def now(self) -> Instant: ...

    def tick(self) -> int: ...


class SystemClock:
    """The machine's own clocks."""

    tick = staticmethod(time.perf_counter_ns)
    """As it is, without a method around it: it is read seven times per call."""

    def now(self) -> Instant:
        return time.time_ns() // 1000


class HandClock:
    """A clock that moves only when told to, for tests and rehearsals."""

    def __init__(self, now: Instant) -> None:
        self._now = now

    def now(self) -> Instant:
        return self._now

    def tick(self) -> int:
        return self._now * 1000

    def set(self, now: Instant) -> None:
        """Jump, forwards or backwards."""
        self._now = now

    def advance(self, seconds: float) -> None:
        self._now += int(seconds * MICROS)
