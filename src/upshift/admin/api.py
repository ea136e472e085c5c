"""How is the admin API put together: routes, errors, headers, description?"""

import time
from collections.abc import Callable
from typing import Annotated, Any

import structlog
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from upshift import __version__
from upshift.admin.burn import router as burn_router
from upshift.admin.desk import ActError, Actor, Desk, NotCoveredError
from upshift.admin.door import HEADERS, SignIns, TooManyFailuresError, Wrapped, actor_of
from upshift.admin.export_routes import router as export_router
from upshift.admin.feedback import BadReportsError
from upshift.admin.feedback_routes import router as feedback_router
from upshift.admin.interfaces import router as interfaces_router
from upshift.admin.kept import AGAIN_SECONDS, BeingComputedError
from upshift.admin.metrics_routes import Readers, Scrape
from upshift.admin.metrics_routes import router as metrics_router
from upshift.admin.plan_views import problem_view
from upshift.admin.playbook_routes import router as playbook_router
from upshift.admin.portfolio_routes import router as portfolio_router
from upshift.admin.problems import ErrorView, FieldView, problem
from upshift.admin.reconcile_routes import router as reconcile_router
from upshift.admin.routes import router
from upshift.admin.vendors import router as vendors_router
from upshift.plan_file import PlanError
from upshift.store.backend import StoreTroubleError
from upshift.store.verify import Verification

log = structlog.get_logger()


def create_api(
    desk: Desk,
    verify: Callable[[], Verification],
    clock: Callable[[], float] = time.monotonic,
    scrape: Scrape | None = None,
) -> FastAPI:
    """The admin API over a desk. `clock` in seconds times failed sign-ins; `verify` reads the ledger.

    `scrape` gives the metrics; without it there are none.
    """
    api = FastAPI(
        title="Upshift admin API",
        version=__version__,
        description="Plans, keys, budgets, usage and consents. Amounts in nano-dollars are billionths of a US dollar.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    api.state.desk = desk
    api.state.verify = verify
    api.state.scrape, api.state.readers = scrape, Readers()
    api.state.sign_ins = SignIns(clock)
    api.add_middleware(Wrapped)
    api.include_router(router)
    api.include_router(reconcile_router)
    api.include_router(vendors_router)
    api.include_router(interfaces_router)
    api.include_router(export_router)
    api.include_router(burn_router)
    api.include_router(portfolio_router)
    api.include_router(feedback_router)
    api.include_router(playbook_router)
    api.include_router(metrics_router)
    api.add_api_route("/healthz", _health, include_in_schema=False)
    api.add_api_route("/openapi.json", _description, include_in_schema=False)
    api.add_exception_handler(ActError, _refused)
    api.add_exception_handler(TooManyFailuresError, _too_many)
    api.add_exception_handler(PlanError, _bad_plan)
    api.add_exception_handler(ValueError, _bad_value)
    api.add_exception_handler(RequestValidationError, _not_well_formed)
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(StoreTroubleError, _store)
    api.add_exception_handler(BeingComputedError, _computing)
    api.add_exception_handler(Exception, _bug)
    return api


async def _health() -> dict[str, str]:
    return {"status": "ok"}


async def _description(request: Request, _: Annotated[Actor, Depends(actor_of)]) -> dict[str, Any]:
    """OpenAPI 3.1, with the error that every route may answer."""
    api = request.app
    assert isinstance(api, FastAPI)
    described = api.openapi()
    parts = ErrorView.model_json_schema(ref_template="#/components/schemas/{model}")
    components = described["components"]["schemas"]
    components.update(parts.pop("$defs", {}))
    components["ErrorView"] = parts
    return described


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, ActError) else 400
    if isinstance(error, NotCoveredError):
        fields = [FieldView(where="plan", what=each) for each in error.reasons]
        return problem(status, "the plan may not be put in force", fields=fields)
    if isinstance(error, BadReportsError):
        fields = [FieldView(where=each.where, what=f"{each.value} is not {each.expected}") for each in error.faults]
        return problem(status, "nothing was kept; correct what is wrong and send all again", fields=fields)
    return problem(status, str(error), headers={"www-authenticate": "Bearer"} if status == 401 else None)


async def _computing(request: Request, error: Exception) -> Response:
    return problem(503, str(error), headers={"retry-after": str(AGAIN_SECONDS)})


async def _too_many(request: Request, error: Exception) -> Response:
    seconds = error.seconds if isinstance(error, TooManyFailuresError) else 60
    return problem(429, str(error), headers={"retry-after": str(seconds)})


async def _bad_plan(request: Request, error: Exception) -> Response:
    problems = error.problems if isinstance(error, PlanError) else ()
    return problem(422, "the plan has errors", problems=[problem_view(each) for each in problems])


async def _bad_value(request: Request, error: Exception) -> Response:
    return problem(400, str(error))


async def _not_well_formed(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    fields = [FieldView(where=".".join(map(str, each["loc"])), what=each["msg"]) for each in found]
    return problem(422, "the request is not well formed", fields=fields)


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status in (404, 405):
        return problem(status, f"{request.method} {request.url.path[:200]} is not served here")
    return problem(status, error.detail if isinstance(error, HTTPException) else "")


async def _store(request: Request, error: Exception) -> Response:
    log.error("admin.store", problem=str(error))
    return problem(503, "the database cannot be read or written at the moment", headers={"retry-after": "1"})


async def _bug(request: Request, error: Exception) -> Response:
    log.error("admin.bug", path=request.url.path, exc_info=error)
    return problem(500, "something went wrong here; the log says what", headers=dict(HEADERS))
