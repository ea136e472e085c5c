"""How does one process decide for all: counters in memory, entries queued for whatever database keeps them?"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

import msgspec

from upshift.model.budget import EMPTY, NOTHING, Amount, Balance, BudgetKey
from upshift.model.entry import Adjust, Alert, Decision, Entry, Grant, Hold, Note, Release, Settle
from upshift.model.fold import Effect, effect_of, fold, fold_call, undo
from upshift.model.ids import PlanHash, RequestId
from upshift.model.metered import Metered, Outcome
from upshift.model.span import Instant
from upshift.store.away import Away, Episode
from upshift.store.away_log import AwayLog
from upshift.store.backend import Groups, Lookup, StoreTroubleError
from upshift.store.counter import Answer, Balances, Queue, Seen, Waiter
from upshift.store.ledger import (
    Admit,
    Deny,
    DuplicateRequestError,
    Extension,
    LedgerUnavailableError,
    Read,
    Recovered,
    Rule,
    Ticket,
    Wait,
)
from upshift.store.marks import Marks
from upshift.store.recovery import Found
from upshift.store.rows import lost_record
from upshift.store.writer import Asked, News, Stopped, Trouble, Writer, Written

GIVE_UP_SECONDS = 20.0
_KEPT_CLOSED = 32_768
"""So many closed request ids at least are remembered, to refuse one that comes again."""

_SILENT = "the disk does not answer"


class CountingLedger:
    """The ledger that keeps the counters itself. Opened, used and closed on one event loop."""

    def __init__(
        self,
        groups: Groups,
        lookup: Lookup,
        give_up_seconds: float,
        recovered: Recovered,
        log: AwayLog | None = None,
    ) -> None:
        """Takes over `groups` and `lookup`, which nobody else may use any more. With `log`, goes on without them."""
        self._loop = asyncio.get_running_loop()
        self._lookup = lookup
        self._gone = ""
        self._give_up = give_up_seconds
        self._balances = Balances(self._load)
        # The ledger's `balance` and `durable` are asked for on every request; this way they cost no frame of ours.
        self.balance: Read = self._balances.__getitem__
        self._queues: dict[BudgetKey, Queue] = {}
        """Of every counter that somebody waits for, and of some that nobody waits for any more."""
        self._open: dict[RequestId, Ticket] = {}
        self._waiting: set[RequestId] = set()
        """Every request that stands in a queue, and some that have just left one: empty means that nobody waits."""
        self._seen = Seen(_KEPT_CLOSED)
        self._ids: set[str] = set()
        self._arrivals = 0
        self._mark = self._written = 0
        self._trouble = ""
        self._ending = False
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        self._recovered = recovered
        self._taken_over: list[tuple[Ticket, Found]] = []
        self._writer = Writer(groups, self._post)
        self._marks = Marks(give_up_seconds, self._writer.want)
        self.durable = self._marks.reached
        self._away = None if log is None else Away(log, self._look_at_the_log)
        self._write: Callable[[Entry], object] = self._writer.put if self._away is None else self._write_and_keep
        self._complete = False
        """Every counter there is is in memory."""
        self._timer = self._loop.call_later(min(1.0, give_up_seconds / 4), self._look_at_the_clock)

    @property
    def recovered(self) -> Recovered:
        """What this start found in flight."""
        return self._recovered

    @property
    def healthy(self) -> bool:
        return not self._trouble

    @property
    def trouble(self) -> str:
        """Why it is not healthy, for people; empty when it is."""
        return self._trouble

    @property
    def away(self) -> str:
        """Why entries go to this machine's disk instead of the database; empty while they do not."""
        return "" if self._away is None else self._away.why

    @property
    def owes(self) -> bool:
        """Whether something was acknowledged that is on this machine's disk only."""
        return self._away is not None and self._away.owes

    @property
    def owed(self) -> int:
        """How many entries were acknowledged that are on this machine's disk only."""
        return 0 if self._away is None else self._away.owed

    def told(self) -> Sequence[Episode]:
        """The times without the database that have ended since this was asked last."""
        if self._away is None:
            return ()
        over, self._away.over = self._away.over, []
        return over

    @property
    def mark(self) -> int:
        """The mark of the last entry."""
        return self._mark

    @property
    def unwritten(self) -> int:
        """How many entries are not known to be on disk."""
        return self._mark - self._marks.durable

    def open_requests(self) -> Sequence[RequestId]:
        return tuple(self._open)

    # Taking over

    def take_over(self, found: Sequence[Found]) -> None:
        """Go on with what another process let in and nobody closed; for whoever opens the ledger."""
        for each in found:
            ticket = Ticket(each.request, each.opening.plan, each.keys, each.held, 0)
            self._open[each.request] = ticket
            self._seen.lately.add(each.request)
            self._taken_over.append((ticket, each))

    @property
    def taken_over(self) -> Sequence[tuple[Ticket, Found]]:
        """What was open when this ledger was opened, if that was not settled at once."""
        return self._taken_over

    def outcome_of(self, request: RequestId) -> Outcome | None:
        """How a request was closed, as far as that is on disk. Raises LedgerUnavailableError."""
        try:
            self._reachable()
            return self._lookup.outcome(request)
        except StoreTroubleError as error:
            raise LedgerUnavailableError(f"request {request} cannot be looked up: {error}") from error

    # Counters

    async def refresh(self, keys: Sequence[BudgetKey]) -> None:
        """Nothing to do: the counters are here."""

    def _reachable(self) -> None:
        """The event loop does not wait for a database that is known to be away. Raises StoreTroubleError."""
        if self.away:
            raise StoreTroubleError(f"the database is away: {self.away}")

    def _load(self, key: BudgetKey) -> Balance:
        if self._away is not None and self._complete:
            # Nobody else makes counters as long as this process is the keeper.
            return EMPTY
        try:
            self._reachable()
            return self._lookup.balance(key)
        except StoreTroubleError as error:
            raise LedgerUnavailableError(f"counter {key.path()} cannot be read: {error}") from error

    def know(self, balances: Iterable[tuple[BudgetKey, Balance]], *, complete: bool) -> None:
        """Counters as they are on disk, so that they need not be read one by one; only before the first entry.

        `complete`: these are all.
        """
        self._balances.update(balances)
        self._complete = complete

    def _forget(self) -> None:
        """Let go of what was kept only in case it is asked for again; once a second."""
        self._seen.forget(self._open)
        if self._queues:
            self._queues = {key: queue for key, queue in self._queues.items() if queue.head() is not None}
        # Nothing that could not be read again now.
        if not self.away and self._balances.forget(self._mark, self._written, self._queues):
            self._complete = False

    # Appending

    def _write_and_keep(self, entry: Entry) -> None:
        """For the database, and for the log in case it goes away."""
        self._writer.put(entry)
        if self._away is not None:
            self._away.put(entry)

    def _hold(self, request: RequestId, plan: PlanHash, at: Instant, admit: Admit, opening: Metered | None) -> Ticket:
        keys, amount = admit.keys, admit.amount
        fold_call(self._balances, keys, NOTHING, amount)
        self._mark = mark = self._mark + 1
        self._write(Hold(request, at, plan, keys, amount, opening))
        ticket = self._open[request] = Ticket(request, plan, keys, amount, mark)
        self._seen.lately.add(request)
        return ticket

    def _shut(self, ticket: Ticket, entry: Settle | Release, spent: Amount) -> int:
        held = ticket.held
        fold_call(self._balances, ticket.keys, spent, Amount(-held.tokens, -held.nano))
        self._mark = mark = self._mark + 1
        self._write(entry)
        ticket.closed = True
        self._open.pop(ticket.request, None)
        if self._waiting:
            self._serve(ticket.keys)
        return mark

    async def decide(
        self,
        request: RequestId,
        plan: PlanHash,
        now: Callable[[], Instant],
        rule: Rule,
        patience_seconds: float,
        opening: Metered | None = None,
    ) -> Answer:
        seen = self._seen
        if request in seen.lately or request in seen.before or request in self._waiting:
            raise DuplicateRequestError(request)
        if self._trouble or self._ending:
            raise LedgerUnavailableError(self._trouble or "the ledger is closing")
        may_wait = patience_seconds > 0
        verdict = rule(self.balance, may_wait)
        if isinstance(verdict, Admit):
            blocker = self._blocker(verdict.keys, None) if may_wait and self._waiting else None
            if blocker is None:
                return verdict, self._hold(request, plan, now(), verdict, opening)
        elif isinstance(verdict, Deny):
            return verdict
        elif may_wait:
            blocker = self._queue_of(verdict.key)
        else:
            raise RuntimeError("a rule asked to wait where waiting is impossible")
        self._arrivals += 1
        answer = self._loop.create_future()
        waiter = Waiter(self._arrivals, request, plan, now, rule, opening, answer)
        return await self._wait(waiter, blocker, patience_seconds)

    async def extend(self, ticket: Ticket, rule: Extension, at: Instant) -> Amount:
        if ticket.closed:
            return NOTHING
        more = rule(self.balance)
        if more == NOTHING:
            return NOTHING
        fold_call(self._balances, ticket.keys, NOTHING, more)
        self._mark += 1
        self._write(Hold(ticket.request, at, ticket.plan, ticket.keys, more))
        ticket.held = ticket.held + more
        return more

    def settle(self, ticket: Ticket, at: Instant, amount: Amount, record: Metered) -> int:
        if ticket.closed:
            return self._mark
        if record.counted != amount.nano or record.counted_tokens != amount.tokens:
            record = msgspec.structs.replace(record, counted=amount.nano, counted_tokens=amount.tokens)
        return self._shut(ticket, Settle(ticket.request, at, ticket.keys, ticket.held, amount, record), amount)

    def release(self, ticket: Ticket, at: Instant, record: Metered) -> int:
        if ticket.closed:
            return self._mark
        if record.counted or record.counted_tokens:
            record = msgspec.structs.replace(record, counted=0, counted_tokens=0)
        return self._shut(ticket, Release(ticket.request, at, ticket.keys, ticket.held, record), NOTHING)

    def note(self, record: Metered, at: Instant) -> int:
        request = record.request
        if request in self._open:
            raise ValueError(f"request {request} holds; it has to be settled or released")
        if request in self._seen.lately or request in self._seen.before:
            return self._mark
        self._seen.lately.add(request)
        self._mark += 1
        self._write(Note(request, at, record))
        return self._mark

    def append(self, entry: Adjust | Grant | Alert | Decision) -> int | None:
        return None if self._happened(entry.id) else self._append(entry)

    def _append(self, entry: Adjust | Grant | Alert | Decision) -> int:
        keys = entry.keys if isinstance(entry, Adjust | Grant) else ()
        self._change(keys, effect_of(entry))
        self._mark = mark = self._mark + 1
        self._write(entry)
        self._ids.add(entry.id)
        self._serve(keys)
        return mark

    def _change(self, keys: Sequence[BudgetKey], effect: Effect) -> None:
        # All are found before any is changed.
        list(map(self.balance, keys))
        for key in keys:
            self._balances[key] = fold(self._balances[key], effect)

    def _happened(self, id_: str) -> bool:
        if id_ in self._ids:
            return True
        if self.away:
            # One that is in the database is left out there.
            return False
        try:
            known = self._lookup.known(id_)
        except StoreTroubleError as error:
            raise LedgerUnavailableError(f"entry {id_} cannot be looked up: {error}") from error
        if known:
            self._ids.add(id_)
        return known

    # Queues. Every head waits because its rule last said so; everyone behind waits because of the head.

    def _queue_of(self, key: BudgetKey) -> Queue:
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = Queue()
        return queue

    def _blocker(self, keys: Sequence[BudgetKey], me: Waiter | None) -> Queue | None:
        """The queue of one of `keys` in which somebody waits who came before `me` (None: who is only coming)."""
        for key in keys:
            queue = self._queues.get(key)
            if queue is not None:
                head = queue.head()
                if head is not None and (me is None or head.arrival < me.arrival):
                    return queue
        return None

    async def _wait(self, waiter: Waiter, queue: Queue, patience_seconds: float) -> Answer:
        queue.join(waiter)
        waiter.timer = self._loop.call_later(patience_seconds, self._last_chance, waiter)
        self._waiting.add(waiter.request)
        try:
            return await waiter.answer
        except asyncio.CancelledError:
            answer = waiter.answer
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                self._take_back(waiter, answer.result())
            raise
        finally:
            self._leave(waiter)

    def _leave(self, waiter: Waiter) -> None:
        """Out of the queue, for whatever reason; whoever stood behind may be next."""
        queue, waiter.queue = waiter.queue, None
        self._waiting.discard(waiter.request)
        if waiter.timer is not None:
            waiter.timer.cancel()
            waiter.timer = None
        if queue is not None:
            self._serve_queue(queue)

    def _take_back(self, waiter: Waiter, answer: Answer) -> None:
        """The call was let in but its task was cancelled before it could know."""
        if isinstance(answer, Deny) or answer[1].closed:
            return
        ticket, at = answer[1], waiter.now()
        lost = lost_record(waiter.request, at, waiter.plan, ticket.keys, NOTHING, None)
        record = msgspec.structs.replace(
            waiter.opening or lost, outcome=Outcome.CLIENT_LEFT, reason="left_queue", cost=0
        )
        self.release(ticket, at, record)

    def _serve(self, keys: Sequence[BudgetKey]) -> None:
        for key in keys:
            queue = self._queues.get(key)
            if queue is not None:
                self._serve_queue(queue)

    def _serve_queue(self, queue: Queue) -> None:
        while (waiter := queue.head()) is not None:
            if self._ask(waiter, queue):
                return

    def _ask(self, waiter: Waiter, queue: Queue) -> bool:
        """Run the rule of a queue's head again; True when it goes on waiting there."""
        try:
            verdict = waiter.rule(self.balance, True)
            if isinstance(verdict, Wait):
                other = self._queue_of(verdict.key)
            elif isinstance(verdict, Deny):
                self._answer(waiter, verdict)
                return False
            else:
                blocker = self._blocker(verdict.keys, waiter)
                if blocker is None:
                    ticket = self._hold(waiter.request, waiter.plan, waiter.now(), verdict, waiter.opening)
                    self._answer(waiter, (verdict, ticket))
                    return False
                other = blocker
        except Exception as error:  # noqa: BLE001 - a caller's rule failed; that is for the caller, not for who freed the room
            self._answer(waiter, error)
            return False
        if other is queue:
            return True
        other.join(waiter)
        return False

    def _answer(self, waiter: Waiter, answer: Answer | Exception) -> None:
        waiter.queue = None
        if waiter.answer.done():
            return
        if isinstance(answer, Exception):
            waiter.answer.set_exception(answer)
        else:
            waiter.answer.set_result(answer)

    def _last_chance(self, waiter: Waiter) -> None:
        waiter.timer = None
        queue = waiter.queue
        if queue is None or waiter.answer.done():
            return
        try:
            verdict = waiter.rule(self.balance, False)
            if isinstance(verdict, Wait):
                raise RuntimeError("a rule asked to wait where waiting is impossible")
            if isinstance(verdict, Deny):
                answer: Answer | Exception = verdict
            else:
                answer = verdict, self._hold(waiter.request, waiter.plan, waiter.now(), verdict, waiter.opening)
        except Exception as error:  # noqa: BLE001 - a caller's rule failed; the caller has to hear of it
            answer = error
        self._answer(waiter, answer)
        self._serve_queue(queue)

    # The disk

    def _post(self, news: News) -> None:
        # On the writer's thread. The loop may have been closed without close(); then nobody is left to hear it.
        try:
            self._loop.call_soon_threadsafe(self._hear, news)
        except RuntimeError:
            return

    def _hear(self, news: News) -> None:
        match news:
            case Written():
                before = self._written
                self._written += news.count
                self._trouble = self._gone
                for position, entry in news.refused:
                    self._take_out(before + 1 + position, entry)
                if self._away is not None:
                    self._away.written(news.count)
                self._marks.advance(max(self._written, self._marks.durable))
            case Trouble() if self._away is not None:
                self._away.begin(news.what)
                self._look_at_the_log()
            case Trouble():
                self._trouble = news.what
                self._marks.give_up(news.what)
            case Asked():
                for entry in () if self._ending else news.entries:
                    if entry.id not in self._ids:
                        self._append(entry)
            case Stopped():
                self._trouble = news.why or "the ledger is closed"
                self._marks.end(self._trouble)
                self._stopped.set_result(None)
            case _:
                assert_never(news)

    def _look_at_the_log(self) -> None:
        """What is in the log is durable, and while it can be written nothing has to be refused."""
        away = self._away
        assert away is not None
        self._marks.advance(max(away.logged, self._marks.durable))
        if away.trouble:
            self._trouble = f"{away.why or 'the database was away'}; {away.trouble}"
            self._marks.give_up(self._trouble)
        elif away.why:
            self._trouble = self._gone

    def _take_out(self, mark: int, entry: Entry) -> None:
        """An entry of a request that was closed long ago is not on disk, so it must not count in memory either."""
        if isinstance(entry, Hold | Settle | Release):
            self._marks.refuse(mark)
            self._change(entry.keys, undo(effect_of(entry)))
            self._serve(entry.keys)

    def _look_at_the_clock(self) -> None:
        # News of trouble make calls give up too; this covers a disk that hangs without failing.
        if self._away is not None:
            self._away.look()
        self._timer = self._loop.call_later(min(1.0, self._give_up / 4), self._look_at_the_clock)
        if self._marks.give_up(self._trouble or _SILENT):
            self._trouble = self._trouble or _SILENT
        self.look_at_the_file()
        self._forget()

    def look_at_the_file(self) -> None:
        """Become unhealthy, for good, if what is written would not be found again; a timer asks once a second."""
        if not self._gone:
            self._gone = self._lookup.gone()
        self._trouble = self._gone or self._trouble

    # The end

    async def flushed(self) -> None:
        """Wait until everything appended so far is on disk. Raises LedgerUnavailableError like durable."""
        await self.durable(self._mark)

    async def ended(self) -> str:
        """Wait until nothing more will be written, whatever happens, and say why: for one, that it was fenced."""
        await asyncio.shield(self._stopped)
        return self._trouble

    async def close(self) -> None:
        if self._end():
            return
        self._writer.close()
        try:
            await asyncio.wait((self._stopped,), timeout=self._give_up)
        finally:
            self._free()
        if self._marks.durable < self._mark:
            raise LedgerUnavailableError(f"the last entries could not be written: {self._trouble or _SILENT}")

    def abandon(self) -> None:
        """Let go of the store at once, as a crash would: what is not on disk yet is dropped."""
        if not self._end():
            self._free()

    def _end(self) -> bool:
        if self._ending:
            return True
        self._ending = True
        for queue in self._queues.values():
            while (waiter := queue.head()) is not None:
                self._answer(waiter, LedgerUnavailableError("the ledger is closing"))
        return False

    def _free(self) -> None:
        self._timer.cancel()
        self._writer.abandon()
        if self._away is not None:
            self._away.close()
        self._lookup.close()
