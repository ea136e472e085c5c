"""How are playbooks listed, started, signed off, overridden and aborted over the admin API?"""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from upshift.admin import playbooks
from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.door import desk_of, planner_of, responses
from upshift.admin.moments import future
from upshift.admin.playbook_views import (
    ExplainView,
    HistoryView,
    PlaybooksView,
    RunView,
    book_view,
    explain_view,
    history_view,
    listed,
    run_view,
)
from upshift.plan_file.books import read_book, shipped
from upshift.playbook.run import fold

router = APIRouter(prefix="/api/v1/playbooks", responses=responses(401, 403, 429))

InDesk = Annotated[Desk, Depends(desk_of)]
Person = Annotated[Actor, Depends(planner_of)]
WhichRun = Annotated[str, Path(description="The run's id.")]
Text = Annotated[str, Field(max_length=1000)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class StartAsked(_Asked):
    """Which playbook to start, and with what."""

    book: Annotated[str, Field(max_length=200)] = ""
    """The name of a playbook that ships."""
    text: str = ""
    """A playbook of one's own, as YAML; in place of `book`."""
    inputs: dict[str, str] = {}
    """Its inputs by name."""
    tell: list[str] = []
    """E-mail addresses that are told what is urgent."""


class SignAsked(_Asked):
    """What is signed off."""

    criterion: str
    """A sign-off of the present gate."""
    note: Text = ""
    """Kept with it."""


class OverrideAsked(_Asked):
    """A check that is to pass without evidence."""

    criterion: str
    """A check of the present gate."""
    reason: Text
    """Why; it is kept and shown for ever."""
    owner: Annotated[str, Field(max_length=200)]
    """Who owns the risk."""
    until: str
    """When it expires: 3d, or 2026-11-30."""


class AbortAsked(_Asked):
    """Why a run is to end."""

    reason: Text
    """Why; it is kept."""


@router.get("")
def playbooks_and_runs(desk: InDesk, _: Person) -> PlaybooksView:
    """The playbooks that ship, and every run, the latest first."""
    now = desk.now()
    return PlaybooksView(
        books=tuple(book_view(read_book(text, f"{name}.yaml")) for name, text in shipped().items()),
        runs=tuple(listed(one, now) for one in playbooks.every_run(desk.journal)),
    )


@router.post("", status_code=201, responses=responses(400, 404, 409, 422))
def start(desk: InDesk, actor: Person, asked: StartAsked) -> RunView:
    """Start a run. It keeps the playbook as it is now: no edit changes its windows or gates."""
    if bool(asked.book) == bool(asked.text):
        raise ActError("send the name of a playbook as `book`, or one of your own as `text`")
    book = playbooks.book_of(asked.book) if asked.book else read_book(asked.text)
    return run_view(playbooks.start(desk, actor, book, asked.inputs, asked.tell), desk.now())


@router.get("/{run}", responses=responses(404))
def explain(desk: InDesk, _: Person, run: WhichRun) -> ExplainView:
    """Where a run stands and why: the present gate with its evidence, overrides, what the window can tell."""
    return explain_view(fold(playbooks.records(desk.journal, run)), desk.now())


@router.get("/{run}/history", responses=responses(404))
def history(
    desk: InDesk,
    _: Person,
    run: WhichRun,
    looks: Annotated[bool, Query(description="With looks that led to nothing.")] = False,
) -> HistoryView:
    """Everything that happened, and the post-mortem that it makes."""
    found = playbooks.records(desk.journal, run)
    return history_view(fold(found), found, desk.now(), looks=looks)


@router.post("/{run}/sign-offs", status_code=201, responses=responses(400, 404, 409))
def sign(desk: InDesk, actor: Person, run: WhichRun, asked: SignAsked) -> RunView:
    """Sign off for the role of one's key."""
    return run_view(playbooks.sign(desk, actor, run, asked.criterion, asked.note), desk.now())


@router.post("/{run}/overrides", status_code=201, responses=responses(400, 404, 409))
def override(desk: InDesk, actor: Person, run: WhichRun, asked: OverrideAsked) -> RunView:
    """Let a check pass without evidence until it expires. It shortens no window, and covers no failure."""
    until = future(asked.until, desk.now())
    done = playbooks.override(desk, actor, run, asked.criterion, reason=asked.reason, owner=asked.owner, expires=until)
    return run_view(done, desk.now())


@router.post("/{run}/abort", responses=responses(400, 404, 409))
def abort(desk: InDesk, actor: Person, run: WhichRun, asked: AbortAsked) -> RunView:
    """End a run; everything is made as it was before it."""
    return run_view(playbooks.abort(desk, actor, run, asked.reason), desk.now())
