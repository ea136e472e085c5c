"""What does a gateway hold in place of a ledger, when another process keeps it?

Nothing here touches a socket: `line` carries what is said, and tests carry it as they please.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import structlog

from upshift.keeper.clock import elapsed
from upshift.keeper.learnt import Vocabulary
from upshift.keeper.messages import (
    Admitted,
    Append,
    Barred,
    Bye,
    Crowd,
    Decide,
    Duplicate,
    Durable,
    Extend,
    Filled,
    Forget,
    Fresh,
    Granted,
    Kept,
    Learn,
    Note,
    Numbered,
    Ping,
    Pong,
    Presented,
    Priced,
    Refresh,
    Release,
    Resume,
    Settle,
    Stale,
    State,
    ToGateway,
    ToKeeper,
    Unavailable,
    Want,
    Withdraw,
    balance_from,
)
from upshift.keeper.receipts import Receipts
from upshift.keeper.remote_pools import HEARD, RemotePools
from upshift.model.budget import EMPTY, NOTHING, Amount, Balance, BudgetKey, Claim
from upshift.model.entry import Adjust, Alert, Decision, Grant
from upshift.model.ids import PlanHash, RequestId
from upshift.model.metered import Metered
from upshift.model.span import Instant
from upshift.store.ledger import (
    Admit,
    Deny,
    DuplicateRequestError,
    Extension,
    LedgerUnavailableError,
    Rule,
    Ticket,
)
from upshift.traffic.gate import Crowded, Fit, Full, Growth, Offer

log = structlog.get_logger()

GIVE_UP_SECONDS = 20.0
_LEASE = 0.75
"""The share of the keeper's patience with a silent gateway that the gateway itself counts on."""
_MOST_STATES = 200_000
_MOST_IDS = 100_000
_MOST_NOTES = 100_000
_AWAY = "the keeper of the ledger cannot be reached"


class Portable(Protocol):
    """A rule that can be asked elsewhere: what it offers as data, and what it makes of the verdict."""

    def offer(self) -> Offer: ...

    def told(self, verdict: Fit | Crowded | Full) -> Admit | Deny: ...


class _Asked:
    """A call that waits to hear whether it may spend."""

    __slots__ = (
        "answer",
        "now",
        "offer",
        "opening",
        "patience",
        "plan",
        "request",
        "rule",
        "said",
        "since",
    )

    def __init__(
        self,
        request: RequestId,
        plan: PlanHash,
        now: Callable[[], Instant],
        rule: Portable,
        patience: float,
        opening: Metered | None,
    ) -> None:
        self.request = request
        self.plan = plan
        self.now = now
        self.rule = rule
        self.patience = patience
        self.opening = opening
        self.offer = rule.offer()
        self.since = 0.0
        self.said = 0
        """How often it was said; after the first time a keeper may hold something for it."""
        self.answer: asyncio.Future[ToGateway]


class _Open:
    """A call that holds, until its closing is on disk."""

    __slots__ = ("admitted", "asked", "claims", "ticket")

    def __init__(self, ticket: Ticket, claims: tuple[Claim, ...], admitted: Admitted, asked: _Asked) -> None:
        self.ticket = ticket
        self.claims = claims
        self.admitted = admitted
        self.asked = asked


class _Growing:
    """A call in flight that waits to hear how much more it may hold than `held`."""

    __slots__ = ("answer", "at", "growth", "held", "since")

    def __init__(self, growth: Growth, at: Instant, held: Amount, loop: asyncio.AbstractEventLoop) -> None:
        self.growth = growth
        self.at = at
        self.held = held
        self.since = loop.time()
        self.answer: asyncio.Future[Amount] = loop.create_future()


