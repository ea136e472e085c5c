"""How does the keeper give out the places of capacity pools, over all gateways?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from upshift.keeper.messages import Entered, Seated, TurnedAway
from upshift.model.ids import RequestId
from upshift.model.pool import Place, Pool, PoolUse
from upshift.model.span import MICROS
from upshift.traffic.pool import In, Verdict
from upshift.traffic.pools import CapacityPools

if TYPE_CHECKING:
    from upshift.keeper.session import Session


class KeptPools:
    """The pools of an installation. Each session knows its own calls that have a place or wait for one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` in seconds never goes back."""
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._pools = CapacityPools()
        self._waiting: dict[RequestId, Session] = {}
        self._timer: asyncio.TimerHandle | None = None

    def know(self, pools: Sequence[Pool]) -> None:
        """A gateway's plan has these."""
        self._pools.know(pools, self._now())
        self._tell()

    def enter(self, session: Session, pool: Pool, place: Place) -> None:
        """Give a call a place, or a turn in the queue, or a refusal."""
        verdict = self._pools.enter(pool, place, self._now())
        if verdict is None:
            session.seats[place.request] = pool.id
            self._waiting[place.request] = session
        else:
            self._say(session, verdict, pool.id)
        self._tell()

    def leave(self, session: Session, request: RequestId, used: int | None) -> None:
        """A call has ended, or does not wait any more."""
        pool = session.seats.pop(request, None)
        if pool is not None:
            self._waiting.pop(request, None)
            self._pools.leave(pool, request, used, self._now())
            self._tell()

    def present(self, session: Session, message: Seated) -> None:
        """All that a gateway has: what it has not, it has left. What is not known was given by another keeper."""
        theirs = {each.place.request for each in message.held} | set(message.asked)
        for request in [request for request in session.seats if request not in theirs]:
            self.leave(session, request, None)
        for each in message.held:
            session.seats[each.place.request] = each.pool.id
            self._waiting.pop(each.place.request, None)
            self._pools.adopt(each.pool, each.place, self._now())
        self._tell()

    def end(self, session: Session) -> None:
        """A gateway will not come back: its places are free."""
        for request in tuple(session.seats):
            self.leave(session, request, None)

    def uses(self) -> list[PoolUse]:
        """How full they are."""
        return self._pools.uses()

    def _now(self) -> int:
        return int(self._clock() * MICROS)

    def _say(self, session: Session, verdict: Verdict, pool: str) -> None:
        if isinstance(verdict, In):
            session.seats[verdict.request] = pool
            session.say(Entered(verdict.request))
        else:
            session.seats.pop(verdict.request, None)
            session.say(TurnedAway(verdict.request, verdict.shortage))

    def _tell(self) -> None:
        for verdict in self._pools.news():
            session = self._waiting.pop(verdict.request, None)
            if session is not None:
                self._say(session, verdict, session.seats[verdict.request])
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._pools.due
        if due is not None:
            self._timer = self._loop.call_later(max(0, due - self._now()) / MICROS, self._look)

    def _look(self) -> None:
        self._timer = None
        self._pools.look(self._now())
        self._tell()
