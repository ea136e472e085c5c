"""What does a process of the installation say of itself at this moment?"""

import msgspec

from upshift.model.span import Instant


class UpstreamUse(msgspec.Struct, frozen=True):
    """One provider as one gateway sees it: its connections, and whether calls may go there."""

    provider: str
    open: int
    idle: int
    circuit: str


class BooksUse(msgspec.Struct, frozen=True):
    """The ledger as the process that writes to it sees it."""

    healthy: bool
    holds: int
    """Calls that hold something."""
    unwritten: int
    """Entries in memory that are not known to be on disk."""
    unwritten_seconds: float
    """How long the oldest of them has been, at least; measured twice a second."""
    away: bool = False
    """The database is away, and entries go to a log on the keeper's own disk."""
    away_since: Instant | None = None
    """Since when, to half a second."""
    owed: int = 0
    """Entries that were acknowledged from that log and that the database does not have yet; a gateway does not know."""
    told: Instant | None = None
    """When the database last had all that was owed, as far as this process was there."""


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """One process. `process` is gateway, keeper or admin; what does not apply to it is None or empty."""

    process: str
    pid: int
    started: Instant
    memory_bytes: int | None
    """Resident; None where the system does not say."""
    open_fds: int | None
    tasks: int
    lag_seconds: float
    """By how much the event loop was late, at the worst in the last 15 seconds."""
    plan: str = ""
    """Hash of the plan that it judges by."""
    in_flight: int | None = None
    """Requests that are being served."""
    connections: int | None = None
    """Of clients."""
    upstreams: tuple[UpstreamUse, ...] = ()
    books: BooksUse | None = None
