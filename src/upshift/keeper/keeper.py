"""What does the one process that decides for all gateways know of them, and what becomes of those that fall silent?

A gateway that is not heard for `resume_seconds` is taken for dead: its open calls are settled at what they hold. A
keeper that starts waits as long before it decides anything, so that gateways can present what an earlier keeper let in.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from upshift.keeper.eager import at_once
from upshift.keeper.learnt import Learnt
from upshift.keeper.messages import Decide, Enter, Extend, Presented, ToGateway
from upshift.keeper.pools import KeptPools
from upshift.keeper.session import Open, Session
from upshift.model.budget import NOTHING, Amount
from upshift.model.entry import Decision
from upshift.model.ids import RequestId
from upshift.model.metered import Metered, Outcome
from upshift.model.span import Instant
from upshift.store.away import Episode
from upshift.store.ledger import Admit, DuplicateRequestError, Extension, Ledger, LedgerUnavailableError, Ticket
from upshift.store.recovery import Found
from upshift.traffic.gate import Fit

log = structlog.get_logger()

RESUME_SECONDS = 3.0
_KEPT_LOST = 100_000


class Books(Ledger, Protocol):
    """A ledger that the keeper can take over in the middle of things."""

    def durable(self, mark: int, /) -> asyncio.Future[None]:
        """As every ledger does. The future of an entry that is on disk is done."""

    @property
    def mark(self) -> int:
        """The mark of the last entry."""

    @property
    def trouble(self) -> str:
        """Why it is not healthy, for people; empty when it is."""

    @property
    def owes(self) -> bool:
        """Whether something was acknowledged that is not in the database yet."""

    def told(self) -> Sequence[Episode]:
        """The times without the database that have ended since this was asked last."""

    @property
    def taken_over(self) -> Sequence[tuple[Ticket, Found]]:
        """What was open when this ledger was opened."""

    def outcome_of(self, request: RequestId) -> Outcome | None:
        """How a request was closed, as far as that is on disk. Raises LedgerUnavailableError."""


class Keeper:
    """All gateways, and the ledger. Touches no socket; for one event loop.

    `now` is the time of entries, in microseconds. `clock` is in seconds, and goes on while the machine sleeps.
    """

    def __init__(
        self,
        ledger: Books,
        now: Callable[[], Instant],
        clock: Callable[[], float],
        resume_seconds: float = RESUME_SECONDS,
        expected: int | None = None,
    ) -> None:
        """`expected`: so many gateways there are; when all have come back, nobody else need be waited for."""
        self.ledger = ledger
        self.now = now
        self.resume_seconds = resume_seconds
        self.until = math.inf
        """By `clock`: after this moment somebody else may be the keeper, and nothing may be said any more."""
        self.found: dict[RequestId, Open] = {}
        """Open calls that were found on disk and that no gateway has presented yet."""
        for ticket, found in ledger.taken_over:
            fit = Fit(0, found.held, 0, 0)
            self.found[ticket.request] = Open(ticket, fit, found.opening, 0)
        self.adopted_late = NOTHING
        """Held for calls that came to light after others had been let in: by so much a ceiling may be passed."""
        self.pools = KeptPools(clock)
        self._clock = clock
        self._expected = expected
        self._began = self._looked = clock()
        self.recovering = resume_seconds > 0
        """Nothing is decided yet."""
        self._sessions: dict[bytes, Session] = {}
        self._parked: dict[tuple[bytes, RequestId], tuple[Session, Decide | Extend | Enter]] = {}
        self._away = ""
        self._lost: dict[RequestId, None] = {}
        """What was settled as lost by this process, the latest of it."""

    @property
    def trouble(self) -> str:
        """Why nothing is decided now; empty when it is."""
        return "calls in flight are being taken over" if self.recovering else self.ledger.trouble

    @property
    def gateways(self) -> int:
        """So many are connected."""
        return sum(session.connected for session in self._sessions.values())

    def may_speak(self) -> bool:
        """Whether this process is still the keeper, for all it can know."""
        return self._clock() < self.until

    # Gateways

    def meet(self, who: bytes, write: Callable[[Sequence[ToGateway]], None], drop: Callable[[], None]) -> Session:
        """A gateway has shown that it knows the secret; `drop` ends its connection."""
        session = self._sessions.get(who)
        if session is None:
            session = self._sessions[who] = Session(self, who, self._clock())
        session.begin(write, drop)
        self.heard(session)
        return session

    def heard(self, session: Session) -> None:
        """Something came from it just now."""
        session.heard_at = self._clock()

    def end(self, session: Session, why: str) -> None:
        """A gateway will not come back: what it has open is counted at what it holds."""
        if self._sessions.get(session.who) is session:
            del self._sessions[session.who]
        self.unpark(session)
        self.pools.end(session)
        session.end()
        calls, session.open = session.open, {}
        self._settle_lost(tuple(calls.values()), f"{session.who.hex()}/{self.now()}", f"a gateway {why}")

    def finish(self) -> None:
        """All gateways have ended, and with them what they had open: nobody will come back to present it."""
        for session in tuple(self._sessions.values()):
            self.end(session, "had died before its keeper ended")

    def tick(self) -> None:
        """To be called several times within `resume_seconds`."""
        now = self._clock()
        since, self._looked = now - self._looked, now
        if since > self.resume_seconds / 2:
            # It was this process that slept: what the gateways said meanwhile has not been read yet.
            for session in self._sessions.values():
                session.heard_at = now
        for session in tuple(self._sessions.values()):
            if now - session.heard_at > self.resume_seconds:
                self.end(session, "fell silent")
            else:
                session.watch_again()
        if self.recovering and now - self._began >= self.resume_seconds:
            self._recovered()
        self._tell_of_the_database()

    def _tell_of_the_database(self) -> None:
        """In the log while it is away, and in the ledger once it is back."""
        away = self.ledger.away
        if away != self._away:
            self._away = away
            if away:
                seconds = round(self.until - self._clock(), 1) if self.until < math.inf else None
                log.warning("keeper.database_away", why=away, serves_on_for_seconds=seconds)
            else:
                log.warning("keeper.database_back")
        for episode in self.ledger.told():
            at = self.now()
            detail: dict[str, str | int | bool | None] = {
                "millis": episode.millis,
                "entries": episode.entries,
                "why": episode.why,
            }
            self.ledger.append(Decision(f"store-away/{at}", at, "store-away", "", "", "system", detail))

    # Taking over

    def resumed(self) -> None:
        """A gateway has presented what it has open."""
        if self.recovering and self._expected is not None and not self.found:
            back = sum(session.resumed for session in self._sessions.values())
            if back >= self._expected:
                self._recovered()

    def _recovered(self) -> None:
        self.recovering = False
        calls, self.found = tuple(self.found.values()), {}
        self._settle_lost(calls, str(self.now()), "no gateway has presented them")
        parked, self._parked = tuple(self._parked.values()), {}
        for session, message in parked:
            try:
                session.hear((message,))
            except LedgerUnavailableError as error:
                # Its gateway says it again in its next connection.
                log.warning("keeper.disk", problem=str(error))
                session.part()

    def park(self, session: Session, message: Decide | Extend | Enter) -> None:
        """To be heard once nothing that holds can come to light any more."""
        request = message.place.request if isinstance(message, Enter) else message.request
        self._parked[session.who, request] = session, message

    def unpark(self, session: Session, request: RequestId | None = None) -> None:
        """Forget what a gateway has asked, or one of its requests."""
        self._parked = {
            name: parked
            for name, parked in self._parked.items()
            if parked[0] is not session or request not in (None, name[1])
        }

    def adopt(self, session: Session, presented: Presented, learnt: Learnt) -> Open | None:
        """Hold what an earlier keeper has let in and could not write, whatever the balance; None when it is closed."""
        request = presented.request
        if self.closed(request):
            return None
        fit = Fit(presented.step, presented.amount, presented.output, presented.room)
        admit = Admit(presented.step, learnt.keys, presented.amount)
        try:
            decided = at_once(
                self.ledger.decide(
                    request, presented.plan, self.now, lambda _read, _may_wait: admit, 0.0, presented.opening
                )
            )
        except DuplicateRequestError:
            return None
        assert isinstance(decided, tuple)
        if not self.recovering:
            self.adopted_late = self.adopted_late + presented.amount
            log.warning("keeper.adopted_late", request=request, tokens=presented.amount.tokens)
        adopted = session.open[request] = Open(decided[1], fit, presented.opening, presented.claims)
        return adopted

    def closed(self, request: RequestId) -> bool:
        """Whether a request is over, whoever closed it. Reads the disk; raises LedgerUnavailableError."""
        return request in self._lost or self.ledger.outcome_of(request) is not None

    def grow(self, ticket: Ticket, more: Amount) -> None:
        """Hold what an earlier keeper has granted and could not write."""
        if not self.recovering:
            self.adopted_late = self.adopted_late + more
        at_once(self.ledger.extend(ticket, lambda _read: more, self.now()))

    def extend(self, ticket: Ticket, rule: Extension, at: Instant) -> None:
        """Let a call hold more where there is room."""
        at_once(self.ledger.extend(ticket, rule, at))

    # What was lost

    def _settle_lost(self, calls: Sequence[Open], name: str, why: str) -> None:
        if not calls:
            return
        at, total = self.now(), NOTHING
        for open_ in calls:
            held = open_.ticket.held
            total = total + held
            self.ledger.settle(open_.ticket, at, held, open_.lost())
            self._lost[open_.ticket.request] = None
        while len(self._lost) > _KEPT_LOST:
            del self._lost[next(iter(self._lost))]
        log.warning("keeper.lost", calls=len(calls), tokens=total.tokens, nano_dollars=total.nano, why=why)
        detail: dict[str, str | int | bool | None] = {
            "calls": len(calls),
            "tokens": total.tokens,
            "nano": total.nano,
            "why": why,
        }
        self.ledger.append(Decision(f"recovery/{name}", at, "recovery", "", "", "system", detail))

    def late(self, request: RequestId, at: Instant, amount: Amount, record: Metered) -> int:
        """The closing of a call that is not open here; returns the mark.

        When it was counted as lost, what it really came to is told in a decision. Else it is closed by this very
        message, which was said before.
        """
        outcome = Outcome.LOST if request in self._lost else self.ledger.outcome_of(request)
        if outcome is None:
            return self.ledger.note(record, at)
        if outcome is not Outcome.LOST or record.outcome is Outcome.LOST:
            return 0
        log.warning("keeper.late_closing", request=request, tokens=amount.tokens, nano_dollars=amount.nano)
        detail: dict[str, str | int | bool | None] = {"tokens": amount.tokens, "nano": amount.nano}
        told = Decision(f"late-closing/{request}", at, "late-closing", record.tenant, request, "system", detail)
        # Told before: then that need not be on disk yet.
        return self.ledger.append(told) or self.ledger.mark
