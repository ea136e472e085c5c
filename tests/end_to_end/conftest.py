"""One installation per test, in the test's own folder."""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.end_to_end.stack import Stack, running


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """An installation with the tests' plan and real time."""
    async with running(tmp_path) as found:
        yield found


@pytest.fixture
def stack_in_thread(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """An installation on a loop of its own, for clients that block: its base URL and a key."""
    ready: queue.Queue[tuple[str, str]] = queue.Queue()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def live() -> None:
        async with running(tmp_path) as found:
            secret = found.secret()
            await found.gateway.flow.regime.refresh()
            ready.put((found.base_url, secret))
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(live(),))
    thread.start()
    yield ready.get(timeout=120)
    loop.call_soon_threadsafe(over.set)
    thread.join(timeout=120)
    loop.close()
