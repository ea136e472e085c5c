"""How are the processes of this machine doing, as they say themselves?"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from upshift.model.live import Live

_FRESH_SECONDS = 1.0
PATIENCE_SECONDS = 2.0
_MOST_BYTES = 1 << 20

_decode = msgspec.json.Decoder(Live).decode


class Seen(msgspec.Struct, frozen=True):
    """What was heard, and from whom nothing: sockets that somebody listens on who does not answer."""

    processes: tuple[Live, ...]
    silent: tuple[tuple[str, int], ...]
    """Process and pid."""


class Processes:
    """Asks whoever listens in a folder, at most once a second however often it is asked itself."""

    def __init__(
        self,
        folder: Path | None,
        own: Callable[[], Live],
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`own` is how the process that asks is doing itself."""
        self._folder = folder
        self._own = own
        self._patience = patience_seconds
        self._clock = clock
        self._seen: Seen | None = None
        self._until = 0.0
        self._turn = asyncio.Lock()

    async def look(self) -> Seen:
        """What is known of all of them, in the order of their names."""
        async with self._turn:
            if self._seen is None or self._clock() >= self._until:
                self._seen = await self._ask()
                self._until = self._clock() + _FRESH_SECONDS
            return self._seen

    async def _ask(self) -> Seen:
        paths = [] if self._folder is None else sorted(path for path in self._folder.iterdir() if path.is_socket())
        answers = await asyncio.gather(*map(self._one, paths))
        heard = [answer for answer in answers if isinstance(answer, Live)]
        return Seen((self._own(), *heard), tuple(answer for answer in answers if isinstance(answer, tuple)))

    async def _one(self, path: Path) -> Live | tuple[str, int] | None:
        """None where nobody listens any more."""
        process, _, pid = path.name.partition("-")
        try:
            async with asyncio.timeout(self._patience):
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    return _decode(await _whole(reader))
                finally:
                    writer.close()
        except (TimeoutError, msgspec.DecodeError):
            return process, int(pid) if pid.isdigit() else 0
        except OSError:
            # It was killed: whoever ends in order takes its socket away.
            with contextlib.suppress(OSError):
                path.unlink()  # noqa: ASYNC240 - of a file in memory, once
            return None


async def _whole(reader: asyncio.StreamReader) -> bytes:
    said = bytearray()
    while (part := await reader.read(_MOST_BYTES)) and len(said) <= _MOST_BYTES:
        said += part
    return bytes(said)
