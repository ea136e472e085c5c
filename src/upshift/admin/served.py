"""How does the admin process serve its API, do its other work, and end when it should?"""

import asyncio
import os
import socket
import stat
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

import uvicorn
from fastapi import FastAPI

_GRACE_SECONDS = 5


async def serve_api(api: FastAPI, sock: socket.socket, beside: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Serve on a listening socket until SIGTERM, SIGINT, or the end of standard input if that is a pipe.

    The process that starts this one holds the other end of the pipe, so that however it ends, this one ends too.
    What runs `beside` ends with it; if that fails, this does.
    """
    config = uvicorn.Config(
        api,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    tasks = [asyncio.create_task(each) for each in beside]
    tasks.append(asyncio.create_task(_input_ended()))
    await asyncio.wait({serving, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    failed = [task.exception() for task in tasks if task.done() and not task.cancelled()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for error in failed:
        if error is not None:
            raise error


class _Pipe(asyncio.Protocol):
    def __init__(self, ended: asyncio.Event) -> None:
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()


async def _input_ended() -> None:
    ended = asyncio.Event()
    kind = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        # A terminal's or file's end says nothing about whoever started this.
        await ended.wait()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: _Pipe(ended), sys.stdin)
    try:
        await ended.wait()
    finally:
        transport.close()
