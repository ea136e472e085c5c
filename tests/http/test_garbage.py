"""Does a connection that has ended give its memory back at once, without the garbage collector?

A gateway runs that seldom, and hardly ever over what has lived for long.
"""

import gc
from collections.abc import Iterator

import pytest
from tests.http.sockets import echo, origin, says, served, soon, until

from upshift.http.connection import Connection
from upshift.http.link import Link

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What was garbage before is gone, and rings that become garbage stay."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def none_left(kind: type[Connection | Link]) -> bool:
    return not any(isinstance(each, kind) for each in gc.get_objects())


@pytest.mark.parametrize("sent", [b"", GET, GET[:9], GET + GET[:9], b"GET / HTTP/9\r\n\r\n"])
async def test_of_a_client(sent: bytes, uncollected: None) -> None:
    async with served(echo) as place:
        caller = await place.call()
        caller.send(sent)
        if sent.startswith(GET):
            await caller.answer()
        caller.writer.close()
        await until(lambda: none_left(Connection))


@pytest.mark.parametrize("answer", [HELLO, STREAM, HELLO[:-1], b"x\r\n\r\n", b""])
async def test_to_an_origin(answer: bytes, uncollected: None) -> None:
    async with origin(says(answer)) as (upstream, _):
        await soon(upstream.send(b"POST", b"/", [], b"{}"))
        await upstream.close()
    del upstream
    await until(lambda: none_left(Link))
