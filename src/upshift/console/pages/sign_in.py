"""How does a person sign in to the console, with a key or a provider of identities, and out?"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from upshift.admin.desk import ActError, Desk
from upshift.admin.door import SignIns
from upshift.console.door import COOKIE, InDesk, Seat, encrypted, from_here, inside, sent_here, sessions_of
from upshift.console.frame import Frame, InFrame
from upshift.console.oidc import FLOW_SECONDS, Provider
from upshift.console.sessions import LONGEST_SECONDS, Person, Sessions
from upshift.model.key import Role
from upshift.traffic.identify import digest

router = APIRouter()

FLOW_COOKIE = "upshift_oidc"
_FLOW_PATH = "/console/sign-in/oidc"


@router.get("/sign-in")
def form(request: Request, frame: InFrame, next: str = "/console/") -> Response:
    """The form."""
    return _form(request, frame, next)


@router.post("/sign-in")
async def sign_in(
    request: Request,
    desk: InDesk,
    frame: InFrame,
    key: Annotated[str, Form(max_length=500)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/console/",
) -> Response:
    """Open a session for whoever holds a key."""
    _open(request)
    if not from_here(request):
        raise ActError("the form came from another site", 403)
    held = digest(key.strip())
    try:
        await run_in_threadpool(_checked, desk, held)
    except ActError as error:
        _failed(request, error)
        return _form(request, frame, next, str(error), error.status)
    answer = RedirectResponse(inside(next), 303)
    _begin(request, answer, held)
    return answer


@router.get("/sign-in/oidc")
async def begin(request: Request, frame: InFrame, next: str = "/console/") -> Response:
    """Send the browser to the provider of identities."""
    provider = _provider(request)
    _open(request)
    base = request.app.state.url or str(request.base_url).removesuffix("/").removesuffix("/console")
    try:
        url, flow = await provider.begin(f"{base}{_FLOW_PATH}/callback", inside(next))
    except ActError as error:
        return _form(request, frame, next, str(error), error.status)
    answer = RedirectResponse(url, 303)
    # Lax, since it has to come back with a browser that another site sent here.
    answer.set_cookie(
        FLOW_COOKIE, flow, max_age=int(FLOW_SECONDS), path=_FLOW_PATH, httponly=True, samesite="lax",
        secure=encrypted(request),
    )  # fmt: skip
    return answer


@router.get("/sign-in/oidc/callback")
async def finish(request: Request, frame: InFrame) -> Response:
    """Open a session for whom the provider vouches."""
    provider = _provider(request)
    _open(request)
    try:
        person, next_ = await provider.finish(request.cookies.get(FLOW_COOKIE, ""), request.query_params)
    except ActError as error:
        _failed(request, error)
        answer = _form(request, frame, "/console/", str(error), error.status)
    else:
        # Not a redirect: a browser keeps strict cookies back while it still follows another site's.
        answer = frame.page(request, None, "signed_in.html", {"next": inside(next_)})
        _begin(request, answer, person)
    answer.delete_cookie(FLOW_COOKIE, path=_FLOW_PATH)
    return answer


@router.post("/sign-out")
def sign_out(
    request: Request, sessions: Annotated[Sessions, Depends(sessions_of)], _: Annotated[Seat, Depends(sent_here)]
) -> Response:
    """End the session."""
    sessions.close(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/console/sign-in", 303)
    answer.delete_cookie(COOKIE, path="/console")
    return answer


def _checked(desk: Desk, held: str) -> None:
    """Raises ActError for a key that opens no session."""
    key = desk.live_key(held)
    if key.role is Role.CALLER and not key.user:
        raise ActError("this is an application's key, of no one user; the console is for people", 403)


def _begin(request: Request, answer: Response, holder: str | Person) -> None:
    """A session with a token of its own, whatever cookie the browser had before."""
    sessions = sessions_of(request)
    sessions.close(request.cookies.get(COOKIE, ""))
    answer.set_cookie(
        COOKIE,
        sessions.open(holder),
        max_age=int(LONGEST_SECONDS),
        path="/console",
        httponly=True,
        samesite="strict",
        secure=encrypted(request),
    )


def _form(request: Request, frame: Frame, next_: str, why: str = "", status: int = 200) -> Response:
    found = {"next": inside(next_), "why": why, "oidc": request.app.state.oidc}
    return frame.page(request, None, "sign_in.html", found, status)


def _provider(request: Request) -> Provider:
    found = request.app.state.oidc
    if not isinstance(found, Provider):
        raise ActError("no provider of identities is set up here; sign in with a key", 404)
    return found


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _open(request: Request) -> None:
    """Refuses an address that failed too often before."""
    sign_ins: SignIns = request.app.state.sign_ins
    sign_ins.check(_address(request))


def _failed(request: Request, error: ActError) -> None:
    if error.status == 401:
        request.app.state.sign_ins.failed(_address(request))