class RemoteLedger:
    """The `Ledger` of a gateway whose keeper is another process. For one event loop.

    `decide` takes rules that are Portable, `extend` a Growth. What closes a call is kept here until the keeper says
    that it is on disk; when the keeper dies or the connection breaks, all that is open is presented to the next one.
    """

    def __init__(self, give_up_seconds: float = GIVE_UP_SECONDS, clock: Callable[[], float] = elapsed) -> None:
        """`clock` goes on while the machine sleeps: by it an answer is judged to be too old for use."""
        self.who = os.urandom(16)
        """The name of this gateway to its keeper."""
        self.hang_up: Callable[[], None] | None = None
        """Ends whatever carries the messages, for good."""
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._give_up = give_up_seconds
        self._write: Callable[[Sequence[ToKeeper]], None] | None = None
        self._out: list[ToKeeper] = []
        self._lease = 0.0
        self._lease_until = 0.0
        self._trouble = _AWAY
        self.away = ""
        """Why entries go to the keeper's own disk instead of the database; empty while they do not."""
        self.owed = 0
        """What that disk alone has is the keeper's to know."""
        self._ending = False
        self._vocabulary = Vocabulary()
        self._receipts = Receipts()
        self._count = 0
        self._states: dict[BudgetKey, State] = {}
        self._asked: dict[RequestId, _Asked] = {}
        self._open: dict[RequestId, _Open] = {}
        self._closing: dict[RequestId, _Open] = {}
        self._growing: dict[RequestId, _Growing] = {}
        self._refreshing: dict[int, tuple[asyncio.Future[None], tuple[BudgetKey, ...], float]] = {}
        self._ids: set[str] = set()
        self.pools = RemotePools(self._say, self._in_time, give_up_seconds)
        """The capacity pools, which the keeper keeps too."""
        self._on: dict[type, Callable[[Any], None]] = {
            Admitted: self._admitted,
            Kept: self._kept,
            Crowd: self._answered,
            Filled: self._answered,
            Stale: self._answered,
            Duplicate: self._answered,
            Unavailable: self._answered,
            Granted: self._granted,
            Durable: self._saved,
            Barred: self._bar,
            Fresh: self._fresh,
            Pong: self._pong,
            **dict.fromkeys(HEARD, self.pools.heard),
        }

    @property
    def healthy(self) -> bool:
        return not self._trouble

    @property
    def trouble(self) -> str:
        """Why nothing can be decided now, for people; empty when it can."""
        return self._trouble

    @property
    def mark(self) -> int:
        """The number of the last message that has to get to the disk."""
        return self._receipts.last // 2

    @property
    def unwritten(self) -> int:
        """How many of those messages are not known to be there."""
        return len(self._receipts.numbered)

    def open_requests(self) -> Sequence[RequestId]:
        return tuple(self._open)

    # Deciding

    async def decide(
        self,
        request: RequestId,
        plan: PlanHash,
        now: Callable[[], Instant],
        rule: Rule,
        patience_seconds: float,
        opening: Metered | None = None,
    ) -> tuple[Admit, Ticket] | Deny:
        """As every ledger does; `rule` has to be Portable. Waits out a keeper's absence as long as the patience."""
        if request in self._asked or request in self._open or request in self._closing:
            raise DuplicateRequestError(request)
        if self._ending:
            raise LedgerUnavailableError("the ledger is closing")
        asked = _Asked(request, plan, now, cast(Portable, rule), patience_seconds, opening)
        asked.since = self._loop.time()
        try:
            while True:
                self._ask(asked)
                answer = await asked.answer
                if isinstance(answer, Admitted):
                    if self._in_time():
                        return self._let_in(asked, answer)
                    # The keeper may have counted this process as dead since: it has to say it once more.
                    self._receipts.forget(self._open.pop(request).ticket.mark)
                elif isinstance(answer, Stale):
                    asked.offer = asked.rule.offer()
                else:
                    denied = asked.rule.told(_verdict(asked, answer))
                    assert isinstance(denied, Deny)
                    return denied
        except BaseException:
            self._withdraw(asked)
            raise

    def _ask(self, asked: _Asked) -> None:
        asked.answer = self._loop.create_future()
        self._asked[asked.request] = asked
        if self._write is not None:
            self._say_decide(asked)

    def _say_decide(self, asked: _Asked) -> None:
        again, asked.said = asked.said > 0, asked.said + 1
        fares = tuple(
            Priced(
                self._number_of(fare.claims),
                fare.input,
                fare.input_rate,
                fare.output_rate,
                fare.wanted,
                fare.enough,
                fare.choices,
                fare.least,
            )
            for fare in asked.offer.fares
        )
        patience = asked.patience
        if patience > 0:
            patience = max(0.0, patience - (self._loop.time() - asked.since))
        good_for = asked.offer.until - asked.now()
        self._say(Decide(asked.request, asked.plan, fares, good_for, patience, asked.opening, again))

    def _admitted(self, answer: Admitted) -> None:
        request = answer.request
        asked = self._asked.pop(request, None)
        if asked is None:
            return
        claims = asked.offer.fares[answer.step].claims
        known = self._vocabulary.known(claims)
        keys = tuple(claim.key for claim in claims) if known is None else known.keys
        self._states.update(zip(keys, answer.states, strict=True))
        mark = self._receipts.held(answer.mark)
        ticket = Ticket(request, asked.plan, keys, answer.amount, mark)
        # From here on it is presented to a new keeper as one that holds, even before its caller knows.
        self._open[request] = _Open(ticket, claims, answer, asked)
        if not asked.answer.done():
            asked.answer.set_result(answer)

    def _let_in(self, asked: _Asked, answer: Admitted) -> tuple[Admit, Ticket]:
        admit = asked.rule.told(Fit(answer.step, answer.amount, answer.output, answer.room))
        assert isinstance(admit, Admit)
        return admit, self._open[asked.request].ticket

    def _answered(self, answer: Crowd | Filled | Stale | Duplicate | Unavailable) -> None:
        asked = self._asked.pop(answer.request, None)
        if asked is not None and not asked.answer.done():
            asked.answer.set_result(answer)

    def _withdraw(self, asked: _Asked) -> None:
        """Nobody waits any more: the keeper must hold nothing for it, whatever it has decided meanwhile."""
        pending = self._asked.pop(asked.request, None)
        held = self._open.pop(asked.request, None)
        if held is not None:
            held.ticket.closed = True
            self._closing[asked.request] = held
        if held is not None or (pending is not None and asked.said):
            self._tell(Withdraw(self._receipts.next(), asked.request, asked.now()))

    # Calls that hold

    async def extend(self, ticket: Ticket, rule: Extension, at: Instant) -> Amount:
        """As every ledger does; `rule` has to be a Growth. Raises LedgerUnavailableError when no keeper answers."""
        if ticket.closed:
            return NOTHING
        if not isinstance(rule, Growth):
            raise TypeError("a keeper elsewhere can only be asked for a Growth")
        growing = self._growing[ticket.request] = _Growing(rule, at, ticket.held, self._loop)
        if self._write is not None:
            self._say_extend(ticket.request, growing)
        try:
            return await growing.answer
        finally:
            if self._growing.get(ticket.request) is growing:
                del self._growing[ticket.request]

    def _say_extend(self, request: RequestId, growing: _Growing) -> None:
        growth = growing.growth
        number = self._number_of(growth.claims)
        self._say(Extend(request, number, growth.output_rate, growth.want, growth.grace, growing.held, growing.at))

    def _granted(self, answer: Granted) -> None:
        known = self._open.get(answer.request)
        if known is not None:
            # Though its caller may have left: a new keeper has to be told all that it holds.
            known.ticket.held = answer.held
        growing = self._growing.pop(answer.request, None)
        if growing is not None:
            self._states.update(zip((claim.key for claim in growing.growth.claims), answer.states, strict=True))
            if not growing.answer.done():
                growing.answer.set_result(answer.held - growing.held)

    def settle(self, ticket: Ticket, at: Instant, amount: Amount, record: Metered) -> int:
        if ticket.closed:
            return self._receipts.last
        self._close(ticket)
        return self._tell(Settle(self._receipts.next(), ticket.request, at, amount, record))

    def release(self, ticket: Ticket, at: Instant, record: Metered) -> int:
        if ticket.closed:
            return self._receipts.last
        self._close(ticket)
        return self._tell(Release(self._receipts.next(), ticket.request, at, record))

    def _close(self, ticket: Ticket) -> None:
        ticket.closed = True
        self._closing[ticket.request] = self._open.pop(ticket.request)

    def note(self, record: Metered, at: Instant) -> int:
        """As every ledger does; dropped, and said so in the log, when too much waits for a keeper already."""
        if record.request in self._open:
            raise ValueError(f"request {record.request} holds; it has to be settled or released")
        if len(self._receipts.numbered) >= _MOST_NOTES:
            log.error("keeper.note_dropped", request=record.request, why=self._trouble)
            return self._receipts.last
        return self._tell(Note(self._receipts.next(), at, record))

    def append(self, entry: Adjust | Grant | Alert | Decision) -> int | None:
        """Append once by `id`. None only for what was appended here before; the keeper skips what others appended."""
        if entry.id in self._ids:
            return None
        if len(self._ids) >= _MOST_IDS:
            self._ids.clear()
        self._ids.add(entry.id)
        return self._tell(Append(self._receipts.next(), entry))

    def _tell(self, message: Numbered) -> int:
        self._say(message)
        return self._receipts.keep(message)

    # The disk

    def durable(self, mark: int) -> asyncio.Future[None]:
        entry = self._receipts.entry_of(mark)
        if entry is not None:
            self._say(Want(entry))
        return self._receipts.reached(mark)

    def _saved(self, news: Durable) -> None:
        for number, states in news.states:
            learnt = self._vocabulary.numbered(number)
            if learnt is not None:
                self._states.update(zip(learnt.keys, states, strict=True))
        for told in self._receipts.saved(news.number, news.mark):
            if isinstance(told, Settle | Release | Withdraw):
                known = self._closing.pop(told.request, None)
                if known is not None:
                    self._receipts.forget(known.ticket.mark)
        if len(self._states) > _MOST_STATES:
            self._states.clear()

    def _kept(self, news: Kept) -> None:
        known = self._open.get(news.request) or self._closing.get(news.request)
        if known is not None:
            wanted = self._receipts.held_again(known.ticket.mark, news.mark)
            if wanted is not None:
                self._say(Want(wanted))

    def _bar(self, news: Barred) -> None:
        known = self._open.get(news.request) or self._closing.get(news.request)
        if news.number:
            self._receipts.bar(2 * news.number + 1)
        elif known is not None:
            self._receipts.bar(known.ticket.mark)

    async def flushed(self) -> None:
        """Wait until everything told so far is on disk. Raises LedgerUnavailableError like durable."""
        # One that was closed long ago will never be there, but all before it are.
        with contextlib.suppress(DuplicateRequestError):
            await self.durable(self._receipts.last)

    # Balances

    def balance(self, key: BudgetKey) -> Balance:
        state = self._states.get(key)
        return EMPTY if state is None else balance_from(state)

    async def refresh(self, keys: Sequence[BudgetKey]) -> None:
        answer: asyncio.Future[None] = self._loop.create_future()
        self._count += 1
        id_, wanted = self._count, tuple(keys)
        self._refreshing[id_] = answer, wanted, self._loop.time()
        self._say(Refresh(id_, wanted))
        try:
            await answer
        finally:
            self._refreshing.pop(id_, None)

    def _fresh(self, answer: Fresh) -> None:
        waiting = self._refreshing.pop(answer.id, None)
        if waiting is None:
            return
        self._states.update(zip(waiting[1], answer.states, strict=True))
        if not waiting[0].done():
            waiting[0].set_result(None)

    def _number_of(self, claims: tuple[Claim, ...]) -> int:
        vocabulary = self._vocabulary
        known = vocabulary.known(claims)
        if known is None:
            if vocabulary.full:
                vocabulary.forget()
                self._say(Forget())
            known = vocabulary.learn(claims)
            self._say(Learn(known.number, claims))
        return known.number

    # The connection

    def _say(self, message: ToKeeper) -> None:
        """To be said at the end of this turn of the loop; not at all while there is nobody to hear it."""
        if self._write is None:
            return
        out = self._out
        if not out:
            self._loop.call_soon(self._flush)
        out.append(message)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._write is not None:
            self._write(out)

    def connected(self, write: Callable[[Sequence[ToKeeper]], None], resume_seconds: float) -> None:
        """A keeper listens: present what is open, and say again what it may not have heard."""
        self._write = write
        self._lease = resume_seconds * _LEASE
        self._out = []
        self._vocabulary.forget()
        self._receipts.lost()
        self._say(Ping(self._clock()))
        self.pools.connected()
        calls = (*self._closing.values(), *self._open.values())
        presented = [
            Presented(
                each.ticket.request,
                each.ticket.plan,
                self._number_of(each.claims),
                each.admitted.step,
                each.ticket.held,
                each.admitted.output,
                each.admitted.room,
                each.asked.opening,
            )
            for each in calls
        ]
        self._say(Resume(presented))
        self.pools.resumed()
        for told in self._receipts.numbered:
            self._say(told)
        for asked in self._asked.values():
            self._say_decide(asked)
        for request, growing in self._growing.items():
            self._say_extend(request, growing)
        for id_, (_, keys, _) in self._refreshing.items():
            self._say(Refresh(id_, keys))

    def lost(self) -> None:
        """Nobody listens any more."""
        self._write = None
        self._out = []
        self._trouble, self.away = _AWAY, ""

    def heard(self, messages: Sequence[ToGateway]) -> None:
        """What the keeper said, in its order."""
        on = self._on
        for message in messages:
            on[type(message)](message)

    def _in_time(self) -> bool:
        """Whether the keeper's answers may be used; if not, its next ones may be."""
        if self._clock() < self._lease_until:
            return True
        self._say(Ping(self._clock()))
        return False

    def _pong(self, pong: Pong) -> None:
        self._lease_until = max(self._lease_until, pong.at + self._lease)
        self._trouble, self.away = pong.trouble, pong.away

    def tick(self) -> None:
        """To be called several times in the time after which the keeper forgets a silent gateway."""
        self._say(Ping(self._clock()))
        now = self._loop.time()
        oldest = now - self._give_up
        for asked in tuple(self._asked.values()):
            # One that a keeper knows waits for its turn there, and is told when its patience ends.
            if now - asked.since > max(asked.patience, self._give_up) + (asked.patience if self._write else 0):
                self._fail(asked.answer)
        for growing in tuple(self._growing.values()):
            if growing.since < oldest:
                self._fail(growing.answer)
        for fresh, _, since in tuple(self._refreshing.values()):
            if since < oldest:
                self._fail(fresh)
        self.pools.tick(self._trouble or _AWAY)
        self._receipts.give_up(oldest, self._trouble or _AWAY)

    def _fail(self, future: asyncio.Future[Any]) -> None:
        if not future.done():
            future.set_exception(LedgerUnavailableError(self._trouble or _AWAY))

    async def close(self) -> None:
        if self._ending:
            return
        self._ending = True
        for asked in tuple(self._asked.values()):
            if not asked.answer.done():
                asked.answer.set_exception(LedgerUnavailableError("the ledger is closing"))
        try:
            await self.flushed()
        finally:
            self._say(Bye())
            self._flush()
            if self.hang_up is not None:
                self.hang_up()


def _verdict(asked: _Asked, answer: ToGateway) -> Crowded | Full:
    match answer:
        case Crowd():
            return Crowded(answer.key)
        case Filled():
            claim = asked.offer.fares[answer.fare].claims[answer.claim]
            return Full(claim, balance_from(answer.state), answer.measure, answer.needed)
        case Duplicate() if asked.said > 1:
            # Not the caller's mistake: a keeper let it in, and counted it as lost before this process could know.
            raise LedgerUnavailableError("this process was away for too long")
        case Duplicate():
            raise DuplicateRequestError(asked.request)
        case Unavailable():
            raise LedgerUnavailableError(answer.why)
        case _:
            raise RuntimeError(f"{type(answer).__name__} is no answer to a call")
