"""Is a provider well, how quick is each of its models, and may it be tried now?

Instants are microseconds of any clock that does not jump; a wall clock that does only makes a pause longer or shorter.
"""

import math
from collections.abc import Container
from enum import StrEnum

import msgspec

from upshift.model.ids import ProviderId
from upshift.model.span import MICROS, Instant
from upshift.traffic.snapshot import Model

MOST_IN_A_ROW = 5
"""So many failures that only an outage explains, one after the other, open a circuit."""
ENOUGH_CALLS = 10.0
WORST_RATE = 0.5
"""And so does this share of failures of any kind, over so many calls of about the last half minute."""
HALF_LIFE = 15.0
"""Seconds after which a call counts half."""
FIRST_PAUSE, LAST_PAUSE = 1.0, 30.0
"""Seconds before an open circuit is tried: doubled each time that the trial fails."""
LONGEST_REST = 300.0
"""Seconds; no Retry-After is believed beyond."""
SHORTEST_REST = 1.0
"""Seconds of rest after a 429 that does not say how long."""
REPEAT_SHARE, REPEAT_RESERVE = 0.1, 10.0
"""A provider may be sent so many repeats per call, and so many at once: an outage is no reason for a storm."""

_LEAST_STEP = 0.05
_FORGOTTEN = 0.01
"""Failures that have faded to this are not remembered."""
_P95 = 1.645
"""Standard deviations from the median to the 95 % quantile."""


class State(StrEnum):
    """Whether calls may go to a provider."""

    CLOSED = "closed"
    """All of them."""
    OPEN = "open"
    """None, for the time of a pause."""
    HALF_OPEN = "half-open"
    """One, to see how it goes."""
    ON_TRIAL = "on-trial"
    """None: the one is in flight."""


class Verdict(StrEnum):
    """What an attempt says of its provider."""

    WELL = "well"
    SHAKY = "shaky"
    """It failed, but perhaps for what was asked of it: counts half, so that alone it opens a circuit only where nobody
    is served, and one caller with a poisonous request does not close a provider to all others."""
    DOWN = "down"
    """It failed as a provider does that is out."""
    NOTHING = "nothing"


class Circuit(msgspec.Struct, frozen=True, gc=False):
    """How a provider has been doing. `calls` and `failed` fade with time, as of `at`."""

    calls: float = 0.0
    failed: float = 0.0
    at: Instant = 0
    in_a_row: int = 0
    openings: int = 0
    """Openings since it last went well."""
    until: Instant = 0
    """It is open until then; 0 while closed."""
    trial_until: Instant = 0
    """A trial is in flight, and has ended by then at the latest."""

    def state(self, now: Instant) -> State:
        """What holds at `now`."""
        if not self.until:
            return State.CLOSED
        if now < self.until:
            return State.OPEN
        return State.ON_TRIAL if now < self.trial_until else State.HALF_OPEN

    def tried(self, now: Instant, seconds: float) -> "Circuit":
        """A half-open circuit with its one trial under way, for at most so many seconds."""
        return msgspec.structs.replace(self, trial_until=now + int(seconds * MICROS) + 1)

    def dropped(self) -> "Circuit":
        """The trial ended without a verdict: another call may be the trial."""
        return msgspec.structs.replace(self, trial_until=0)

    def after(self, verdict: Verdict, now: Instant, *, trial: bool) -> "Circuit":
        """The circuit after an attempt. While it is open, only the trial decides; calls from before do not."""
        if verdict is Verdict.NOTHING:
            return self.dropped() if trial else self
        if self.until:
            if not trial:
                return self
            return Circuit(at=now) if verdict is Verdict.WELL else self._opened(now)
        fade = 0.5 ** (max(0, now - self.at) / (HALF_LIFE * MICROS))
        failed = {Verdict.WELL: 0.0, Verdict.SHAKY: 0.5}.get(verdict, 1.0)
        found = Circuit(
            calls=self.calls * fade + 1,
            failed=self.failed * fade + failed,
            at=now,
            in_a_row=0 if verdict is Verdict.WELL else self.in_a_row + (verdict is Verdict.DOWN),
        )
        sick = found.calls >= ENOUGH_CALLS and found.failed >= WORST_RATE * found.calls
        return found._opened(now) if failed and (sick or found.in_a_row >= MOST_IN_A_ROW) else found

    def _opened(self, now: Instant) -> "Circuit":
        pause = min(LAST_PAUSE, FIRST_PAUSE * 2 ** min(self.openings, 16))
        return Circuit(at=now, openings=self.openings + 1, until=now + int(pause * MICROS))


