"""What the gateway may ask of a ledger: decide, extend, settle, release, and know what is on disk."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec

from upshift.model.budget import Amount, Balance, BudgetKey
from upshift.model.entry import Adjust, Alert, Decision, Grant
from upshift.model.ids import PlanHash, RequestId
from upshift.model.metered import Metered
from upshift.model.refusal import Reason
from upshift.model.span import Instant

Read: TypeAlias = Callable[[BudgetKey], Balance]
"""Gives a counter's balance inside the transaction; EMPTY for one that was never touched."""


class Admit(msgspec.Struct, frozen=True, gc=False):
    """The rule lets the call in: `amount` is to be held on every one of `keys`. `step` is its own note of which way."""

    step: int
    keys: tuple[BudgetKey, ...]
    amount: Amount


class Wait(msgspec.Struct, frozen=True, gc=False):
    """There is room on `key` but for holds of calls in flight; ask again when one of them ends."""

    key: BudgetKey


class Deny(msgspec.Struct, frozen=True, gc=False):
    reason: Reason


Rule: TypeAlias = Callable[[Read, bool], Admit | Wait | Deny]
"""A pure rule over balances. The second argument says whether waiting is (still) possible; if not, Wait is a bug."""

Extension: TypeAlias = Callable[[Read], Amount]
"""A pure rule that says how much more a call in flight may hold; Amount(0, 0) is nothing more."""


class Ticket(msgspec.Struct, eq=False, gc=False):
    """An open hold. `held` grows with extensions; `mark` is what to wait for until the first hold is on disk."""

    request: RequestId
    plan: PlanHash
    keys: tuple[BudgetKey, ...]
    held: Amount
    mark: int
    closed: bool = False


class LedgerUnavailableError(Exception):
    """Entries cannot be made durable (disk full, locked, gone). Nothing was lost; try again later."""


class DuplicateRequestError(Exception):
    """This request id already holds or has been closed."""


class Recovered(msgspec.Struct, frozen=True):
    """What a start found in flight: each counted at its hold and marked LOST."""

    requests: tuple[RequestId, ...]
    amount: Amount


class Ledger(Protocol):
    """Counters in one place, entries on disk. All methods are called on the event loop that owns the ledger.

    Marks: every appended entry has a number, counted from when the ledger was opened; `durable(mark)` returns when
    all entries up to it are on disk.
    """

    @property
    def healthy(self) -> bool:
        """False while entries cannot be written; nothing new should be admitted then."""

    @property
    def away(self) -> str:
        """Why entries go to a log on the keeper's own disk instead of the database; empty while they do not."""

    def balance(self, key: BudgetKey, /) -> Balance:
        """As last heard of. The ledger that keeps the counters itself always knows; see `refresh` for others."""

    async def refresh(self, keys: Sequence[BudgetKey]) -> None:
        """Make `balance` say of these counters what the ledger says now. Raises LedgerUnavailableError."""

    async def decide(
        self,
        request: RequestId,
        plan: PlanHash,
        now: Callable[[], Instant],
        rule: Rule,
        patience_seconds: float,
        opening: Metered | None = None,
    ) -> tuple[Admit, Ticket] | Deny:
        """Run `rule` atomically and hold what it admits; `opening` is what a record would say if the process died.

        On Wait the call queues, first come first served, behind calls waiting for the same counter, and the rule is
        run again whenever that counter changes; after `patience_seconds` it is run once more with waiting impossible.
        A newcomer that the rule would admit also queues when somebody already waits for one of its counters.
        Cancelling the awaiting task leaves the queue and holds nothing. With a patience of 0 the rule is run once,
        waiting impossible. A rule that is run again and again while it waits must not have effects.

        Request ids must never be reused. An id that is open or was closed lately raises DuplicateRequestError here;
        one that was closed long ago raises it from `durable`. Raises LedgerUnavailableError while not healthy.
        """

    async def extend(self, ticket: Ticket, rule: Extension, at: Instant) -> Amount:
        """Grow a hold by what the rule grants (never queues); returns the grant. A closed ticket gets nothing."""

    def settle(self, ticket: Ticket, at: Instant, amount: Amount, record: Metered) -> int:
        """Close a call with its cost; returns the mark. A ticket that is already closed is left alone (idempotent).

        The record is kept with `counted` and `counted_tokens` set to `amount`.
        """

    def release(self, ticket: Ticket, at: Instant, record: Metered) -> int:
        """Close a call without cost; returns the mark. Idempotent like settle."""

    def note(self, record: Metered, at: Instant) -> int:
        """Keep the record of a call that held nothing; returns the mark.

        A call that is closed already is left alone; one that holds raises ValueError.
        """

    def append(self, entry: Adjust | Grant | Alert | Decision) -> int | None:
        """Append once by `id`; returns the mark, or None when that id was appended before (also across restarts)."""

    def durable(self, mark: int, /) -> Awaitable[None]:
        """Wait until every entry up to `mark` is on disk. Raises LedgerUnavailableError when it cannot be in time."""

    async def close(self) -> None:
        """Write what is queued, then release the store. Calls that still wait in a queue get LedgerUnavailableError.

        Raises LedgerUnavailableError, with the store released, when what is queued cannot be written in time.
        """

    def open_requests(self) -> Sequence[RequestId]:
        """Requests that hold now (for diagnosis and tests)."""
