"""What does the keeper know of one gateway, and how does it answer what that says?"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from upshift.keeper.eager import Running
from upshift.keeper.learnt import Learnt
from upshift.keeper.messages import (
    Admitted,
    Append,
    Barred,
    Bye,
    Crowd,
    Decide,
    Duplicate,
    Durable,
    Enter,
    Extend,
    Filled,
    Forget,
    Fresh,
    Granted,
    Kept,
    KnowPools,
    Learn,
    Leave,
    Look,
    Note,
    Ping,
    Pong,
    Presented,
    Refresh,
    Release,
    Resume,
    Seated,
    Settle,
    Stale,
    State,
    ToGateway,
    ToKeeper,
    Unavailable,
    Uses,
    Want,
    Withdraw,
    state_of,
)
from upshift.keeper.ruling import Ruling
from upshift.model.budget import NOTHING, BudgetKey
from upshift.model.ids import RequestId
from upshift.model.metered import Metered, Outcome
from upshift.model.pool import Pool
from upshift.store.counter import Answer
from upshift.store.ledger import DuplicateRequestError, LedgerUnavailableError, Ticket
from upshift.store.rows import lost_record
from upshift.traffic.gate import Crowded, Fare, Fit, Full, Growth

if TYPE_CHECKING:
    from upshift.keeper.keeper import Keeper

log = structlog.get_logger()


class Open:
    """A call that holds: its ticket, what it was let in as, and what the gateway calls its claims (0: not known)."""

    __slots__ = ("claims", "fit", "opening", "ticket")

    def __init__(self, ticket: Ticket, fit: Fit, opening: Metered | None, claims: int) -> None:
        self.ticket = ticket
        self.fit = fit
        self.opening = opening
        self.claims = claims

    def lost(self) -> Metered:
        """The record of a call that nobody can tell the end of."""
        ticket, opening = self.ticket, self.opening
        at = opening.started if opening is not None else 0
        return lost_record(ticket.request, at, ticket.plan, ticket.keys, ticket.held, opening)

    def withdrawn(self) -> Metered:
        """The record of a call that was let in when nobody waited for it any more."""
        return msgspec.structs.replace(
            self.lost(), outcome=Outcome.CLIENT_LEFT, reason="left_queue", cost=0, counted=0, counted_tokens=0
        )


class _Batch:
    """What one turn of a gateway's messages has changed, until it is on disk."""

    __slots__ = ("mark", "number", "touched", "watched")

    def __init__(self) -> None:
        self.mark = -1
        self.number = 0
        self.touched: set[int] = set()
        """Claims whose balances may have changed."""
        self.watched = False


class _Waiting:
    """A call in the ledger's queue, as its gateway asked for it last."""

    __slots__ = ("message", "running")

    def __init__(self, message: Decide) -> None:
        self.message = message
        self.running: Running[Answer]


