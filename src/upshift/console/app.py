"""How is the console put together: pages, files, errors, headers?"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.templating import Jinja2Templates
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from upshift.admin.desk import ActError, Desk
from upshift.admin.door import SignIns, TooManyFailuresError
from upshift.admin.kept import AGAIN_SECONDS, BeingComputedError
from upshift.console.away import Away, Look, looked
from upshift.console.door import OwnBudgetOnlyError, SignInNeededError, present, signed_in
from upshift.console.forecasts import Forecasts
from upshift.console.frame import Entry, Frame
from upshift.console.live import Feed
from upshift.console.oidc import Provider
from upshift.console.pages import (
    budgets,
    capacity,
    consents,
    interfaces,
    keys,
    ledger,
    mine,
    overview,
    plan,
    playbooks,
    reconcile,
    sign_in,
    team,
    traffic,
    workloads,
)
from upshift.console.roles import May
from upshift.console.sessions import Sessions
from upshift.store.backend import StoreTroubleError
from upshift.store.verify import Verification

log = structlog.get_logger()

_HERE = Path(__file__).parent
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cross-origin-opener-policy": "same-origin",
    # With none at all, browsers would not say either that a form was sent from a page of ours.
    "referrer-policy": "same-origin",
}
MENU = (
    Entry("/console/", "Overview", "overview", May.SEE, "o"),
    Entry("/console/workloads", "Workloads", "workloads", May.SEE_PLAN, "w"),
    Entry("/console/plan", "Plan", "plan", May.SEE_PLAN, "p"),
    Entry("/console/capacity", "Capacity", "capacity", May.SEE_PLAN, "c"),
    Entry("/console/budgets", "Budgets", "budgets", May.SEE, "b"),
    Entry("/console/traffic", "Traffic", "traffic", May.SEE, "t"),
    Entry("/console/playbooks", "Playbooks", "playbooks", May.SEE_PLAN, "r"),
    Entry("/console/interfaces", "Interfaces", "interfaces", May.SEE_PLAN, "i"),
    Entry("/console/ledger", "Ledger", "ledger", May.SEE, "l"),
    Entry("/console/keys", "Keys", "keys", May.KEYS, "k"),
    Entry(mine.PATH, "My budget", "budgets", May.MINE, "m"),
)
ROUTERS: Sequence[APIRouter] = (
    sign_in.router,
    overview.router,
    workloads.router,
    plan.router,
    team.router,
    capacity.router,
    budgets.router,
    consents.router,
    traffic.router,
    playbooks.router,
    interfaces.router,
    ledger.router,
    reconcile.router,
    keys.router,
    mine.router,
)


def create_console(
    desk: Desk,
    verify: Callable[[], Verification],
    clock: Callable[[], float] = time.monotonic,
    *,
    sign_ins: SignIns | None = None,
    oidc: Provider | None = None,
    url: str = "",
    embed: str = "",
    look: Look | None = None,
) -> FastAPI:
    """The console over a desk, to be mounted at /console. `clock` in seconds times sessions; `verify` reads all.

    `sign_ins` counts wrong keys where the API beside it counts them too: an address has one count.
    `look` says how the processes of this machine are doing.
    `url` is where browsers find it, where that is not what requests say; `embed` the sites that may frame the widget.
    Raises ValueError for sites that are none.
    """
    if not re.fullmatch(r"[\w:/.*' -]*", embed):
        raise ValueError(f"UPSHIFT_CONSOLE_EMBED={embed!r}: name sites, like https://intranet.example.org")
    console = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    state = console.state
    state.desk, state.verify, state.look = desk, verify, look
    state.oidc, state.url = oidc, url.rstrip("/")
    state.sessions, state.sign_ins = Sessions(clock), sign_ins or SignIns(clock)
    state.frame = Frame(Jinja2Templates(_HERE / "templates"), MENU)
    state.feed, state.bills = Feed(desk), reconcile.Bills()
    state.forecasts = Forecasts(desk.patience)
    for router in ROUTERS:
        console.include_router(router)
    # Files alone: a page that repeats what a URL says beside a form's word would tell of the word by its size.
    console.mount("/static", GZipMiddleware(StaticFiles(directory=_HERE / "static")), name="static")
    console.add_middleware(_Headers, embed=embed)
    console.add_exception_handler(SignInNeededError, _sign_in)
    console.add_exception_handler(OwnBudgetOnlyError, _own_budget)
    for error in (ActError, TooManyFailuresError, ValueError, RequestValidationError, HTTPException, StoreTroubleError):
        console.add_exception_handler(error, _failed)
    console.add_exception_handler(BeingComputedError, _computing)
    console.add_exception_handler(Exception, _bug)
    return console


class _Headers:
    """Adds what every answer of the console carries, without holding streams up."""

    def __init__(self, app: ASGIApp, embed: str) -> None:
        self._app = app
        self._widget = _POLICY.replace("ancestors 'none'", f"ancestors {embed}") if embed else _POLICY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if scope["path"].endswith(mine.WIDGET):
                    headers["content-security-policy"] = self._widget
                if "/static/" in scope["path"]:
                    # Files change with the version only, and their URLs name it.
                    headers["cache-control"] = "public, max-age=86400"
            await send(message)

        await self._app(scope, receive, answer if scope["type"] == "http" else send)


async def _sign_in(request: Request, error: Exception) -> Response:
    target = error.next if isinstance(error, SignInNeededError) else "/console/"
    where = f"/console/sign-in?next={quote(target, safe='/')}"
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers={"hx-redirect": where})
    return RedirectResponse(where, 303)


async def _own_budget(request: Request, error: Exception) -> Response:
    if request.method == "GET" and not request.headers.get("hx-request"):
        return RedirectResponse(mine.PATH, 303)
    return _page(request, 403, "This key is for calls: it sees its own budget and nothing else.", {})


async def _computing(request: Request, error: Exception) -> Response:
    """A part of a page that asks again by itself; any other page says when to."""
    if request.method == "GET" and request.headers.get("hx-request"):
        frame: Frame = request.app.state.frame
        return frame.page(request, None, "_computing.html", {"seconds": AGAIN_SECONDS})
    return _page(request, 503, f"{error}.".capitalize(), {"retry-after": str(AGAIN_SECONDS)})


async def _failed(request: Request, error: Exception) -> Response:
    headers, away = {}, None
    match error:
        case ActError():
            status, text = error.status, str(error)
        case TooManyFailuresError():
            status, text, headers = 429, str(error), {"retry-after": str(error.seconds)}
        case HTTPException():
            status = error.status_code
            text = "There is no such page." if status == 404 else str(error.detail)
        case StoreTroubleError():
            log.error("console.store", problem=str(error))
            status, text = 503, "The database cannot be read or written at the moment. Try again in a second."
            if signed_in(request):
                away = await looked(request)
        case RequestValidationError():
            found = "; ".join(f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors())
            status, text = 422, found
        case _:
            status, text = 400, str(error)
    return _page(request, status, text, headers, away)


async def _bug(request: Request, error: Exception) -> Response:
    log.error("console.bug", path=request.url.path, exc_info=error)
    # What went wrong is answered from outside of all else, also of what adds headers.
    return _page(request, 500, "Something went wrong here. The log says what.", _HEADERS)


def _page(request: Request, status: int, text: str, headers: Mapping[str, str], away: Away | None = None) -> Response:
    frame: Frame = request.app.state.frame
    try:
        seat = present(request, request.app.state.desk)
    except (SignInNeededError, StoreTroubleError):
        seat = None
    template = "_problem.html" if request.headers.get("hx-request") else "problem.html"
    answer = frame.page(request, seat, template, {"status": status, "text": text, "away": away}, status)
    answer.headers.update(headers)
    return answer
