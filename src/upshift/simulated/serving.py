"""How is the simulated provider put on a socket?"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from upshift.http.exchange import Headers
from upshift.http.server import Server, ServerLimits, serve
from upshift.simulated import openai_chat
from upshift.simulated.provider import Options, Simulated

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Running:
    """A simulated provider that listens; `simulated` has what it billed."""

    simulated: Simulated
    server: Server

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return self.server.port

    async def close(self, grace_seconds: float = 0.0) -> None:
        """Stops listening; calls still being answered are cut after the grace."""
        await self.server.shutdown(grace_seconds)


async def serve_simulated(
    host: str,
    port: int,
    options: Options,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Running:
    """Starts a simulated provider; port 0 picks a free one. Raises OSError when it cannot listen there."""
    simulated = Simulated(options, sleep)
    server = await serve(
        simulated.handle,
        host,
        port,
        limits=ServerLimits(),
        on_error=_report,
        on_bad_request=_bad_request,
    )
    return Running(simulated, server)


def _report(trouble: BaseException) -> None:
    _log.error("a simulated call failed", exc_info=trouble)


def _bad_request(status: int, reason: str, target: bytes | None, headers: Headers) -> tuple[Headers, bytes]:
    return [(b"content-type", b"application/json")], openai_chat.error(status, reason, "")
