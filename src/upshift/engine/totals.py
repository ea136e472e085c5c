"""What do all calls of the ledger add up to, kept up to date by reading only what is new?"""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator, Sequence

import msgspec
import structlog

from upshift.engine.follow import last_call
from upshift.model.span import MICROS, Instant
from upshift.model.tokens import NO_USAGE, Usage
from upshift.store.backend import StoreTroubleError
from upshift.store.entries import CALLS
from upshift.store.journal import Bounds, Dimension, Journal, Spread, Tally, Used

log = structlog.get_logger()

MOST_GROUPS = 10_000
"""So many groups are told apart; calls of further ones are counted under `OTHER`."""
OTHER = "other"

DURATIONS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
OVERHEADS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024)
"""Upper bounds of buckets, in seconds."""

_BY = (
    Dimension.TENANT,
    Dimension.WORKLOAD,
    Dimension.SERVED_MODEL,
    Dimension.PROVIDER,
    Dimension.OUTCOME,
    Dimension.BUCKET,
    Dimension.REASON,
)
_BOUNDS = Bounds(tuple(round(each * MICROS) for each in DURATIONS), tuple(round(each * MICROS) for each in OVERHEADS))
_PIECE = 20_000
"""So many entries at most are read at once: others wait for their turn with the journal."""
_LOOK_BACK = 600
"""Seconds before now from which on the ledger's entries are read and not its totals, the first time."""
_SKEW = 300
"""So many seconds at most are the clocks of gateways apart, or set back."""
_PLAIN = re.compile(r"[\w .:@/+-]{0,100}")


class Group(msgspec.Struct, frozen=True):
    """What totals are kept by. None of it is a call's, a session's or a user's own."""

    tenant: str
    workload: str
    model: str
    """That served; empty where none did."""
    provider: str
    outcome: str
    bucket: str
    reason: str


class Total(msgspec.Struct):
    """Of the calls of one group. Amounts are nano-dollars."""

    calls: int = 0
    usage: Usage = NO_USAGE
    cost: int = 0
    unknown_cost: int = 0
    """Calls whose cost is not known."""
    counted: int = 0
    """What budgets were charged."""


class Histogram:
    """How many values were at most as large as each bound, and their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Of values above the bound before, and not above this one; the last is of those above all."""
        self.sum_us = 0

    def add(self, spread: Spread) -> None:
        """Add times that were counted by the same bounds."""
        self.counts = [one + other for one, other in zip(self.counts, spread.counts, strict=True)]
        self.sum_us += spread.total


class Route(msgspec.Struct, frozen=True):
    """What times are kept by."""

    workload: str
    model: str
    provider: str


class Times:
    """Of the calls of one route that reached a provider."""

    def __init__(self) -> None:
        self.duration = Histogram(DURATIONS)
        self.first_byte = Histogram(DURATIONS)
        """Only of calls whose answer had one."""


class Totals:
    """Sums of calls. Times are of calls since this process began to follow the ledger, all else of all calls."""

    def __init__(self, most: int = MOST_GROUPS) -> None:
        self._most = most
        self.groups: dict[Group, Total] = {}
        self.times: dict[Route, Times] = {}
        self.overhead = Histogram(OVERHEADS)
        self.alerts: dict[tuple[str, str, int], int] = {}
        """How many were raised, by tenant, workload and threshold."""

    def take(self, used: Used | Tally) -> None:
        """Add what calls of one group add up to; `used.group` is in the order of `Group`."""
        total = self._total(Group(*used.group))
        total.calls += used.calls
        total.usage += used.usage
        total.cost += used.cost
        total.unknown_cost += used.unknown_cost
        total.counted += used.counted

    def time(self, tally: Tally) -> None:
        """Add how long calls of one group took."""
        self.overhead.add(tally.overhead)
        group = Group(*tally.group)
        if not group.provider:
            return
        route = Route(_plain(group.workload), _plain(group.model), _plain(group.provider))
        times = self.times.get(route)
        if times is None:
            if len(self.times) >= self._most:
                route = Route(OTHER, OTHER, OTHER)
            times = self.times.setdefault(route, Times())
        times.duration.add(tally.duration)
        times.first_byte.add(tally.first_byte)

    def _total(self, group: Group) -> Total:
        found = self.groups.get(group)
        if found is not None:
            return found
        told = Group(*map(_plain, msgspec.structs.astuple(group)))
        if told not in self.groups and len(self.groups) >= self._most:
            told = Group(OTHER, OTHER, OTHER, OTHER, told.outcome, told.bucket, OTHER)
        return self.groups.setdefault(told, Total())


def _plain(text: str) -> str:
    """What may be a label as it is. Names of the plan and our own codes are; what a provider said may not be."""
    return text if _PLAIN.fullmatch(text) else OTHER


class Unsettled(Exception):  # noqa: N818 - no error: a second look is needed
    """While totals were read, a call ended that may be in them or not."""


