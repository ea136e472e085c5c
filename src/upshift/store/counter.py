"""Which counters are in memory, and who waits for one in which order?"""

import asyncio
import heapq
from collections.abc import Callable, Collection, Container
from typing import TypeAlias

from upshift.model.budget import NOTHING, Balance, BudgetKey
from upshift.model.ids import PlanHash, RequestId
from upshift.model.metered import Metered
from upshift.model.span import Instant
from upshift.store.ledger import Admit, Deny, Rule, Ticket

Answer: TypeAlias = tuple[Admit, Ticket] | Deny

KEPT_COUNTERS = 200_000
"""Counters in memory before those that rest are dropped (they are read from the disk when needed again)."""


class Balances(dict[BudgetKey, Balance]):
    """The balances in memory. One that is not there is read when it is asked for, which raises what `read` raises.

    A dict, so that looking at one costs no Python.
    """

    __slots__ = ("_kept", "_mark", "_read", "_resting", "_sweep_at")

    def __init__(self, read: Callable[[BudgetKey], Balance], kept: int = KEPT_COUNTERS) -> None:
        super().__init__()
        self._read = read
        self._kept = self._sweep_at = kept
        self._resting: dict[BudgetKey, Balance] = {}
        """What held nothing at `_mark`, to be forgotten if it still rests when everything up to there is on disk."""
        self._mark = 0

    def __missing__(self, key: BudgetKey) -> Balance:
        balance = self[key] = self._read(key)
        return balance

    def forget(self, mark: int, written: int, needed: Container[BudgetKey]) -> bool:
        """When there are too many: forget those that rest and are not `needed`. True when some were forgotten.

        `mark` is the last entry that counts here, and those up to `written` are on disk. In two steps, so that not
        every change has to be remembered: balances are replaced and never changed, so one that is the same object
        as before was not touched meanwhile.
        """
        if not self._resting:
            if len(self) > self._sweep_at:
                self._resting = {key: balance for key, balance in self.items() if balance.held == NOTHING}
                self._mark = mark
                self._sweep_at = max(self._kept, 2 * (len(self) - len(self._resting)))
            return False
        if written < self._mark:
            return False
        resting, self._resting = self._resting, {}
        before = len(self)
        for key, balance in resting.items():
            if self.get(key) is balance and key not in needed:
                del self[key]
        return len(self) < before


class Seen:
    """Requests that must not come again: all that are open, and `kept` of those that were closed last, or more."""

    __slots__ = ("_kept", "before", "lately")

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self.lately: set[RequestId] = set()
        """Everything that is open, and what was closed since something was forgotten last. Whoever opens adds here."""
        self.before: set[RequestId] = set()

    def forget(self, opened: Collection[RequestId]) -> None:
        """Forget those closed long ago, when there are enough others; `opened` are open."""
        if len(self.lately) - len(opened) >= self._kept:
            self.before, self.lately = self.lately, set(opened)


class Waiter:
    """A call in a queue: `queue` is the one it stands in now; None once it has left."""

    __slots__ = ("answer", "arrival", "now", "opening", "plan", "queue", "request", "rule", "timer")

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
        self.queue: Queue | None = None
        self.timer: asyncio.TimerHandle | None = None

    def __lt__(self, other: "Waiter") -> bool:
        return self.arrival < other.arrival


class Queue:
    """Who waits for one counter, by time of arrival.

    Those who leave from the middle stay in the heap until they come to its head, so that leaving costs nothing.
    """

    __slots__ = ("_queue",)

    def __init__(self) -> None:
        self._queue: list[Waiter] = []

    def head(self) -> Waiter | None:
        """Who is next, or None."""
        queue = self._queue
        while queue:
            first = queue[0]
            # A cancelled call is out at once, though its task has not run yet.
            if first.queue is self and not first.answer.done():
                return first
            heapq.heappop(queue)
        return None

    def join(self, waiter: Waiter) -> None:
        waiter.queue = self
        heapq.heappush(self._queue, waiter)
