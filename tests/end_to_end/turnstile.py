"""How do tests keep calls in flight for as long as they like? A provider whose every wait ends when the test says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from upshift.simulated.provider import Options
from upshift.simulated.serving import Running, serve_simulated


class Turnstile:
    """Stops every call that asks to be slow: `delay=1` before its answer, `slow_chunk=1` before each piece of it."""

    def __init__(self) -> None:
        self.provider: Running
        self._news = asyncio.Condition()
        self._waiting = 0
        self._through = 0
        self._open = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.provider.port}"

    @property
    def waiting(self) -> int:
        """How many calls have come to stand still since the last step."""
        return self._waiting

    async def sleep(self, seconds: float) -> None:
        """Where the provider waits."""
        if not seconds:
            await asyncio.sleep(0)
            return
        async with self._news:
            turn = self._through
            self._waiting += 1
            self._news.notify_all()
            await self._news.wait_for(lambda: self._open or self._through > turn)

    async def until(self, waiting: int) -> None:
        """Wait until so many calls stand still."""
        await self._when(lambda: self._waiting >= waiting)

    async def step(self) -> None:
        """Let those pass who stand here, up to their next wait."""
        async with self._news:
            self._through += 1
            self._waiting = 0
            self._news.notify_all()

    async def open(self) -> None:
        """Let everybody pass from now on."""
        async with self._news:
            self._open = True
            self._news.notify_all()

    async def _when(self, ready: Callable[[], bool]) -> None:
        async with asyncio.timeout(120), self._news:
            await self._news.wait_for(ready)


@contextlib.asynccontextmanager
async def turnstile() -> AsyncIterator[Turnstile]:
    """A provider behind a turnstile, on a free port; apply a plan that names its `url`."""
    found = Turnstile()
    found.provider = await serve_simulated("127.0.0.1", 0, Options(seed=7), found.sleep)
    try:
        yield found
    finally:
        await found.open()
        await found.provider.close()
