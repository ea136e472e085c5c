"""Does a process of the installation run? It is started, started again when it dies, and ended with this one."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence

import structlog

log = structlog.get_logger()

_FIRST_PAUSE, _LAST_PAUSE = 0.1, 10.0
_STEADY_SECONDS = 30.0
_READY_SECONDS = 60.0


class Child:
    """One process that runs a hidden command. A pipe to its standard input ends with this process.

    Whatever it listens on stays open here, so that a restart refuses nobody.
    """

    def __init__(self, name: str, words: Sequence[str], fds: Sequence[int], environment: Mapping[str, str]) -> None:
        """`fds` are the file descriptors that it inherits."""
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
        """Until it says that it serves, if it is one that does. Raises RuntimeError when it ends, or takes too long."""
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
