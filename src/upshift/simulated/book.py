"""What did the simulated provider bill?"""

from collections import Counter

import msgspec

from upshift.model.span import Instant
from upshift.model.tokens import NO_USAGE, Usage


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """One call as billed, whatever its answer said of itself. Refused calls are not billed.

    `completed`: the whole answer was written while the client was there. `cancelled_at`: output tokens that had been
    generated when a stream ended early, None otherwise. `at` is when it was billed.
    """

    request_id: str
    at: Instant
    dialect: str
    model: str
    usage: Usage
    images: int
    streamed: bool
    completed: bool
    cancelled_at: int | None


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened since the start or since the bills were cleared."""

    requests: int
    answered: int
    cancelled: int
    refused: dict[str, int]
    """Refusals by status code."""
    open: int
    """Calls that are being answered now."""
    usage: Usage


class Book:
    """Keeps the latest bills, between half of `keep` and `keep`, and totals over all of them."""

    def __init__(self, keep: int) -> None:
        self.billed: list[Bill] = []
        self.open = 0
        self._keep = keep
        self._totals = NO_USAGE
        self._counts: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def ask(self) -> None:
        """Counts a request."""
        self._counts["requests"] += 1

    def refuse(self, status: int) -> None:
        """Counts a refusal."""
        self._refused[str(status)] += 1

    def bill(self, bill: Bill) -> None:
        """Enters a bill."""
        if len(self.billed) >= self._keep:
            del self.billed[: self._keep // 2 or 1]
        self.billed.append(bill)
        self._totals += bill.usage
        self._counts["answered" if bill.completed else "cancelled"] += 1

    def stats(self) -> Stats:
        """The totals."""
        return Stats(
            requests=self._counts["requests"],
            answered=self._counts["answered"],
            cancelled=self._counts["cancelled"],
            refused=dict(self._refused),
            open=self.open,
            usage=self._totals,
        )

    def clear(self) -> None:
        """Forgets bills and totals."""
        self.billed.clear()
        self._totals = NO_USAGE
        self._counts.clear()
        self._refused.clear()
