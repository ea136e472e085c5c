"""Who has a place in a capacity pool, who waits for one, and whose turn is it?

A call takes a place in up to three cells: its user's, its tenant's, and one of the pool's (its workload's own reserve,
else what is common, else what another workload lends). Whoever finds one of them full waits: first come first served
per user, users in turn, each workload in a queue of its own. Those who own a reserve come before those it is lent to.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from upshift.model.ids import RequestId, TenantId, UserId, WorkloadId
from upshift.model.pool import Limits, Place, Pool, PoolUse, Rate, Scarce, Shortage
from upshift.model.span import MICROS, Instant
from upshift.traffic.gcra import Allowance

MOST_KEPT = 10_000
"""Cells of users and tenants before those that rest are dropped."""
_UNTIL_SOMEBODY_LEAVES = -1
_FIRST_GUESS = MICROS
_LONGEST_RETRY = 60

Owner: TypeAlias = tuple[WorkloadId, TenantId, UserId]
"""Whose calls form one line."""


class In(msgspec.Struct, frozen=True):
    """The call has its place, until it leaves."""

    request: RequestId


class Away(msgspec.Struct, frozen=True):
    """The call is turned away."""

    request: RequestId
    shortage: Shortage


Verdict: TypeAlias = In | Away


class Cell:
    """Some limits, and what is used of them."""

    __slots__ = ("in_use", "limits", "requests", "tokens")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.in_use = 0
        self.requests = Allowance(limits.requests) if limits.requests is not None else None
        self.tokens = Allowance(limits.tokens) if limits.tokens is not None else None

    def delay(self, tokens: int, now: Instant) -> int:
        """Microseconds until a call may come in; 0 for now, less when somebody has to leave first."""
        most = self.limits.concurrent
        if most is not None and self.in_use >= most:
            return _UNTIL_SOMEBODY_LEAVES
        delay = self.requests.delay(1, now) if self.requests is not None else 0
        return delay if self.tokens is None else max(delay, self.tokens.delay(tokens, now))

    def scarce(self, tokens: int, now: Instant) -> Scarce:
        """What keeps a call out."""
        most = self.limits.concurrent
        if most is not None and self.in_use >= most:
            return Scarce.CONCURRENT
        if self.requests is None:
            return Scarce.CONCURRENT if self.tokens is None else Scarce.TOKENS
        by_tokens = self.tokens.delay(tokens, now) if self.tokens is not None else 0
        return Scarce.TOKENS if by_tokens > self.requests.delay(1, now) else Scarce.REQUESTS

    def enter(self, tokens: int, now: Instant) -> None:
        self.in_use += 1
        if self.requests is not None:
            self.requests.take(1, now)
        if self.tokens is not None:
            self.tokens.take(tokens, now)

    def leave(self, unused: int, *, sent: bool) -> None:
        """`unused` tokens were charged too much (or too few, below 0)."""
        self.in_use -= 1
        if self.requests is not None and not sent:
            self.requests.give_back(1)
        if self.tokens is not None:
            self.tokens.give_back(unused)

    def idle(self, now: Instant) -> bool:
        """Whether it may be forgotten."""
        return (
            self.in_use == 0
            and (self.requests is None or self.requests.idle(now))
            and (self.tokens is None or self.tokens.idle(now))
        )

    def at(self, limits: Limits, now: Instant) -> "Cell":
        """The same rates used, under other limits, with nobody in it."""
        moved = Cell(limits)
        if self.requests is not None and limits.requests is not None:
            moved.requests = self.requests.at(limits.requests, now)
        if self.tokens is not None and limits.tokens is not None:
            moved.tokens = self.tokens.at(limits.tokens, now)
        return moved


class _Held:
    """A place that is taken."""

    __slots__ = ("cells", "place", "since")

    def __init__(self, place: Place, cells: tuple[Cell, ...], since: Instant) -> None:
        self.place = place
        self.cells = cells
        self.since = since


class CapacityPool:
    """One pool at work. What becomes of those who wait is left in `news`, for whoever asks next."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.news: list[Verdict] = []
        self.due: Instant | None = None
        """When to `look` again though nobody has come or left; None for never."""
        self.refused = 0
        self._plain = _plain(pool)
        self._common = Cell(pool.common)
        self._own = {each.workload: Cell(each.limits) for each in pool.reserves}
        self._lent = self._lenders()
        self._tenants: dict[TenantId, Cell] = {}
        self._users: dict[tuple[TenantId, UserId], Cell] = {}
        self._held: dict[RequestId, _Held] = {}
        # A plain dict would look for its first entry behind all that have left it.
        self._lines: OrderedDict[Owner, deque[Place]] = OrderedDict()
        """In the order of their turns."""
        self._waiting: OrderedDict[RequestId, tuple[Place, Instant]] = OrderedDict()
        """By arrival, with its time."""
        self._queued: dict[WorkloadId, int] = {}
        self._kept = _FIRST_GUESS
        """Microseconds that calls keep their places, about."""

    def enter(self, place: Place, now: Instant) -> Verdict | None:
        """Take a place, or wait for one (None), or be turned away. A call that has one already, has it."""
        request = place.request
        if request in self._held:
            return In(request)
        if request in self._waiting:
            return None
        if self._waiting and not self._may_wait(place):
            # Time may have made room for those before it.
            self._serve(now)
        if not self._waiting and self._try(place, now) == 0:
            return In(request)
        if not self._may_wait(place) and not self._give_way(place, now):
            return self._turn_away(place, now, 0, queue_full=self.pool.queue > 0)
        self._join(place, now)
        self._serve(now)
        # Its own is the only verdict that is not news.
        for index, verdict in enumerate(self.news):
            if verdict.request == request:
                return self.news.pop(index)
        return None

    def adopt(self, place: Place, now: Instant) -> None:
        """A call that has a place already, given by somebody else, whether there is room or not."""
        if place.request in self._held:
            return
        self._withdraw(place.request, now)
        self._settle_in(place, self._roomy(place), now)

    def leave(self, request: RequestId, used: int | None, now: Instant) -> None:
        """Its call has ended with so many tokens (None: nothing was sent at all), or does not wait any more."""
        held = self._held.pop(request, None)
        if held is None:
            self._withdraw(request, now)
            return
        unused = held.place.tokens - (used or 0)
        for cell in held.cells:
            cell.leave(unused, sent=used is not None)
        self._kept += (max(0, now - held.since) - self._kept) >> 3
        if self._waiting:
            self._serve(now)
        if len(self._users) + len(self._tenants) > MOST_KEPT:
            self._sweep(now)

    def _withdraw(self, request: RequestId, now: Instant) -> None:
        found = self._waiting.get(request)
        if found is not None:
            self._unqueue(found[0])
            # It may have been what others waited behind.
            self._serve(now)

    def look(self, now: Instant) -> None:
        """Time has passed: turn away who waited for too long, let in who may come in."""
        self._serve(now)
        patience = int(self.pool.wait_seconds * MICROS)
        late = [(place, since) for place, since in self._waiting.values() if since + patience <= now]
        for place, since in late:
            self._unqueue(place)
            self.news.append(self._turn_away(place, now, now - since))
        if late:
            self._serve(now)

    def change(self, pool: Pool, now: Instant) -> None:
        """Other limits. Who is in stays in; who waits goes on waiting, and may come in at once."""
        common, own, tenants, users = self._common, self._own, self._tenants, self._users
        self.pool = pool
        self._plain = _plain(pool)
        self._common = common.at(pool.common, now)
        self._own = {each.workload: own.get(each.workload, common).at(each.limits, now) for each in pool.reserves}
        self._lent = self._lenders()
        self._tenants = {name: cell.at(pool.per_tenant, now) for name, cell in tenants.items()}
        self._users = {name: cell.at(pool.per_user, now) for name, cell in users.items()}
        for held in self._held.values():
            place = held.place
            held.cells = tuple(self._cells(place, self._roomy(place)))
            for cell in held.cells:
                cell.in_use += 1
        self._serve(now)

    def use(self) -> PoolUse:
        """How full it is."""
        names = {held.place.workload for held in self._held.values()} | self._queued.keys() | self._own.keys()
        in_use = dict.fromkeys(names, 0)
        for held in self._held.values():
            in_use[held.place.workload] += 1
        by_workload = tuple((name, in_use[name], self._queued.get(name, 0)) for name in sorted(names))
        return PoolUse(self.pool.id, len(self._held), len(self._waiting), self.refused, by_workload)

    @property
    def empty(self) -> bool:
        """Nobody has a place and nobody waits."""
        return not self._held and not self._waiting

    # Cells

    def _lenders(self) -> tuple[Cell, ...]:
        return tuple(self._own[each.workload] for each in self.pool.reserves if each.lends)

    def _pool_cells(self, place: Place) -> Iterator[Cell]:
        """Those of the pool that a call may be in, the first one first."""
        own = self._own.get(place.workload)
        if own is not None:
            yield own
        yield self._common
        for lent in self._lent:
            if lent is not own:
                yield lent

    def _pool_cell(self, place: Place, now: Instant) -> Cell | None:
        """Where a call can come in now."""
        return next((cell for cell in self._pool_cells(place) if cell.delay(place.tokens, now) == 0), None)

    def _roomy(self, place: Place) -> Cell:
        """Where a call that is in already has room, whatever its rates."""
        for cell in self._pool_cells(place):
            most = cell.limits.concurrent
            if most is None or cell.in_use < most:
                return cell
        return self._common

    def _cells(self, place: Place, of_pool: Cell) -> Iterator[Cell]:
        yield of_pool
        if self.pool.per_user:
            yield self._user(place)
        if self.pool.per_tenant:
            yield self._tenant(place)

    def _user(self, place: Place) -> Cell:
        name = place.tenant, place.user
        return self._users.get(name) or self._users.setdefault(name, Cell(self.pool.per_user))

    def _tenant(self, place: Place) -> Cell:
        return self._tenants.get(place.tenant) or self._tenants.setdefault(place.tenant, Cell(self.pool.per_tenant))

    def _sweep(self, now: Instant) -> None:
        self._users = {name: cell for name, cell in self._users.items() if not cell.idle(now)}
        self._tenants = {name: cell for name, cell in self._tenants.items() if not cell.idle(now)}

    # Places

    def _try(self, place: Place, now: Instant) -> int:
        """Take a place: 0, or microseconds until it may be had, or less where somebody has to leave first."""
        if self._plain:
            common = self._common
            delay = common.delay(place.tokens, now)
            if delay == 0:
                common.enter(place.tokens, now)
                self._held[place.request] = _Held(place, (common,), now)
            return delay
        delay = self._delay_apart(place, now)
        if delay != 0:
            return delay
        cell = self._pool_cell(place, now)
        if cell is None:
            return self._delay_of_pool(place, now)
        self._settle_in(place, cell, now)
        return 0

    def _settle_in(self, place: Place, of_pool: Cell, now: Instant) -> None:
        cells = tuple(self._cells(place, of_pool))
        for cell in cells:
            cell.enter(place.tokens, now)
        self._held[place.request] = _Held(place, cells, now)

    def _delay_apart(self, place: Place, now: Instant) -> int:
        """What the call's user or tenant has to wait, whatever the pool has."""
        if self.pool.per_user:
            delay = self._user(place).delay(place.tokens, now)
            if delay != 0:
                return delay
        return self._tenant(place).delay(place.tokens, now) if self.pool.per_tenant else 0

    def _delay_of_pool(self, place: Place, now: Instant) -> int:
        delays = [delay for cell in self._pool_cells(place) if (delay := cell.delay(place.tokens, now)) > 0]
        return min(delays, default=_UNTIL_SOMEBODY_LEAVES)

    # The queue

    def _join(self, place: Place, now: Instant) -> None:
        owner = place.workload, place.tenant, place.user
        self._lines.setdefault(owner, deque()).append(place)
        self._waiting[place.request] = place, now
        self._queued[place.workload] = self._queued.get(place.workload, 0) + 1

    def _unqueue(self, place: Place) -> None:
        owner = place.workload, place.tenant, place.user
        line = self._lines[owner]
        line.remove(place)
        if not line:
            del self._lines[owner]
        del self._waiting[place.request]
        self._queued[place.workload] -= 1
        if not self._queued[place.workload]:
            del self._queued[place.workload]

    def _may_wait(self, place: Place) -> bool:
        return self._queued.get(place.workload, 0) < self.pool.queue

    def _give_way(self, place: Place, now: Instant) -> bool:
        """Make room in a full queue: the longest line gives up its last call for somebody with a shorter one."""
        own = len(self._lines.get((place.workload, place.tenant, place.user), ()))
        lines = [line for owner, line in self._lines.items() if owner[0] == place.workload]
        longest = max(lines, key=len, default=deque[Place]())
        if len(longest) <= own + 1:
            return False
        last = longest[-1]
        since = self._waiting[last.request][1]
        self._unqueue(last)
        self.news.append(self._turn_away(last, now, now - since, queue_full=True))
        return True

    def _serve(self, now: Instant) -> None:
        """Let in whoever may come in, owners of what is lent before others, one of each line in turn."""
        self.due = None
        if self._lent:
            self._serve_some(now, owners=True)
        self._serve_some(now, owners=False)
        self._note_due(self.due)

    def _serve_some(self, now: Instant, *, owners: bool) -> None:
        turns = deque(self._lines)
        full: set[WorkloadId] = set()
        """Workloads that the pool has nothing for."""
        apart: set[tuple[TenantId, UserId] | TenantId] = set()
        while turns and len(full) < len(self._queued):
            owner = turns.popleft()
            workload, tenant, user = owner
            if workload in full or tenant in apart or (tenant, user) in apart:
                continue
            line = self._lines[owner]
            place = line[0]
            if owners and ((own := self._own.get(workload)) is None or own.delay(place.tokens, now) != 0):
                full.add(workload)
                continue
            delay = self._delay_apart(place, now)
            if delay != 0:
                of_user = self.pool.per_user and self._user(place).delay(place.tokens, now) != 0
                apart.add((tenant, user) if of_user else tenant)
            else:
                delay = self._try(place, now)
                if delay == 0:
                    self._unqueue(place)
                    self.news.append(In(place.request))
                    if line:
                        # The next turn is that of the others.
                        self._lines.move_to_end(owner)
                        turns.append(owner)
                    continue
                # Nobody overtakes within a workload, so that a large call is not kept out by small ones.
                full.add(workload)
            if delay > 0:
                self.due = now + delay if self.due is None else min(self.due, now + delay)

    def _note_due(self, rate_due: Instant | None) -> None:
        first = next(iter(self._waiting.values()), None)
        if first is None:
            self.due = None
            return
        late = first[1] + int(self.pool.wait_seconds * MICROS)
        self.due = late if rate_due is None else min(rate_due, late)

    # Refusals

    def _turn_away(self, place: Place, now: Instant, waited: int, *, queue_full: bool = False) -> Away:
        self.refused += 1
        whose, cell, limits = self._closed_by(place, now)
        scarce, delay = cell.scarce(place.tokens, now), cell.delay(place.tokens, now)
        if delay < 0:
            delay = self._kept * (self._queued.get(place.workload, 0) + 1) // (cell.limits.concurrent or 1)
        retry = min(_LONGEST_RETRY, max(1, -(-delay // MICROS)))
        limit = _shown(limits, scarce)
        if queue_full:
            scarce, limit = Scarce.QUEUE, f"{limit}, and {self.pool.queue} calls in its queue"
        return Away(place.request, Shortage(scarce, whose, limit, waited / MICROS, retry))

    def _closed_by(self, place: Place, now: Instant) -> tuple[str, Cell, Limits]:
        """Whose limits keep a call out, and the cell that it did not come into."""
        pool = self.pool
        if pool.per_user and (of_user := self._user(place)).delay(place.tokens, now) != 0:
            return "user", of_user, pool.per_user
        if pool.per_tenant and (of_tenant := self._tenant(place)).delay(place.tokens, now) != 0:
            return "tenant", of_tenant, pool.per_tenant
        return "pool", next(self._pool_cells(place)), pool.total


def _plain(pool: Pool) -> bool:
    """Whether one cell is all that there is to it."""
    return not (pool.reserves or pool.per_user or pool.per_tenant)


def _shown(limits: Limits, scarce: Scarce) -> str:
    """'40 calls at once', '600/min requests'."""
    if scarce is Scarce.CONCURRENT:
        return f"{limits.concurrent} calls at once"
    rate = limits.requests if scarce is Scarce.REQUESTS else limits.tokens
    return f"{show_rate(rate)} {scarce}" if rate is not None else "no more"


def show_limits(limits: Limits) -> str:
    """'40 at once, 600/min requests'; empty where nothing is limited."""
    parts = [f"{limits.concurrent} at once"] if limits.concurrent is not None else []
    for rate, what in ((limits.requests, "requests"), (limits.tokens, "tokens")):
        if rate is not None:
            parts.append(f"{show_rate(rate)} {what}")
    return ", ".join(parts)


_PERIODS = ((86_400 * MICROS, "d"), (3600 * MICROS, "h"), (60 * MICROS, "min"), (MICROS, "s"))


def show_rate(rate: Rate) -> str:
    """'600/min', about as it is written in a plan."""
    for period, name in _PERIODS:
        if rate.period == period:
            return f"{rate.amount:,}/{name}"
    return f"{rate.amount * 60 * MICROS / rate.period:g}/min"
