"""How do tests make a provider fail call by call, vanish, and come back?"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

from upshift.http.answering import SocketExchange
from upshift.http.exchange import Exchange
from upshift.http.limits import ServerLimits
from upshift.http.server import Server, serve
from upshift.simulated.book import Bill
from upshift.simulated.provider import Options, Simulated


class Scripted:
    """A simulated provider that plays its script, one fault per call, and afterwards does as it should.

    Whenever a fault makes it slow, it stands still until it is released.
    """

    def __init__(self, options: Options) -> None:
        self.simulated = Simulated(options, self._sleep)
        self.script: deque[str] = deque()
        self.always = ""
        """The fault of every call that the script does not speak of."""
        self.asked = 0
        self.bodies: list[bytes] = []
        """What it was sent."""
        self.port = 0
        self.answering = 0
        """Calls that are being answered now."""
        self._server: Server
        self._released = asyncio.Event()
        self._news = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def billed(self) -> list[Bill]:
        return self.simulated.billed

    async def open(self) -> None:
        """Listen; after a close, where it listened before."""
        errors: list[BaseException] = []
        self._server = await serve(
            self._handle,
            "127.0.0.1",
            self.port,
            limits=ServerLimits(),
            on_error=errors.append,
            on_bad_request=lambda status, reason, target, headers: ([], reason.encode()),
        )
        self.port = self._server.port

    async def close(self, grace_seconds: float = 0.0) -> None:
        """Refuse new connections, and cut those that are not answered within the grace."""
        self.release()
        await self._server.shutdown(grace_seconds)

    def release(self) -> None:
        """Let those go on that stand still; later ones stand still again."""
        self._released.set()
        self._released = asyncio.Event()

    async def settled(self) -> None:
        """Let go on whoever stands still until every call is answered, and billed."""
        async with asyncio.timeout(120):
            while self.answering:
                self.release()
                await asyncio.sleep(0)

    async def until_asked(self, calls: int) -> None:
        """Wait until so many calls have come in all."""
        async with asyncio.timeout(120), self._news:
            await self._news.wait_for(lambda: self.asked >= calls)

    async def _handle(self, exchange: Exchange) -> None:
        async with self._news:
            self.asked += 1
            self.bodies.append(exchange.body)
            self.answering += 1
            self._news.notify_all()
        fault = self.script.popleft() if self.script else self.always
        if fault:
            assert isinstance(exchange, SocketExchange)
            exchange.header = {**dict(reversed(exchange.headers)), b"x-simulate": fault.encode()}.get
        try:
            await self.simulated.handle(exchange)
        finally:
            async with self._news:
                self.answering -= 1
                self._news.notify_all()

    async def _sleep(self, seconds: float) -> None:
        if seconds:
            await self._released.wait()
        else:
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def scripted(*names: str) -> AsyncIterator[dict[str, Scripted]]:
    """Providers by name, each on a port of its own."""
    async with contextlib.AsyncExitStack() as stack:
        found = {}
        for seed, name in enumerate(names, 7):
            found[name] = provider = Scripted(Options(seed=seed))
            await provider.open()
            stack.push_async_callback(provider.close)
        yield found
