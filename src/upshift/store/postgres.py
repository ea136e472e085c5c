"""How is a PostgreSQL database reached, and how does it fail in the store's words?"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow

from upshift.store.backend import StoreTroubleError
from upshift.store.draft import ConflictError

ANSWER_SECONDS = 10.0
"""So long one exchange with the server may take before the connection is given up."""
_CONNECT_SECONDS = 5
WRITER = "upshift ledger"
"""Under this name the server shows the connection of the ledger's writer."""
_SETTINGS = {
    "synchronous_commit": "on",
    "timezone": "UTC",
    # A transaction whose process sleeps or is cut off is undone by the server, so that its locks do not outlive it.
    "idle_in_transaction_session_timeout": "5s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}

RV = TypeVar("RV")


class Connection(psycopg.Connection[TupleRow]):
    """A connection on which no exchange takes for ever, not even with a server that hangs without closing it."""

    answer_seconds = ANSWER_SECONDS

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        patience, began = self.answer_seconds if timeout is None else timeout, time.monotonic()
        try:
            return super().wait(gen, interval, patience)
        except psycopg.OperationalError:
            # What the server may still say would be taken for the answer to something else.
            if time.monotonic() - began >= patience:
                self.pgconn.finish()
            raise

    @classmethod
    def open(cls, url: str, answer_seconds: float = ANSWER_SECONDS, name: str = "upshift") -> Self:
        """Connect with autocommit; transactions are explicit. The server shows `name`. Raises psycopg.Error."""
        patience = max(2, min(_CONNECT_SECONDS, round(answer_seconds)))
        connection = cls.connect(url, autocommit=True, connect_timeout=patience, application_name=name)
        connection.answer_seconds = answer_seconds
        # The server gives up a little earlier than we do, so that it says why.
        millis = str(int(answer_seconds * 900))
        chosen = {**_SETTINGS, "statement_timeout": millis, "lock_timeout": millis}
        connection.execute(
            "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS chosen (name, value)",
            (list(chosen), list(chosen.values())),
        )
        return connection


@contextmanager
def troubles() -> Iterator[None]:
    """Says in the store's words what the database complains of.

    Raises ConflictError for a rule of uniqueness, ValueError for what cannot be stored, else StoreTroubleError.
    """
    try:
        yield
    except psycopg.errors.UniqueViolation as error:
        raise ConflictError(_line(error)) from error
    except psycopg.DataError as error:
        raise ValueError(_line(error)) from error
    except psycopg.Error as error:
        raise StoreTroubleError(_line(error)) from error


def _line(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__
