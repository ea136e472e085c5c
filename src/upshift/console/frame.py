"""How does a page come together: template, menu, who is signed in, tables that can be exported?"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Request
from fastapi.templating import Jinja2Templates
from starlette.responses import RedirectResponse, Response, StreamingResponse

from upshift import __version__
from upshift.console.door import CSRF_FIELD, Seat
from upshift.console.roles import May
from upshift.console.shown import FILTERS, budget_path
from upshift.console.table import Asked, Column, Table, in_pieces

R = TypeVar("R")

_OWN = frozenset({"sort", "q", "format"})
_KINDS: Mapping[str, str] = MappingProxyType({"csv": "text/csv", "json": "application/json"})


class Entry(msgspec.Struct, frozen=True):
    """A line of the menu."""

    path: str
    title: str
    icon: str
    """The name of a symbol in icons.svg."""
    needs: May = May.SEE
    key: str = ""
    """What goes there after a `g`."""


class Frame:
    """What every page stands in."""

    def __init__(self, templates: Jinja2Templates, menu: tuple[Entry, ...]) -> None:
        self._templates = templates
        self._menu = menu
        templates.env.filters.update(FILTERS)
        templates.env.globals.update(version=__version__, May=May, csrf_field=CSRF_FIELD, budget_path=budget_path)
        templates.env.trim_blocks = True
        templates.env.lstrip_blocks = True

    def page(
        self, request: Request, seat: Seat | None, template: str, found: Mapping[str, Any], status: int = 200
    ) -> Response:
        """A page, or the part of it that htmx asked for (templates named with an underscore)."""
        menu = [] if seat is None else [entry for entry in self._menu if seat.may(entry.needs)]
        context = {"seat": seat, "menu": menu, "path": request.url.path, **found}
        return self._templates.TemplateResponse(request, template, context, status_code=status)

    def part(self, template: str, found: Mapping[str, Any]) -> str:
        """A piece of a page, as text."""
        return self._templates.get_template(template).render(found)

    def listing(
        self, request: Request, seat: Seat, template: str, table: Table[Any], found: Mapping[str, Any]
    ) -> Response:
        """A page around one table, or the table alone where `?format=csv` or `json` asks for it."""
        export = exported(request, table)
        return export if export is not None else self.page(request, seat, template, {"table": table, **found})


def exported(request: Request, table: Table[Any]) -> Response | None:
    """The table as a file, where the URL asks for that."""
    form = request.query_params.get("format", "")
    if form not in _KINDS:
        return None
    text = table.to_csv() if form == "csv" else table.to_json()
    return Response(text, media_type=f"{_KINDS[form]}; charset=utf-8", headers=_saved(request, form))


def all_of_it(request: Request, columns: Sequence[Column[R]], rows: Iterator[R], asked: Asked) -> Response | None:
    """Everything that a page lists, not what it shows of it alone, as a file, where the URL asks for that."""
    form = request.query_params.get("format", "")
    if form not in _KINDS:
        return None
    pieces = in_pieces(columns, rows, asked, form)
    return StreamingResponse(pieces, media_type=f"{_KINDS[form]}; charset=utf-8", headers=_saved(request, form))


def _saved(request: Request, form: str) -> dict[str, str]:
    name = request.url.path.strip("/").replace("console/", "").replace("/", "-") or "table"
    return {"content-disposition": f'attachment; filename="{name}.{form}"'}


def gone_to(request: Request, path: str) -> Response:
    """After something was changed: the page that shows it, for a form and for htmx alike."""
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={"hx-redirect": path})
    return RedirectResponse(path, 303)


def frame_of(request: Request) -> Frame:
    """What pages stand in."""
    found = request.app.state.frame
    assert isinstance(found, Frame)
    return found


def asked_of(request: Request) -> Asked:
    """What the URL asks of the page's table."""
    query = request.query_params
    others = tuple((name, value) for name, value in query.items() if name not in _OWN and value)
    return Asked(request.url.path, query.get("sort", "")[:80], query.get("q", "")[:200], others)


InFrame = Annotated[Frame, Depends(frame_of)]
TableAsked = Annotated[Asked, Depends(asked_of)]