class Pace(msgspec.Struct, frozen=True, gc=False):
    """How quick a model at a provider is, in logarithms of seconds to the first byte; and how long it asked to rest."""

    seen: int = 0
    mean: float = 0.0
    variance: float = 0.0
    rests_until: Instant = 0

    @property
    def typical(self) -> float:
        """The median, in seconds; 0 before any."""
        return math.exp(self.mean) if self.seen else 0.0

    @property
    def slow(self) -> float:
        """The 95 % quantile, in seconds; 0 before any."""
        return math.exp(self.mean + _P95 * math.sqrt(self.variance)) if self.seen else 0.0

    def after(self, seconds: float) -> "Pace":
        """The pace after an answer that began after so long."""
        value, step = math.log(max(seconds, 1e-6)), max(_LEAST_STEP, 1 / (self.seen + 1))
        apart = value - self.mean
        mean = self.mean + step * apart
        return Pace(self.seen + 1, mean, (1 - step) * (self.variance + step * apart * apart), self.rests_until)

    def resting(self, now: Instant, seconds: float | None) -> "Pace":
        """The pace of a model that wants to be left alone for so long; None where it did not say."""
        rest = SHORTEST_REST if seconds is None else min(max(seconds, 0.0), LONGEST_REST)
        return msgspec.structs.replace(self, rests_until=max(self.rests_until, now + int(rest * MICROS)))


WELL, UNKNOWN = Circuit(), Pace()


class Board:
    """The state of every provider and of its models. Deterministic; its owner keeps it between calls."""

    def __init__(self) -> None:
        self._circuits: dict[ProviderId, Circuit] = {}
        self._paces: dict[tuple[ProviderId, str], Pace] = {}
        self._repeats: dict[ProviderId, float] = {}

    def circuit(self, provider: ProviderId) -> Circuit:
        return self._circuits.get(provider, WELL)

    def pace(self, model: Model) -> Pace:
        return self._paces.get((model.provider.id, model.upstream_id), UNKNOWN)

    def may_repeat(self, provider: ProviderId) -> bool:
        """Whether the provider may be sent a call that it has failed already."""
        return self._repeats.get(provider, REPEAT_RESERVE) >= 1

    def untroubled(self, provider: ProviderId) -> bool:
        """Whether all is as if the provider had never failed: then nobody needs to note that it went well again."""
        if provider in self._repeats:
            return False
        circuit = self._circuits.get(provider)
        return circuit is None or (circuit.failed < _FORGOTTEN and not circuit.until)

    def sent(self, provider: ProviderId) -> None:
        """A call goes out that the provider has not failed before: a tenth of a repeat is earned."""
        left = self._repeats.get(provider)
        if left is not None:
            self._earned(provider, left + REPEAT_SHARE)

    def _earned(self, provider: ProviderId, left: float) -> None:
        if left >= REPEAT_RESERVE:
            self._repeats.pop(provider, None)
        else:
            self._repeats[provider] = left

    def begin(self, model: Model, now: Instant, seconds: float, *, repeat: bool) -> bool:
        """An attempt goes out, for at most `seconds`; returns whether it is the trial of a half-open circuit."""
        provider = model.provider.id
        if repeat:
            self._earned(provider, self._repeats.get(provider, REPEAT_RESERVE) - 1)
        else:
            self.sent(provider)
        circuit = self.circuit(provider)
        if circuit.state(now) is not State.HALF_OPEN:
            return False
        self._circuits[provider] = circuit.tried(now, seconds)
        return True

    def end(self, model: Model, verdict: Verdict, now: Instant, *, trial: bool = False) -> None:
        """An attempt has ended."""
        provider = model.provider.id
        circuit = self.circuit(provider)
        after = circuit.after(verdict, now, trial=trial)
        if after is not circuit:
            self._circuits[provider] = after

    def quick(self, model: Model, seconds: float) -> None:
        """An answer began after so many seconds."""
        self._paces[model.provider.id, model.upstream_id] = self.pace(model).after(seconds)

    def rest(self, model: Model, now: Instant, seconds: float | None) -> None:
        """A provider asked that a model be left alone, for `seconds` if it said so."""
        self._paces[model.provider.id, model.upstream_id] = self.pace(model).resting(now, seconds)

    def keep(self, providers: Container[ProviderId]) -> None:
        """Forget all providers but these."""
        self._circuits = {each: circuit for each, circuit in self._circuits.items() if each in providers}
        self._paces = {each: pace for each, pace in self._paces.items() if each[0] in providers}
        self._repeats = {each: left for each, left in self._repeats.items() if each in providers}
