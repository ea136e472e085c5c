"""Do all processes of an installation run: the keeper, the gateways, the admin process?

They share one listening socket, which stays here, so that whoever dies or is renewed refuses nobody.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from upshift.settings import Settings, to_environment

log = structlog.get_logger()

SECRET = "UPSHIFT_KEEPER_SECRET"  # noqa: S105 - the name of a variable
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 10.0
_STEADY_SECONDS = 30.0
_READY_SECONDS = 60.0
_END_SECONDS = 15.0
"""For closing books, beyond the time that calls in flight are given."""


class Worker:
    """One process that is started again when it dies. A pipe to its standard input ends with this process."""

    def __init__(self, name: str, words: Sequence[str], fds: Sequence[int], environment: Mapping[str, str]) -> None:
        self.name = name
        self._words = words
        self._fds = tuple(fds)
        self._environment = environment
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and keep it running from now on."""
        self._process = await self._spawn()
        self._watch = asyncio.create_task(self._keep())

    async def ready(self) -> None:
        """Until it says that it serves. Raises RuntimeError when it ends instead, or takes too long."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_READY_SECONDS):
                said = await process.stdout.readline()
        except TimeoutError:
            said = b""
        if not said:
            raise RuntimeError(f"the {self.name} process did not start; what it said is above")

    async def stop(self, seconds: float) -> None:
        """End it: in good order within so long, then by force."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), seconds)
        except TimeoutError:
            log.warning("process.cut", process=self.name)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _keep(self) -> None:
        pause, loop = _FIRST_PAUSE, asyncio.get_running_loop()
        while True:
            began = loop.time()
            assert self._process is not None
            code = await self._process.wait()
            if loop.time() - began > _STEADY_SECONDS:
                pause = _FIRST_PAUSE
            log.warning("process.ended", process=self.name, code=code, restart_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(_LAST_PAUSE, pause * 2)
            self._process = await self._spawn()

    async def _spawn(self) -> Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "upshift", *self._words),
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=self._fds,
            env={**os.environ, **self._environment},
            # A terminal's Ctrl-C is for this process, which ends the others in order.
            start_new_session=True,
        )


class Workers:
    """The keeper and the gateways of one machine."""

    def __init__(self, settings: Settings, sock: socket.socket) -> None:
        """`sock` listens for calls."""
        self._settings = settings
        self._environment = {**to_environment(settings), SECRET: secrets.token_hex(32)}
        self._folder = ""
        self._gateways: list[Worker] = []
        self._keeper: Worker
        self._sock = sock
        self._where: list[str] = []

    async def start(self) -> None:
        """Start all; returns when every gateway serves. Raises RuntimeError."""
        if isinstance(self._settings.db, Path):
            # Short, and nobody else's: the path of a Unix socket has at most a hundred characters.
            self._folder = tempfile.mkdtemp(prefix="upshift-")
            self._where = ["--keeper", f"unix:{self._folder}/keeper"]
        self._keeper = Worker("keeper", ["keeper-process", *self._where], (), self._environment)
        await self._keeper.start()
        self._gateways = [await self._gateway() for _ in range(self._settings.workers)]
        for gateway in self._gateways:
            await gateway.ready()

    async def _gateway(self) -> Worker:
        fd = self._sock.fileno()
        made = Worker("gateway", ["gateway-process", "--fd", str(fd), *self._where], (fd,), self._environment)
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


async def run_workers(settings: Settings, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP renews the gateways without failing a call.

    `ready` is called once all of them serve. Raises RuntimeError when they do not start.
    """
    stop, renew = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    loop.add_signal_handler(signal.SIGHUP, renew.set)
    workers = Workers(settings, sock)
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
