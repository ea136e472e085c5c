"""How does a call get its place in a capacity pool, when the keeper gives them out for all gateways?

What a gateway has is presented whole in each connection, so that neither a break nor another keeper loses a place or
keeps one for nobody.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from upshift.keeper.messages import (
    Enter,
    Entered,
    KnowPools,
    Leave,
    Look,
    Seat,
    Seated,
    ToGateway,
    ToKeeper,
    TurnedAway,
    Uses,
)
from upshift.model.ids import RequestId
from upshift.model.pool import Place, Pool, PoolUse, Shortage
from upshift.store.ledger import LedgerUnavailableError


class _Wanted:
    """A call that waits for a place."""

    __slots__ = ("answer", "place", "pool", "since")

    def __init__(self, pool: Pool, place: Place, since: float, answer: asyncio.Future[Shortage | None]) -> None:
        self.pool = pool
        self.place = place
        self.since = since
        self.answer = answer


class RemotePools:
    """The pools of a gateway whose keeper is another process. For one event loop."""

    def __init__(self, say: Callable[[ToKeeper], None], in_time: Callable[[], bool], give_up_seconds: float) -> None:
        """`say` is in vain while there is no keeper; `in_time` says whether its last answers may still be used."""
        self._say = say
        self._in_time = in_time
        self._give_up = give_up_seconds
        self._loop = asyncio.get_running_loop()
        self._known: dict[str, Pool] = {}
        self._held: dict[RequestId, Seat] = {}
        self._wanted: dict[RequestId, _Wanted] = {}
        self._looking: dict[int, tuple[asyncio.Future[Sequence[PoolUse]], float]] = {}
        self._count = 0

    def know(self, pools: Iterable[Pool]) -> None:
        """The pools of the plan that is in force."""
        before, self._known = self._known, {pool.id: pool for pool in pools}
        if before != self._known:
            self._say(KnowPools(list(self._known.values())))

    def enter(self, pool: Pool, place: Place) -> asyncio.Future[Shortage | None]:
        """See gateway.pools. Waits out a keeper's absence."""
        answer = self._loop.create_future()
        wanted = self._wanted[place.request] = _Wanted(pool, place, self._loop.time(), answer)
        self._ask(wanted)
        return answer

    def _ask(self, wanted: _Wanted) -> None:
        pool = wanted.pool
        self._say(Enter(pool.id, wanted.place, None if self._known.get(pool.id) is pool else pool))

    def leave(self, pool: Pool, request: RequestId, used: int | None) -> None:
        """See gateway.pools."""
        held, wanted = self._held.pop(request, None), self._wanted.pop(request, None)
        if held is not None or wanted is not None:
            self._say(Leave(request, used))

    async def uses(self) -> Sequence[PoolUse]:
        """See gateway.pools."""
        self._count = number = self._count + 1
        answer = self._loop.create_future()
        self._looking[number] = answer, self._loop.time()
        self._say(Look(number))
        try:
            found: Sequence[PoolUse] = await answer
            return found
        finally:
            self._looking.pop(number, None)

    # The connection

    def connected(self) -> None:
        """A keeper listens. To be called before it is told that this gateway has resumed."""
        if self._known:
            self._say(KnowPools(list(self._known.values())))
        if self._held or self._wanted or self._known:
            self._say(Seated(list(self._held.values()), list(self._wanted)))
        for number in self._looking:
            self._say(Look(number))

    def resumed(self) -> None:
        """The keeper knows all that this gateway has: ask again for what it wants besides."""
        for wanted in self._wanted.values():
            self._ask(wanted)

    def heard(self, message: Entered | TurnedAway | Uses) -> None:
        """One message of the keeper's."""
        match message:
            case Entered():
                self._entered(message)
            case TurnedAway():
                wanted = self._wanted.pop(message.request, None)
                if wanted is not None and not wanted.answer.done():
                    wanted.answer.set_result(message.shortage)
            case Uses():
                looking = self._looking.get(message.id)
                if looking is not None and not looking[0].done():
                    looking[0].set_result(message.uses)

    def _entered(self, message: Entered) -> None:
        wanted = self._wanted.get(message.request)
        if wanted is None:
            return
        if not self._in_time():
            # The keeper may have given this place to somebody else since: it has to say it once more.
            self._ask(wanted)
            return
        del self._wanted[message.request]
        # Until `leave` it is presented as one that has a place, even if nobody waited for it by now.
        self._held[message.request] = Seat(wanted.pool, wanted.place)
        if not wanted.answer.done():
            wanted.answer.set_result(None)

    def tick(self, why: str) -> None:
        """Give up on a keeper that has been silent for too long."""
        now = self._loop.time()
        for wanted in tuple(self._wanted.values()):
            wait = wanted.pool.wait_seconds
            if now - wanted.since > self._give_up + wait and not wanted.answer.done():
                wanted.answer.set_exception(LedgerUnavailableError(why))
        for answer, since in tuple(self._looking.values()):
            if now - since > self._give_up and not answer.done():
                answer.set_exception(LedgerUnavailableError(why))


HEARD: tuple[type[ToGateway], ...] = (Entered, TurnedAway, Uses)
"""The messages that are for a gateway's pools."""
