"""Who is signed in? Sessions live in this process; a restart signs everybody out."""

import hashlib
import hmac
import secrets
from collections.abc import Callable

import msgspec

from upshift.admin.desk import Actor

IDLE_SECONDS = 2 * 3600.0
LONGEST_SECONDS = 12 * 3600.0
_MOST = 10_000


class Person(msgspec.Struct, frozen=True):
    """Somebody for whom a provider of identities vouched. `user` is theirs in the plan, empty where they have none."""

    actor: Actor
    user: str = ""


class Session(msgspec.Struct):
    """One browser that is signed in: with a key, which is looked up again on every request, or as a person."""

    key_digest: str
    person: Person | None
    csrf: str
    opened: float
    seen: float


class Sessions:
    """Sessions by the SHA-256 of their token, so that a dump of the memory opens none. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: dict[str, Session] = {}

    def open(self, holder: str | Person) -> str:
        """A new session, of the digest of a key or of a person; returns its token, which is nowhere else.

        Whatever the browser had before is not used.
        """
        now = self._clock()
        if len(self._open) >= _MOST:
            self._sweep(now)
        token = secrets.token_urlsafe(32)
        digest, person = (holder, None) if isinstance(holder, str) else ("", holder)
        self._open[_name(token)] = Session(digest, person, secrets.token_urlsafe(24), now, now)
        return token

    def find(self, token: str, *, uses: bool = True) -> Session | None:
        """The session of a token, unless it was idle or open for too long. What does not use it keeps it idle."""
        name, now = _name(token), self._clock()
        session = self._open.get(name)
        if session is None:
            return None
        if now - session.seen > IDLE_SECONDS or now - session.opened > LONGEST_SECONDS:
            del self._open[name]
            return None
        if uses:
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
