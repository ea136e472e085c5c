"""A keeper over a real file and a real socket, with gateways that come and go."""

import asyncio
from pathlib import Path

from tests.conformance.ledger import NOW, at

from upshift.keeper.address import Address
from upshift.keeper.clock import elapsed
from upshift.keeper.keeper import Keeper
from upshift.keeper.line import reach
from upshift.keeper.remote import RemoteLedger
from upshift.keeper.server import KeeperServer, serve_keeper
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.store.verify import verify

SECRET = "the secret of the tests"
LIMIT = 60.0
"""Seconds that nothing here should ever take."""


class Installation:
    """A keeper with its file and its socket, and any number of gateways."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.db"
        self.ledger: SqliteLedger
        self.keeper: Keeper
        self.server: KeeperServer | None = None
        self.address = Address("tcp:127.0.0.1:0", SECRET)
        self.gateways: list[RemoteLedger] = []
        self.clock = elapsed

    async def start(self, resume_seconds: float = 60.0, expected: int | None = 0) -> None:
        """Let the keeper begin, at the address that it had. It forgets a gateway later than any machine is slow."""
        self.ledger = await SqliteLedger.open(self.path, NOW, keep_open=True)
        self.keeper = Keeper(self.ledger, at, self.clock, resume_seconds, expected)
        self.server = await serve_keeper(self.keeper, self.address)
        self.address = self.server.address

    async def find(self) -> Address | None:
        return self.address

    async def gateway(self, give_up_seconds: float = 20.0) -> RemoteLedger:
        """One more gateway, which has found the keeper."""
        made = await reach(self.find, give_up_seconds)
        self.gateways.append(made)
        await healthy(made)
        return made

    def crash(self) -> None:
        """The keeper is gone, with all that is not on disk."""
        assert self.server is not None
        self.server.close()
        self.server = None
        self.ledger.abandon()

    async def stop(self) -> None:
        """The keeper ends in good order."""
        if self.server is not None:
            self.server.close()
            self.server = None
            await self.ledger.close()

    def leave(self) -> None:
        """Let go of everything; the file has to be sound."""
        for gateway in self.gateways:
            if gateway.hang_up is not None:
                gateway.hang_up()
        if self.server is not None:
            self.crash()
        found = verify(self.path)
        assert found.ok, found.problems


async def healthy(ledger: RemoteLedger) -> None:
    """Wait until a gateway has found its keeper."""
    async with asyncio.timeout(LIMIT):
        while not ledger.healthy:  # noqa: ASYNC110 - asked for again and again, as a health check does
            await asyncio.sleep(0.001)
