"""Which route does a session stay on, so that the prompt cache it has filled keeps paying?"""

from collections.abc import Hashable

import msgspec

from upshift.model.ids import ModelName, ProviderId
from upshift.model.span import MICROS, Instant

MOST = 50_000
SECONDS = 3600.0
"""No vendor keeps a prompt cache for longer."""


class Kept(msgspec.Struct, frozen=True, gc=False):
    """The route of a session's last answer."""

    model: ModelName
    provider: ProviderId
    at: Instant


class Affinity:
    """The routes of the sessions seen last, at most `most`, each for `seconds` after its last answer.

    A session's name has to hold its tenant: one tenant's sessions say nothing of another's. Deterministic; its owner
    keeps it between calls.
    """

    def __init__(self, most: int = MOST, seconds: float = SECONDS) -> None:
        self._most = most
        self._lasts = int(seconds * MICROS)
        self._kept: dict[Hashable, Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, session: Hashable, now: Instant) -> Kept | None:
        """The route of a session, if it has one that may still pay."""
        kept = self._kept.get(session)
        if kept is None or now - kept.at <= self._lasts:
            return kept
        del self._kept[session]
        return None

    def keep(self, session: Hashable, model: ModelName, provider: ProviderId, now: Instant) -> None:
        """A session was answered on this route. The session that was answered longest ago goes for it, if it must."""
        self._kept.pop(session, None)
        if len(self._kept) >= self._most:
            del self._kept[next(iter(self._kept))]
        self._kept[session] = Kept(model, provider, now)
