"""Do both sides work over TLS, and is an origin that cannot prove its name refused?"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.http.sockets import PATIENT, soon, until, words

from upshift.http.client import Response, Trouble, Upstream
from upshift.http.exchange import Exchange
from upshift.http.limits import ServerLimits
from upshift.http.server import Server, serve

PAIR = Path(__file__).with_name("localhost.pem")
"""A key that guards nothing, and its certificate for `localhost`."""


async def count(exchange: Exchange) -> None:
    if exchange.path == b"/stream":
        exchange.start(200, [])
        for _ in range(200):
            exchange.write(b"x" * 10_000)
            await exchange.drain()
        exchange.end()
    else:
        exchange.respond(200, [], b"%d" % len(exchange.body))


@asynccontextmanager
async def secured() -> AsyncIterator[tuple[Server, list[BaseException]]]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PAIR)
    errors: list[BaseException] = []
    server = await serve(
        count,
        "127.0.0.1",
        0,
        limits=ServerLimits(max_body_bytes=2_000_000),
        on_error=errors.append,
        on_bad_request=words,
        ssl=context,
    )
    try:
        yield server, errors
    finally:
        await server.shutdown(0.0)


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(PAIR))


async def test_calls_and_streams_over_tls() -> None:
    async with secured() as (server, errors):
        upstream = Upstream(f"https://localhost:{server.port}", timeouts=PATIENT, ssl_context=trusting())
        for target, body, size in ((b"/", b"y" * 1_000_000, 7), (b"/stream", b"", 2_000_000), (b"/", b"", 1)):
            response = await soon(upstream.send(b"POST", target, [], body))
            assert isinstance(response, Response), response
            whole = await soon(response.read(10_000_000))
            assert isinstance(whole, bytes)
            assert len(whole) == size
        assert (server.open_connections, upstream.idle_connections) == (1, 1)
        refused = await soon(upstream.send(b"POST", b"/", [], b"y" * 2_000_001))
        assert isinstance(refused, Response | Trouble)
        await soon(upstream.close())
        await until(lambda: server.open_connections == 0)
        assert not errors


@pytest.mark.parametrize("fault", ["untrusted", "misnamed"])
async def test_an_origin_that_cannot_prove_its_name(fault: str) -> None:
    async with secured() as (server, _):
        host = "localhost" if fault == "untrusted" else "127.0.0.1"
        context = None if fault == "untrusted" else trusting()
        upstream = Upstream(f"https://{host}:{server.port}", timeouts=PATIENT, ssl_context=context)
        found = await soon(upstream.send(b"POST", b"/", [], b""))
        assert isinstance(found, Trouble)
        assert (found.kind, found.request_sent) == ("tls", False)
        await upstream.close()


async def test_plain_text_to_a_tls_server_is_cut() -> None:
    async with secured() as (server, _):
        reader, writer = await soon(asyncio.open_connection("127.0.0.1", server.port))
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"HTTP" not in await soon(reader.read())
        writer.close()
