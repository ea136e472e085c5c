"""Do all processes of an installation run: the keeper, the gateways, the admin process?

They share one listening socket, which stays here, so that whoever dies or is renewed refuses nobody.
"""

import asyncio
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from upshift.cli.child import Child
from upshift.settings import Settings, to_environment

log = structlog.get_logger()

SECRET = "UPSHIFT_KEEPER_SECRET"  # noqa: S105 - the name of a variable
_END_SECONDS = 15.0
"""For closing books, beyond the time that calls in flight are given."""


class Workers:
    """The keeper and the gateways of one machine."""

    def __init__(self, settings: Settings, sock: socket.socket, environment: Mapping[str, str]) -> None:
        """`sock` listens for calls; `environment` is what the processes are told besides the settings."""
        self._settings = settings
        self._environment = {**to_environment(settings), **environment, SECRET: secrets.token_hex(32)}
        self._folder = ""
        self._gateways: list[Child] = []
        self._keeper: Child
        self._sock = sock
        self._where: list[str] = []

    async def start(self) -> None:
        """Start all; returns when every gateway serves. Raises RuntimeError."""
        if isinstance(self._settings.db, Path):
            # Short, and nobody else's: the path of a Unix socket has at most a hundred characters.
            self._folder = tempfile.mkdtemp(prefix="upshift-")
            self._where = ["--keeper", f"unix:{self._folder}/keeper"]
        self._keeper = Child("keeper", ["keeper-process", *self._where], (), self._environment)
        await self._keeper.start()
        self._gateways = [await self._gateway() for _ in range(self._settings.workers)]
        for gateway in self._gateways:
            await gateway.ready()

    async def _gateway(self) -> Child:
        fd = self._sock.fileno()
        made = Child("gateway", ["gateway-process", "--fd", str(fd), *self._where], (fd,), self._environment)
        await made.start()
        return made

    async def renew(self) -> None:
        """Replace every gateway by a new process, one after the other, while the others serve."""
        for number, old in enumerate(self._gateways):
            new = await self._gateway()
            try:
                await new.ready()
            except RuntimeError as error:
                log.error("process.not_renewed", process="gateway", problem=str(error))
                await new.stop(0.0)
                return
            self._gateways[number] = new
            await old.stop(self._settings.grace_seconds + _END_SECONDS)
        log.info("gateways.renewed", count=len(self._gateways))

    async def stop(self) -> None:
        """End the gateways, then the keeper."""
        seconds = self._settings.grace_seconds + _END_SECONDS
        await asyncio.gather(*[gateway.stop(seconds) for gateway in self._gateways])
        await self._keeper.stop(_END_SECONDS)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


async def run_workers(
    settings: Settings, sock: socket.socket, ready: Callable[[], None], environment: Mapping[str, str]
) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP renews the gateways without failing a call.

    `ready` is called once all of them serve; `environment` is what they are told besides the settings. Raises
    RuntimeError when they do not start.
    """
    stop, renew = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    loop.add_signal_handler(signal.SIGHUP, renew.set)
    workers = Workers(settings, sock, environment)
    try:
        await workers.start()
        ready()
        while not stop.is_set():
            waiting = [asyncio.ensure_future(event.wait()) for event in (stop, renew)]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            if renew.is_set() and not stop.is_set():
                renew.clear()
                await workers.renew()
    finally:
        log.info("gateways.stopping")
        await workers.stop()