class Follower:
    """Keeps Totals up to date. Its methods are for any thread."""

    def __init__(self, journal: Journal, now: Callable[[], Instant], most: int = MOST_GROUPS) -> None:
        self._journal = journal
        self._now = now
        self._most = most
        self._reading = threading.Lock()
        """Whoever has it reads the ledger."""
        self._turn = threading.Lock()
        self._behind = False
        """The ledger could not be read when that was last tried."""
        self._totals: Totals | None = None
        self._seq = self._alert = 0
        self._at: Instant = 0

    def look(self, read: Callable[[Totals, int, Instant], None]) -> bool:
        """Let `read` see the totals, up to which entry they are, and as of when; False before the first."""
        with self._turn:
            if self._totals is None:
                return False
            read(self._totals, self._seq, self._at)
            return True

    def refresh(self) -> None:
        """Add what is new for somebody who is about to look. Blocking.

        Not while the ledger is summed up for the first time, nor once it could not be read until `tick` has read it
        again, since that may take longer than whoever looks can wait: `look` says as of when.
        """
        if self._totals is None or self._behind:
            return
        try:
            with self._reading:
                # Perhaps whoever read it meanwhile could not.
                if not self._behind:
                    self._add()
        except StoreTroubleError as error:
            log.warning("metrics.behind", problem=str(error))

    def tick(self) -> int:
        """Add what is new; returns how many calls that was. Blocking. Raises StoreTroubleError."""
        with self._reading:
            return self._add()

    async def watch(self, every_seconds: float) -> None:
        """Tick for ever; run as a task."""
        while True:
            try:
                await asyncio.to_thread(self.tick)
            except StoreTroubleError as error:
                log.warning("metrics.behind", problem=str(error))
            await asyncio.sleep(every_seconds)

    def _add(self) -> int:
        now = self._now()
        try:
            added = self._begin(now) if self._totals is None else self._go_on(self._totals, now)
        except StoreTroubleError:
            self._behind = True
            raise
        self._behind = False
        return added

    def _go_on(self, totals: Totals, now: Instant) -> int:
        added = 0
        for end, tallies in _tallies(self._journal, self._seq, last_call(self._journal)):
            with self._turn:
                for tally in tallies:
                    totals.take(tally)
                    totals.time(tally)
                    added += tally.calls
                self._seq = end
        with self._turn:
            self._ring(totals)
            self._at = now
        return added

    def _begin(self, now: Instant) -> int:
        """Sum up what there is. Where calls from long ago end meanwhile, again with more of it from its entries."""
        look_back = _LOOK_BACK
        while True:
            try:
                totals, seq = self._whole(max(0, now - look_back * MICROS))
                break
            except Unsettled:
                look_back *= 4
        self._ring(totals)
        with self._turn:
            self._totals, self._seq, self._at = totals, seq, now
        return sum(each.calls for each in totals.groups.values())

    def _whole(self, since: Instant) -> tuple[Totals, int]:
        """All calls up to one entry: as totals where they began before `since`, the others from their entries.

        Raises Unsettled where a call that began before was closed while the totals were read.
        """
        journal, totals = self._journal, Totals(self._most)
        before = last_call(journal)
        for used in journal.usage(_BY, 0, since, latencies=False) if since else ():
            totals.take(used)
        until = last_call(journal)
        if _calls(journal, before, until, 0) != _calls(journal, before, until, since):
            raise Unsettled
        earlier = journal.entries(CALLS, limit=1, until=since - _SKEW * MICROS) if since > _SKEW * MICROS else ()
        first = min(earlier[0].seq, before) if earlier else 0
        for _, tallies in _tallies(journal, first, until, since):
            for tally in tallies:
                totals.take(tally)
        return totals, until

    def _ring(self, totals: Totals) -> None:
        """Add the alerts that are new."""
        count = 1
        while True:
            raised = self._journal.alerts(limit=count)
            if len(raised) < count or raised[-1].seq <= self._alert:
                break
            count *= 8
        for each in raised:
            if each.seq > self._alert:
                key = (each.alert.key.tenant, each.alert.key.workload, each.alert.threshold)
                totals.alerts[key] = totals.alerts.get(key, 0) + 1
        if raised:
            self._alert = raised[0].seq


def _tallies(journal: Journal, seq: int, until: int, since: Instant = 0) -> Iterator[tuple[int, Sequence[Tally]]]:
    """What is beyond the place `seq`, up to `until`, piece by piece: how far that is then, and what came on the way."""
    while seq < until:
        end = min(seq + _PIECE, until)
        yield end, journal.tallies(_BY, seq, end, _BOUNDS, since)
        seq = end


def _calls(journal: Journal, seq: int, until: int, since: Instant) -> int:
    """How many calls there are of these entries that started from `since` on."""
    return sum(tally.calls for _, tallies in _tallies(journal, seq, until, since) for tally in tallies)
