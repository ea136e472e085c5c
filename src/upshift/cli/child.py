"""Does the admin process run? It is started, started again when it dies, and ended with the gateway."""

import asyncio
import contextlib
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process

import structlog

from upshift.settings import Settings, to_environment

log = structlog.get_logger()

_FIRST_PAUSE, _LAST_PAUSE = 0.5, 30.0
_STEADY_SECONDS = 60.0
_END_SECONDS = 8.0


class AdminChild:
    """The admin process of a gateway. The listening socket stays here, so that a restart refuses nobody."""

    def __init__(self, settings: Settings, sock: socket.socket) -> None:
        self._settings = settings
        self._sock = sock
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._watch = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End it: by the end of its input, then by force."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        process = self._process
        if process is not None and process.returncode is None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), _END_SECONDS)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        self._sock.close()

    async def _keep(self) -> None:
        pause, loop = _FIRST_PAUSE, asyncio.get_running_loop()
        while True:
            began = loop.time()
            process = self._process = await self._spawn()
            code = await process.wait()
            if loop.time() - began > _STEADY_SECONDS:
                pause = _FIRST_PAUSE
            log.warning("admin.ended", code=code, restart_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(_LAST_PAUSE, pause * 2)

    async def _spawn(self) -> Process:
        fd = self._sock.fileno()
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "upshift", "admin-process", "--fd", str(fd)),
            stdin=PIPE,
            pass_fds=(fd,),
            env={**os.environ, **to_environment(self._settings)},
            # A terminal's Ctrl-C is for the gateway, which ends this one when its calls are over.
            start_new_session=True,
        )
