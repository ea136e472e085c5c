"""Where do tests of the ledger on PostgreSQL keep it, and how do they look at it from outside?"""

import queue
import socket
import threading
from contextlib import suppress
from typing import Any

import psycopg
from tests.conformance.ledger import NOW
from tests.postgres import Server

from upshift.model.budget import Amount, Balance, BudgetKey
from upshift.model.ids import RequestId
from upshift.model.metered import Metered
from upshift.store import keeper_seat
from upshift.store.away_log import AwayLog, Sat
from upshift.store.keeper_seat import Seat
from upshift.store.postgres_ledger import PostgresLedger
from upshift.store.postgres_schema import names
from upshift.store.postgres_verify import verify_postgres
from upshift.store.rows import held_from, key_from, record_from
from upshift.store.schema import BUDGET_COLUMNS, RECORD_COLUMNS
from upshift.store.verify import Verification

LOOKUP_SECONDS = 20.0
"""For a counter that is not in memory; a machine that runs tests may be busy."""


class PostgresPlace:
    """A database of its own; checks when it is left that the ledger in it is sound."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = server.new_database()
        self.url = server.url(self.name)
        self._opened: list[PostgresLedger] = []

    def seat(self) -> Seat:
        """Taken from whoever has it."""
        before = keeper_seat.who(self.url)
        if before is not None:
            keeper_seat.give_up(before)
        seat = keeper_seat.take(self.url, "here", "secret", 600.0)
        assert seat is not None
        return seat

    async def open(self, url: str = "", give_up_seconds: float = 20.0, log: AwayLog | None = None) -> PostgresLedger:
        """With `log`, as whoever took the seat with it."""
        seat = self.seat()
        if log is not None:
            log.sit(Sat(seat.epoch, seat.secret))
        ledger = await PostgresLedger.open(
            url or self.url, seat, NOW, give_up_seconds, log=log, lookup_seconds=LOOKUP_SECONDS
        )
        self._opened.append(ledger)
        return ledger

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as db:
            return db.execute(sql).fetchall()

    def do(self, sql: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute(sql)

    def verify(self) -> Verification:
        return verify_postgres(self.url)

    def records(self) -> dict[RequestId, Metered]:
        found = map(record_from, self.rows(f"SELECT {names(RECORD_COLUMNS)} FROM records ORDER BY seq"))
        return {record.request: record for record in found}

    def counted(self) -> dict[RequestId, int]:
        return {request: record.counted_tokens for request, record in self.records().items()}

    def balances(self) -> dict[BudgetKey, Balance]:
        rows = self.rows(
            f"SELECT {names(BUDGET_COLUMNS[2:])}, settled_tokens, settled_nano, held_tokens, held_nano, "
            "granted_tokens, granted_nano FROM counters JOIN budgets ON id = budget"
        )
        return {key_from(row[:6]): Balance(Amount(*row[6:8]), Amount(*row[8:10]), Amount(*row[10:12])) for row in rows}

    def held(self) -> set[str]:
        return {held.request for (document,) in self.rows("SELECT document FROM holds") for held in held_from(document)}

    def leave(self) -> None:
        for ledger in self._opened:
            ledger.abandon()
        found = self.verify()
        self.server.drop(self.name)
        assert found.ok, found.problems


class Proxy:
    """Passes bytes on to a server; cuts a connection when a word comes by.

    With `obey` the server still hears the word, and does what it says; with `untold` it does not hear of the cut.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.word = b""
        self.obey = False
        self.untold = False
        self.unheard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        """What the server said to those that were cut."""
        self._left: list[socket.socket] = []
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Closing alone would not be noticed while a thread waits for it.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._left:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server))
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(1 << 20):
                if self.word and self.word in data:
                    self.word = b""
                    self.cuts += 1
                    client.shutdown(socket.SHUT_RDWR)
                    if self.untold:
                        self._left.append(server)
                        return
                    if self.obey:
                        server.sendall(data)
                        server.shutdown(socket.SHUT_WR)
                        # It ends when it has obeyed.
                        while server.recv(1 << 20):
                            pass
                    break
                server.sendall(data)
        except OSError:
            pass
        for each in (client, server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 20):
                try:
                    client.sendall(data)
                except OSError:
                    self.unheard.put(data)
