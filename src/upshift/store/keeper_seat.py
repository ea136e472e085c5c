"""Which process keeps the ledger of a PostgreSQL database, and until when, by the database's clock?"""

import psycopg

from upshift.store.postgres import WRITER, Connection, troubles

_SECONDS = 3.0
_PATIENCE = "1s"
_NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_RUNS = f"(renewed + (seconds * 1000000)::bigint > {_NOW})"

_TAKE = (
    f"UPDATE keeper SET epoch = epoch + 1, address = %s, secret = %s, seconds = %s, renewed = {_NOW} "  # noqa: S608 - our own text
    f'WHERE "only" = 1 AND (NOT {_RUNS} OR secret = %s) RETURNING epoch'
)
_RENEW = f'UPDATE keeper SET renewed = {_NOW} WHERE "only" = 1 AND epoch = %s AND {_RUNS} RETURNING epoch'  # noqa: S608 - our own text
_ASKING = 7301944602
"""The advisory lock of whoever has to be the keeper, since it has something to tell that nobody else can."""
_ASKED = f"SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND (classid::bigint << 32) + objid::bigint = {_ASKING} AND granted)"  # noqa: S608, E501 - our own text
_GIVE_UP = 'UPDATE keeper SET renewed = 0, seconds = 0 WHERE "only" = 1 AND epoch = %s'
_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "  # noqa: S608 - our own text
    f"AND application_name = %s AND EXISTS (SELECT 1 FROM keeper WHERE NOT {_RUNS})"
)
_WHO = f'SELECT epoch, address, secret, seconds FROM keeper WHERE "only" = 1 AND {_RUNS}'  # noqa: S608 - our own text


class Seat:
    """The right to decide and write, for `seconds` after it was taken or renewed last.

    `epoch` tells it from all seats before. `address` and `secret` are for those who want to reach its holder.
    """

    __slots__ = ("_url", "address", "epoch", "seconds", "secret")

    def __init__(self, url: str, epoch: int, address: str, secret: str, seconds: float) -> None:
        self._url = url
        self.epoch = epoch
        self.address = address
        self.secret = secret
        self.seconds = seconds

    @property
    def url(self) -> str:
        """Of the database; may have a password in it."""
        return self._url

    def __repr__(self) -> str:
        return f"Seat(epoch={self.epoch}, address={self.address!r}, seconds={self.seconds})"


def take(url: str, address: str, secret: str, seconds: float, former: str | None = None) -> Seat | None:
    """Take the seat if nobody has it; None when somebody does. Raises StoreTroubleError.

    A seat with the secret `former` may be taken over before its time: the caller knows that its holder is dead.
    What the keeper before is in the middle of writing ends within a second, or is undone.
    """
    with troubles(), Connection.open(url, _SECONDS) as db:
        db.execute("SELECT set_config('lock_timeout', %s, false)", (_PATIENCE,))
        try:
            row = db.execute(_TAKE, (address, secret, seconds, former)).fetchone()
        except psycopg.errors.LockNotAvailable:
            # Its process sleeps or is cut off, or somebody else is just taking the seat.
            db.execute(_END, (WRITER,))
            row = db.execute(_TAKE, (address, secret, seconds, former)).fetchone()
    return None if row is None else Seat(url, row[0], address, secret, seconds)


def renew(seat: Seat) -> bool:
    """Keep the seat for another `seat.seconds` from now; False when it is lost. Raises StoreTroubleError.

    A seat whose time ran out is lost even if nobody took it: its holder may have missed somebody who came and went.
    """
    with troubles(), Connection.open(seat.url, _SECONDS) as db:
        return db.execute(_RENEW, (seat.epoch,)).fetchone() is not None


class Asking:
    """Somebody's wish to be the keeper, for as long as this connection lasts."""

    def __init__(self, url: str) -> None:
        """Raises StoreTroubleError."""
        with troubles():
            self._db = Connection.open(url, _SECONDS)
            self._db.execute("SELECT pg_advisory_lock_shared(%s)", (_ASKING,))

    def close(self) -> None:
        self._db.close()


def asked(url: str) -> bool:
    """Whether somebody has to be the keeper in place of whoever is. Raises StoreTroubleError."""
    with troubles(), Connection.open(url, _SECONDS) as db:
        row = db.execute(_ASKED).fetchone()
    return row is not None and bool(row[0])


def give_up(seat: Seat) -> None:
    """Let somebody else have it at once; nothing happens to a seat that is lost. Raises StoreTroubleError."""
    with troubles(), Connection.open(seat.url, _SECONDS) as db:
        db.execute(_GIVE_UP, (seat.epoch,))


def who(url: str) -> Seat | None:
    """Who has the seat now. Raises StoreTroubleError."""
    with troubles(), Connection.open(url, _SECONDS) as db:
        row = db.execute(_WHO).fetchone()
    return None if row is None else Seat(url, *row)
