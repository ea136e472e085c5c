"""Where do the simulator's tests get a running provider, and who waits for it?"""

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from upshift.simulated.provider import Options
from upshift.simulated.serving import Running, serve_simulated


@dataclass
class Waits:
    """Counts the seconds that would have been waited; lets other tasks run instead."""

    seconds: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)

    @property
    def total(self) -> float:
        return sum(self.seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
async def start(waits: Waits) -> AsyncIterator[Callable[..., Awaitable[Running]]]:
    started: list[Running] = []

    async def starter(**options: Any) -> Running:
        started.append(await serve_simulated("127.0.0.1", 0, Options(**options), waits.sleep))
        return started[-1]

    yield starter
    for running in started:
        await running.close()


@pytest.fixture
async def running(start: Callable[..., Awaitable[Running]]) -> Running:
    return await start()


@dataclass(frozen=True)
class Heard:
    """What came back over plain HTTP; `cut` when the connection was lost before the end of it."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        lines = [line[6:] for line in self.body.decode().splitlines() if line.startswith("data: {")]
        return [json.loads(line) for line in lines]


Talk = Callable[..., Awaitable[Heard]]


def _talk(port: int, method: str, path: str, body: bytes, headers: dict[str, str]) -> Heard:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        try:
            answer = connection.getresponse()
        except ConnectionError:
            return Heard(0, {}, b"", True)
        names = {name.lower(): value for name, value in answer.getheaders()}
        heard, cut = b"", False
        try:
            while piece := answer.read1():
                heard += piece
        except (ConnectionError, http.client.HTTPException):
            cut = True
        return Heard(answer.status, names, heard, cut)
    finally:
        connection.close()


@pytest.fixture
def talk() -> Talk:
    """Asks a provider over plain HTTP: talk(running, path, body, method=, **headers)."""

    async def talk(running: Running, path: str, body: Any = None, method: str = "POST", **headers: str) -> Heard:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await asyncio.to_thread(_talk, running.port, method, path, sent, named)

    return talk
