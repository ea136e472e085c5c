"""Who is signed in? Sessions live in this process; a restart signs everybody out."""

import hashlib
import hmac
import secrets
from collections.abc import Callable

import msgspec

IDLE_SECONDS = 2 * 3600.0
LONGEST_SECONDS = 12 * 3600.0
_MOST = 10_000


class Session(msgspec.Struct):
    """One browser that is signed in. The key that it was opened with is looked up again on every request."""

    key_digest: str
    csrf: str
    opened: float
    seen: float


class Sessions:
    """Sessions by the SHA-256 of their token, so that a dump of the memory opens none. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: dict[str, Session] = {}

    def open(self, key_digest: str) -> str:
        """A new session; returns its token, which is nowhere else. Whatever the browser had before is not used."""
        now = self._clock()
        if len(self._open) >= _MOST:
            self._sweep(now)
        token = secrets.token_urlsafe(32)
        self._open[_name(token)] = Session(key_digest, secrets.token_urlsafe(24), now, now)
        return token

    def find(self, token: str) -> Session | None:
        """The session of a token, unless it was idle or open for too long."""
        name, now = _name(token), self._clock()
        session = self._open.get(name)
        if session is None:
            return None
        if now - session.seen > IDLE_SECONDS or now - session.opened > LONGEST_SECONDS:
            del self._open[name]
            return None
        session.seen = now
        return session

    def close(self, token: str) -> None:
        """End a session; one that is not open is left alone."""
        self._open.pop(_name(token), None)

    def _sweep(self, now: float) -> None:
        self._open = {
            name: session
            for name, session in self._open.items()
            if now - session.seen <= IDLE_SECONDS and now - session.opened <= LONGEST_SECONDS
        }
        while len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]


def same(one: str, other: str) -> bool:
    """Whether two tokens are the same, in a time that does not tell how much of them is."""
    return hmac.compare_digest(one.encode(), other.encode())


def _name(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
