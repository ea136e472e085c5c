"""What is in force now? The plan, keys and consents of the store, compiled, reloaded when they change."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from upshift.traffic.snapshot import InForce, Snapshot

log = structlog.get_logger()


class Source(Protocol):
    """Where the regime comes from. Both are called off the event loop."""

    def version(self) -> int:
        """A number that changes whenever plan, keys, consents or the inbox do; cheap."""

    def load(self, present: Snapshot) -> InForce:
        """What is in force. `present` stays where the plan is still the same, or cannot be read: keys and consents
        are then new all the same. Raises OSError."""


class Regime:
    """Holds one immutable InForce and swaps it whole. A load that fails leaves the old one in force."""

    def __init__(self, source: Source, first: InForce, version: int) -> None:
        self.in_force = first
        self._source = source
        self._version = version
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the event loop after each swap."""
        self._listeners.append(listener)

    async def refresh(self) -> bool:
        """Load anew if something changed; returns whether it did. A plan that does not load changes nothing."""
        version = self._source.version()
        if version == self._version:
            return False
        try:
            loaded = await asyncio.to_thread(self._source.load, self.in_force.snapshot)
        except OSError as error:
            # Tried again at the next look, since a revoked key may be among what could not be read.
            log.error("regime.not_loaded", problem=str(error), in_force=self.in_force.snapshot.hash)
            return False
        before = self.in_force.snapshot.hash
        self.in_force = loaded
        self._version = version
        for listener in self._listeners:
            listener()
        if loaded.snapshot.hash != before:
            log.info("plan.applied", before=before, now=loaded.snapshot.hash)
        return True

    async def watch(self, every_seconds: float) -> None:
        """Refresh for ever; run as a task."""
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - the edge of the task: its silent end would freeze the regime
                log.error("regime.unreadable", problem=repr(error))
