"""What is one counter in memory, and who waits for it in which order?"""

import asyncio
import heapq
from collections.abc import Callable
from typing import TypeAlias

from upshift.model.budget import Balance
from upshift.model.ids import PlanHash, RequestId
from upshift.model.metered import Metered
from upshift.model.span import Instant
from upshift.store.ledger import Admit, Deny, Rule, Ticket

Answer: TypeAlias = tuple[Admit, Ticket] | Deny


class Waiter:
    """A call in a queue. `counter` is the one it waits for now; None once it has left."""

    __slots__ = ("answer", "arrival", "counter", "now", "opening", "plan", "request", "rule", "timer")

    def __init__(
        self,
        arrival: int,
        request: RequestId,
        plan: PlanHash,
        now: Callable[[], Instant],
        rule: Rule,
        opening: Metered | None,
        answer: asyncio.Future[Answer],
    ) -> None:
        self.arrival = arrival
        self.request = request
        self.plan = plan
        self.now = now
        self.rule = rule
        self.opening = opening
        self.answer = answer
        self.counter: Counter | None = None
        self.timer: asyncio.TimerHandle | None = None

    def __lt__(self, other: "Waiter") -> bool:
        return self.arrival < other.arrival


class Counter:
    """A balance, the mark of its last change, and its queue by time of arrival.

    Those who leave from the middle stay in the heap until they come to its head, so that leaving costs nothing.
    """

    __slots__ = ("_queue", "balance", "mark")

    def __init__(self, balance: Balance) -> None:
        self.balance = balance
        self.mark = 0
        self._queue: list[Waiter] = []

    @property
    def busy(self) -> bool:
        """False only when nobody waits."""
        return bool(self._queue)

    def head(self) -> Waiter | None:
        """Who is next, or None."""
        queue = self._queue
        while queue:
            first = queue[0]
            # A cancelled call is out at once, though its task has not run yet.
            if first.counter is self and not first.answer.done():
                return first
            heapq.heappop(queue)
        return None

    def join(self, waiter: Waiter) -> None:
        waiter.counter = self
        heapq.heappush(self._queue, waiter)
