"""How does a person sign in to the console, and out?"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from upshift.admin.desk import ActError
from upshift.admin.door import SignIns
from upshift.console.door import COOKIE, InDesk, Seat, from_here, genuine, inside, sessions_of
from upshift.console.frame import InFrame
from upshift.console.sessions import LONGEST_SECONDS, Sessions
from upshift.traffic.identify import digest

router = APIRouter()


@router.get("/sign-in")
def form(request: Request, frame: InFrame, next: str = "/console/") -> Response:
    """The form."""
    return frame.page(request, None, "sign_in.html", {"next": inside(next), "why": ""})


@router.post("/sign-in")
async def sign_in(
    request: Request,
    desk: InDesk,
    frame: InFrame,
    key: Annotated[str, Form(max_length=500)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/console/",
) -> Response:
    """Open a session for whoever holds a key."""
    sign_ins: SignIns = request.app.state.sign_ins
    address = request.client.host if request.client is not None else ""
    sign_ins.check(address)
    if not from_here(request):
        raise ActError("the form came from another site", 403)
    try:
        await run_in_threadpool(desk.actor_of, key.strip())
    except ActError as error:
        if error.status == 401:
            sign_ins.failed(address)
        return frame.page(request, None, "sign_in.html", {"next": inside(next), "why": str(error)}, error.status)
    sessions = sessions_of(request)
    sessions.close(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse(inside(next), 303)
    answer.set_cookie(
        COOKIE,
        sessions.open(digest(key.strip())),
        max_age=int(LONGEST_SECONDS),
        path="/console",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/sign-out")
def sign_out(
    request: Request, sessions: Annotated[Sessions, Depends(sessions_of)], _: Annotated[Seat, Depends(genuine)]
) -> Response:
    """End the session."""
    sessions.close(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/console/sign-in", 303)
    answer.delete_cookie(COOKIE, path="/console")
    return answer