class Session:
    """One gateway at the keeper. It outlives its connections: `write` is None between two of them."""

    def __init__(self, keeper: Keeper, who: bytes, heard_at: float) -> None:
        self.who = who
        self.heard_at = heard_at
        """By the keeper's clock."""
        self.resumed = False
        self.open: dict[RequestId, Open] = {}
        self.pools: dict[str, Pool] = {}
        """The capacity pools of its plan."""
        self.seats: dict[RequestId, str] = {}
        """Its calls that have a place in a pool, or wait for one."""
        self._keeper = keeper
        self._ledger = keeper.ledger
        self._loop = asyncio.get_running_loop()
        self._write: Callable[[Sequence[ToGateway]], None] | None = None
        self._drop: Callable[[], None] | None = None
        self._out: list[ToGateway] = []
        self._learnt: dict[int, Learnt] = {}
        self._waiting: dict[RequestId, _Waiting] = {}
        self._number = 0
        """The last numbered message that was acted upon."""
        self._batch = _Batch()
        self._on_disk = 0
        self._unsaved: deque[_Batch] = deque()
        self._entries: deque[tuple[int, int, RequestId]] = deque()
        """Mark, number (0: a hold) and request of what is not known to be on disk."""
        self._on: dict[type, Callable[[Any], None]] = {
            Learn: self._learn,
            Forget: self._forget,
            Resume: self._resume,
            Decide: self._decide,
            Extend: self._extend,
            Settle: self._settle,
            Release: self._release,
            Note: self._note,
            Append: self._append,
            Withdraw: self._withdraw,
            Refresh: self._refresh,
            Ping: self._ping,
            Want: self._want,
            Bye: self._bye,
            KnowPools: self._know_pools,
            Seated: self._seated,
            Enter: self._enter,
            Leave: self._leave,
            Look: self._look,
        }

    @property
    def connected(self) -> bool:
        return self._write is not None

    def begin(self, write: Callable[[Sequence[ToGateway]], None], drop: Callable[[], None]) -> None:
        """A connection of this gateway has begun; an earlier one is dropped."""
        self.part()
        self._write, self._drop = write, drop
        self._out = []
        self._keeper.unpark(self)
        self._forget(None)

    def part(self) -> None:
        """Drop whatever connection there is."""
        drop, self._write, self._drop = self._drop, None, None
        if drop is not None:
            drop()

    def parted(self, drop: Callable[[], None]) -> None:
        """The connection that began with this `drop` has ended by itself."""
        if self._drop == drop:
            self._write = self._drop = None

    def hear(self, messages: Sequence[ToKeeper]) -> None:
        """Act on what the gateway said in one frame.

        Raises KeyError or LookupError for what does not fit what was said before; the connection is of no use then.
        """
        on = self._on
        for message in messages:
            on[type(message)](message)
        self._close_batch()
        self.flush()

    # What it says

    def say(self, message: ToGateway) -> None:
        """Said with the rest of this frame's answers, or at the end of this turn of the loop."""
        out = self._out
        if not out:
            self._loop.call_soon(self.flush)
        out.append(message)

    def flush(self) -> None:
        """Send what was said so far."""
        out, self._out = self._out, []
        if out and self._write is not None and self._keeper.may_speak():
            self._write(out)

    def _states(self, keys: Sequence[BudgetKey]) -> list[State]:
        balance = self._ledger.balance
        return [state_of(balance(key)) for key in keys]

    # What it hears

    def _ping(self, ping: Ping) -> None:
        self.say(Pong(ping.at, self._keeper.trouble, self._keeper.ledger.away))

    def _learn(self, message: Learn) -> None:
        self._learnt[message.number] = Learnt(message.number, message.claims)

    def _forget(self, _: Forget | None) -> None:
        self._learnt.clear()
        for open_ in self.open.values():
            open_.claims = 0

    def _bye(self, _: Bye) -> None:
        self._keeper.end(self, "ended")

    def _resume(self, message: Resume) -> None:
        """What the gateway has open: known here, found on disk, or let in by a keeper that died before it wrote it."""
        for presented in message.open:
            learnt = self._learnt[presented.claims]
            known = self.open.get(presented.request) or self._claim(presented.request)
            if known is None:
                known = self._keeper.adopt(self, presented, learnt)
            if known is None:
                continue
            known.claims = presented.claims
            known.fit = _fit_of(presented)
            ticket = known.ticket
            more = presented.amount - ticket.held
            if more.tokens > 0 or more.nano > 0:
                self._keeper.grow(ticket, more)
            self.say(Kept(ticket.request, ticket.mark))
            self._held(ticket)
        # What it says again is not acted upon again, so this may be the only word on it.
        self.say(Durable(self._on_disk, -1, []))
        self.resumed = True
        self._keeper.resumed()

    def _claim(self, request: RequestId) -> Open | None:
        """A hold that was found on disk, and is this gateway's."""
        found = self._keeper.found.pop(request, None)
        if found is not None:
            self.open[request] = found
        return found

    def _decide(self, message: Decide) -> None:
        request = message.request
        known = self.open.get(request)
        if known is None and self._keeper.recovering:
            known = self._found(message)
            if known is None:
                self._keeper.park(self, message)
                return
        if known is not None:
            self._say_admitted(known)
            return
        waiting = self._waiting.get(request)
        if waiting is not None:
            waiting.message = message
        elif message.again and self._keeper.closed(request):
            self.say(Duplicate(request))
        else:
            self._ask(message)

    def _found(self, message: Decide) -> Open | None:
        """The hold of a call that was let in, whose gateway never heard of it."""
        found = self._keeper.found.get(message.request)
        if found is None:
            return None
        for step, fare in enumerate(message.fares):
            learnt, held = self._learnt[fare.claims], found.ticket.held
            output = held.tokens - fare.input
            if learnt.keys == found.ticket.keys and output >= 0:
                found.fit, found.claims = Fit(step, held, output, output), fare.claims
                return self._claim(message.request)
        return None

    def _ask(self, message: Decide) -> None:
        """Put the offer to the ledger."""
        learnt = [self._learnt[fare.claims] for fare in message.fares]
        fares = [
            Fare(
                each.claims,
                fare.input,
                fare.input_rate,
                fare.output_rate,
                fare.wanted,
                fare.enough,
                fare.choices,
                fare.least,
            )
            for each, fare in zip(learnt, message.fares, strict=True)
        ]
        now = self._keeper.now
        ruling = Ruling(fares, [each.keys for each in learnt], now() + message.good_for, now)
        request = message.request
        deciding = self._ledger.decide(request, message.plan, now, ruling, message.patience, message.opening)
        try:
            # Most are decided at once.
            waits_for = deciding.send(None)
        except StopIteration as decided:
            self._decided(message, ruling, decided.value)
        except Exception as error:  # noqa: BLE001 - a call that cannot be judged must not end all others of its gateway
            self._decided(message, ruling, error)
        else:
            waiting = self._waiting[request] = _Waiting(message)

            def ended(decided: Answer | Exception) -> None:
                del self._waiting[request]
                self._decided(waiting.message, ruling, decided)

            waiting.running = Running(deciding, waits_for, ended)

    def _decided(self, message: Decide, ruling: Ruling, decided: Answer | Exception) -> None:
        verdict, request = ruling.verdict, message.request
        if isinstance(decided, tuple):
            assert isinstance(verdict, Fit)
            claims = message.fares[verdict.step].claims
            open_ = self.open[request] = Open(decided[1], verdict, message.opening, claims)
            self._say_admitted(open_)
        elif isinstance(decided, DuplicateRequestError):
            self.say(Duplicate(request))
        elif isinstance(decided, LedgerUnavailableError):
            self.say(Unavailable(request, str(decided)))
        elif isinstance(decided, Exception):
            log.error("keeper.bug", request=request, exc_info=decided)
            self.say(Unavailable(request, "the keeper failed"))
        elif verdict is None:
            self.say(Stale(request))
        elif isinstance(verdict, Crowded):
            self.say(Crowd(request, verdict.key))
        else:
            assert isinstance(verdict, Full)
            fare, claim = ruling.place_of(verdict)
            self.say(Filled(request, fare, claim, state_of(verdict.balance), verdict.measure, verdict.needed))

    def _say_admitted(self, open_: Open) -> None:
        ticket, fit = open_.ticket, open_.fit
        states = self._states(ticket.keys)
        self.say(Admitted(ticket.request, ticket.mark, fit.step, ticket.held, fit.output, fit.room, states))
        self._held(ticket)

    def _extend(self, message: Extend) -> None:
        open_ = self.open.get(message.request)
        claims = self._learnt[message.claims].claims
        held = message.held
        if open_ is not None:
            ticket = open_.ticket
            if ticket.held == held:
                if self._keeper.recovering:
                    self._keeper.park(self, message)
                    return
                growth = Growth(claims, message.output_rate, message.want, message.grace)
                self._keeper.extend(ticket, growth, message.at)
                self._held(ticket)
            # What it holds more than the gateway knows was granted before, and the answer got lost.
            held = ticket.held
        self.say(Granted(message.request, held, self._states([claim.key for claim in claims])))

    def _settle(self, message: Settle) -> None:
        if message.number <= self._number:
            return
        open_ = self.open.pop(message.request, None) or self._keeper.found.pop(message.request, None)
        if open_ is None:
            mark = self._keeper.late(message.request, message.at, message.amount, message.record)
        else:
            mark = self._ledger.settle(open_.ticket, message.at, message.amount, message.record)
            self._batch.touched.add(open_.claims)
        self._done(message.number, mark, message.request)

    def _release(self, message: Release) -> None:
        if message.number <= self._number:
            return
        open_ = self.open.pop(message.request, None) or self._keeper.found.pop(message.request, None)
        if open_ is None:
            mark = self._keeper.late(message.request, message.at, NOTHING, message.record)
        else:
            mark = self._ledger.release(open_.ticket, message.at, message.record)
            self._batch.touched.add(open_.claims)
        self._done(message.number, mark, message.request)

    def _withdraw(self, message: Withdraw) -> None:
        if message.number <= self._number:
            return
        mark = 0
        waiting = self._waiting.pop(message.request, None)
        open_ = self.open.pop(message.request, None) or self._keeper.found.pop(message.request, None)
        if waiting is not None:
            waiting.running.cancel()
        elif open_ is not None:
            mark = self._ledger.release(open_.ticket, message.at, open_.withdrawn())
        else:
            self._keeper.unpark(self, message.request)
        self._done(message.number, mark)

    def _note(self, message: Note) -> None:
        if message.number > self._number:
            self._done(message.number, self._ledger.note(message.record, message.at))

    def _append(self, message: Append) -> None:
        if message.number > self._number:
            self._done(message.number, self._ledger.append(message.entry) or self._ledger.mark)

    def _refresh(self, message: Refresh) -> None:
        self.say(Fresh(message.id, self._states(message.keys)))

    # Capacity pools

    def _know_pools(self, message: KnowPools) -> None:
        self.pools = {pool.id: pool for pool in message.pools}
        self._keeper.pools.know(message.pools)

    def _seated(self, message: Seated) -> None:
        self._keeper.pools.present(self, message)

    def _enter(self, message: Enter) -> None:
        pool = message.spec or self.pools[message.pool]
        if self._keeper.recovering:
            # Others may still present a place that a former keeper gave them.
            self._keeper.park(self, Enter(pool.id, message.place, pool))
        else:
            self._keeper.pools.enter(self, pool, message.place)

    def _leave(self, message: Leave) -> None:
        self._keeper.unpark(self, message.request)
        self._keeper.pools.leave(self, message.request, message.used)

    def _look(self, message: Look) -> None:
        self.say(Uses(message.id, self._keeper.pools.uses()))

    # The disk

    def _held(self, ticket: Ticket) -> None:
        self._entries.append((ticket.mark, 0, ticket.request))

    def _want(self, message: Want) -> None:
        batch = self._batch
        batch.mark = max(batch.mark, message.mark)

    def _done(self, number: int, mark: int, request: RequestId | None = None) -> None:
        self._number = number
        batch = self._batch
        batch.number = number
        batch.mark = max(batch.mark, mark)
        if request is not None:
            self._entries.append((mark, number, request))

    def _close_batch(self) -> None:
        """What was done in this turn is told of once all of it is on disk."""
        batch = self._batch
        if batch.mark >= 0:
            if self._unsaved:
                # Told of in their order, whatever each of them would have to wait for.
                batch.mark = max(batch.mark, self._unsaved[-1].mark)
            self._batch = _Batch()
            self._unsaved.append(batch)
            self._watch(batch)

    def _watch(self, batch: _Batch) -> None:
        batch.watched = True
        self._ledger.durable(batch.mark).add_done_callback(lambda done: self._written(batch, done))

    def watch_again(self) -> None:
        """Wait once more for what could not be written in time; to be called now and then."""
        for batch in self._unsaved:
            if not batch.watched:
                self._watch(batch)

    def _written(self, batch: _Batch, done: asyncio.Future[None]) -> None:
        if isinstance(done.exception(), LedgerUnavailableError):
            batch.watched = False
            return
        if batch not in self._unsaved:
            return
        touched: set[int] = set()
        # Entries reach the disk in their order, so all before this one are there too.
        while True:
            first = self._unsaved.popleft()
            self._on_disk = max(self._on_disk, first.number)
            touched |= first.touched
            if first is batch:
                break
        entries, ledger = self._entries, self._ledger
        while entries and entries[0][0] <= batch.mark:
            mark, number, request = entries.popleft()
            if ledger.durable(mark).exception() is not None:
                self.say(Barred(request, number))
        states = [(number, self._states(self._learnt[number].keys)) for number in touched if number in self._learnt]
        self.say(Durable(self._on_disk, batch.mark, states))

    # Its end

    def end(self) -> None:
        """The gateway will not come back: nothing of it waits any more. What it has open is for the keeper."""
        self.part()
        for waiting in tuple(self._waiting.values()):
            waiting.running.cancel()
        self._waiting.clear()


def _fit_of(presented: Presented) -> Fit:
    return Fit(presented.step, presented.amount, presented.output, presented.room)
