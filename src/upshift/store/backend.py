"""What must a database do for a ledger to be kept in it, and what may it complain of?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from upshift.model.budget import Balance, BudgetKey
from upshift.model.entry import Adjust, Entry, Grant
from upshift.model.ids import RequestId
from upshift.model.metered import Metered, Outcome
from upshift.store.draft import Tail
from upshift.store.rows import Held


class StoreTroubleError(Exception):
    """The database cannot be read or written now; nothing was lost, and it is worth trying again."""


class FencedError(Exception):
    """Somebody else keeps this ledger now; whoever is told so must not decide or write any more."""


class Groups(Protocol):
    """The one connection that appends. Used by one thread at a time: whoever opens the ledger, then its writer."""

    def write(self, entries: Sequence[Entry], *, durable: bool = True) -> None:
        """Append entries as one group; returns when they are on disk.

        Without `durable` they only have to outlive this process; the next durable group, or `sync`, takes them along.

        Raises ConflictError when one of them happened before, ValueError or OverflowError for what cannot be stored;
        then nothing was written. After StoreTroubleError the same entries may be tried again, once `reconnect` has
        succeeded: what turns out to have been written is not written again. Raises FencedError.
        """

    def sync(self) -> None:
        """All that was written is on disk. Raises StoreTroubleError."""

    def refused(self, entries: Sequence[Entry]) -> list[int]:
        """Positions of entries that happened before: a request opened or closed already, a known id.

        Raises StoreTroubleError.
        """

    def inbox(self) -> list[Adjust | Grant]:
        """What other processes asked for and no entry answers yet. Raises StoreTroubleError."""

    def reconnect(self) -> None:
        """Start over with a fresh connection. Raises StoreTroubleError."""

    def close(self) -> None: ...

    # What a start reads, before anything is written. All raise StoreTroubleError.

    def tail(self) -> Tail: ...

    def held_since(self, low: int) -> Iterator[Held]:
        """Holds and extensions from entry `low` on, in their order."""

    def closed_since(self, low: int) -> Iterator[tuple[int, str]]:
        """Entries from `low` on that closed a request, in their order, with the request."""

    def openings(self, held: Sequence[Held]) -> Sequence[tuple[tuple[BudgetKey, ...], Metered]]:
        """For each hold its counters, and what was known of its call when it was let in."""

    def resume(self, opened: Mapping[RequestId, int]) -> None:
        """These requests are still open, since those entries: in the order of the entries."""


class Lookup(Protocol):
    """What the event loop itself asks the database, seldom. Used by the loop's thread only."""

    def balance(self, key: BudgetKey) -> Balance:
        """As on disk; EMPTY for one that was never touched. Raises StoreTroubleError."""

    def known(self, id_: str) -> bool:
        """Whether an entry with this id was appended. Raises StoreTroubleError."""

    def outcome(self, request: RequestId) -> Outcome | None:
        """How a request was closed; None when it was not. Raises StoreTroubleError."""

    def gone(self) -> str:
        """Why what is written now would never be found again; empty when all is well. Asked once a second."""

    def close(self) -> None:
        """Let go of the store, so that others may open it."""
