"""Who asks for a page, may they, and did the request come from a page of ours?"""

from collections.abc import Callable
from typing import Annotated
from urllib.parse import quote, urlsplit

import msgspec
from fastapi import Depends, Request
from starlette.datastructures import UploadFile

from upshift.admin.desk import ActError, Actor, Desk
from upshift.console.roles import May, may
from upshift.console.sessions import Session, Sessions, same
from upshift.model.key import Role

COOKIE = "upshift_session"
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"


class SignInNeededError(Exception):
    """Nobody is signed in; `next` is the page that was asked for."""

    def __init__(self, next_: str) -> None:
        super().__init__("sign in first")
        self.next = next_


class OwnBudgetOnlyError(Exception):
    """A user who has their own budget to look at, and nothing else."""


class Seat(msgspec.Struct, frozen=True):
    """Somebody at the console. `user` is theirs in the plan, empty for most; `workloads` empty is all of them."""

    actor: Actor
    csrf: str
    user: str = ""
    workloads: tuple[str, ...] = ()

    def may(self, act: May) -> bool:
        """Whether an act is offered."""
        return may(self.actor.role, act)


def desk_of(request: Request) -> Desk:
    """What can be done."""
    found = request.app.state.desk
    assert isinstance(found, Desk)
    return found


def sessions_of(request: Request) -> Sessions:
    """Who is signed in."""
    found = request.app.state.sessions
    assert isinstance(found, Sessions)
    return found


InDesk = Annotated[Desk, Depends(desk_of)]


def _session(request: Request, *, uses: bool = True) -> Session | None:
    token = request.cookies.get(COOKIE, "")
    return sessions_of(request).find(token, uses=uses) if token else None


def present(request: Request, desk: InDesk) -> Seat:
    """Who is signed in, users too. Raises SignInNeededError, also once their key is revoked or expired."""
    return _seat(request, desk, _session(request))


def signed_in(request: Request) -> bool:
    """Whether there is a session, without asking the database whether its key still opens anything."""
    return _session(request, uses=False) is not None


def still_present(request: Request, desk: Desk) -> bool:
    """Whether who asked is still signed in, for answers that go on. Looking on does not use a session: it ends."""
    try:
        _seat(request, desk, _session(request, uses=False))
    except SignInNeededError:
        return False
    return True


def _seat(request: Request, desk: Desk, session: Session | None) -> Seat:
    if session is not None and session.person is not None:
        return Seat(session.person.actor, session.csrf, session.person.user)
    if session is not None:
        try:
            key = desk.live_key(session.key_digest)
        except ActError:
            sessions_of(request).close(request.cookies.get(COOKIE, ""))
        else:
            actor = Actor(f"{key.name} ({key.id})", key.role, key.tenant, key.name)
            return Seat(actor, session.csrf, key.user, key.workloads)
    raise SignInNeededError(here(request))


Present = Annotated[Seat, Depends(present)]


def seated(seat: Present) -> Seat:
    """Who is signed in. Raises OwnBudgetOnlyError for whoever is there for that alone, ActError where it is nothing."""
    if seat.actor.role is Role.CALLER:
        raise OwnBudgetOnlyError
    if not seat.may(May.SEE):
        raise ActError(f"a key with the role {seat.actor.role} sees nothing here", 403)
    return seat


Seated = Annotated[Seat, Depends(seated)]


def allowed(act: May) -> Callable[[Seat], Seat]:
    """A dependency that lets in only those who may. Raises ActError 403."""

    def checked(seat: Seated) -> Seat:
        if not seat.may(act):
            raise ActError(f"the role {seat.actor.role} may not {act}", 403)
        return seat

    return checked


async def sent_here(request: Request, seat: Present) -> Seat:
    """For every request that changes something: it has to carry the session's own token. Raises ActError 403."""
    sent = request.headers.get(CSRF_HEADER, "")
    if not sent:
        field = (await request.form()).get(CSRF_FIELD, "")
        sent = "" if isinstance(field, UploadFile) else field
    if not from_here(request) or not same(sent, seat.csrf):
        raise ActError("the form is out of date or came from another site; load the page again", 403)
    return seat


async def genuine(_: Annotated[Seat, Depends(sent_here)], seat: Seated) -> Seat:
    """The same, for all who are more than users of their own budget."""
    return seat


def from_here(request: Request) -> bool:
    """Whether a browser sent it from a page of this host; clients that are no browsers do not say."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def encrypted(request: Request) -> bool:
    """Whether the browser speaks TLS, to us or to the proxy before us."""
    return f"{request.app.state.url or request.url}".startswith("https:")


def here(request: Request) -> str:
    """The page that was asked for, to come back to: only ever a path of the console.

    What is no page, like a part of one or a form that was sent, is come back to at the page that it was on.
    """
    if request.method != "GET" or request.headers.get("hx-request"):
        came = urlsplit(request.headers.get("hx-current-url") or request.headers.get("referer") or "")
        path, query = came.path or "/console/", came.query
    else:
        path, query = request.url.path, request.url.query
    return quote(path + (f"?{query}" if query else ""), safe="/?=&%-._~")


def inside(target: str) -> str:
    """A place to go to after signing in: never another site's."""
    parts = urlsplit(target)
    sound = not parts.scheme and not parts.netloc and parts.path.startswith("/console/") and "\\" not in target
    return target if sound and "//" not in parts.path and target.isprintable() else "/console/"
