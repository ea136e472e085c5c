"""Which commands list, start, explain, sign off, override, abort and rehearse playbooks?"""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from upshift.admin import playbooks
from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.moments import future
from upshift.admin.plan_views import problem_view
from upshift.admin.playbook_views import (
    UNREADABLE,
    ExplainView,
    PlaybooksView,
    RunView,
    book_view,
    explain_view,
    history_view,
    listed,
    run_view,
)
from upshift.cli.plan_reading import show_problems
from upshift.cli.plan_signoff import Secret, holder
from upshift.cli.terminal import DEFAULT_DB, Db, Json, Yes, desk_at, emit, err, failing, local_admin, meaning, out
from upshift.cli.terminal import table as table_of
from upshift.engine.rehearsal import BEGIN, Rehearsal, Scenario, quietly
from upshift.model.span import show_instant
from upshift.plan_file import PlanError
from upshift.plan_file.books import book_schema, known_checks, read_book, shipped
from upshift.playbook.book import Answer, Book
from upshift.playbook.run import fold
from upshift.playbook.story import post_mortem, timeline
from upshift.store.sqlite_journal import SqliteJournal

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Run playbooks: phases that open on evidence, and roll back."
)

WhichRun = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, as 'upshift playbook list' shows it.")]
WhichBook = Annotated[str, typer.Argument(metavar="BOOK", help="A playbook that ships, or a YAML file.")]
_MARKS = {
    Answer.PASS: ("✔", "green"),
    Answer.WAITING: ("…", "cyan"),
    Answer.UNCLEAR: ("?", "yellow"),
    Answer.BROKEN: ("!", "magenta"),
    Answer.FAIL: ("✘", "bold red"),
}
_STATES = {
    "running": "cyan",
    "undoing": "yellow",
    "finished": "green",
    "stopped": "yellow",
    "rolled-back": "red",
    "aborted": "red",
    UNREADABLE: "yellow",
}


@app.command("list")
def list_(db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """The playbooks that ship, and every run."""
    with desk_at(db, json_) as desk:
        now = desk.now()
        view = PlaybooksView(
            books=tuple(book_view(playbooks.book_of(name)) for name in shipped()),
            runs=tuple(listed(one, now) for one in playbooks.every_run(desk.journal)),
        )
    if json_:
        emit(view)
        return
    rows = table_of("PLAYBOOK", "WHAT FOR", "PHASES")
    for book in view.books:
        rows.add_row(book.name, book.title, " → ".join(one.name for one in book.phases))
    out().print(rows)
    out().print()
    _show_runs(out(), view.runs)


@app.command()
def check(book: WhichBook, json_: Json = False) -> None:
    """Check a playbook; every problem with its place."""
    view = book_view(_book(book, json_))
    if json_:
        emit(view)
        return
    console = out()
    console.print(Text("ok ", "bold green").append(f"{view.name}: {view.title}", "default"))
    rows = table_of("PHASE", "WINDOW", "TO ENTER", "TO LEAVE")
    for one in view.phases:
        rows.add_row(one.name, one.window, ", ".join(one.entry), ", ".join(one.exit))
    console.print(rows)
    console.print(f"hash {view.hash}", style="dim")


@app.command()
def schema(json_: Json = False) -> None:
    """The JSON Schema of a playbook, for editors. Always JSON."""
    emit(book_schema())


@app.command()
def start(
    book: WhichBook,
    given: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="NAME=VALUE, or NAME=@FILE; may be repeated.")
    ] = None,
    tell: Annotated[list[str] | None, typer.Option(help="An e-mail address that is told what is urgent.")] = None,
    key: Secret = "",
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Start a run. It keeps the playbook as it is now."""
    found = _book(book, json_)
    inputs = dict(meaning(_input, one, option="--input") for one in given or ())
    with desk_at(db, json_) as desk:
        run = playbooks.start(desk, _actor(desk, key, json_), found, inputs, tell or ())
        view = run_view(run, desk.now())
    _done(view, json_, f"{view.run} is started; look at it with: upshift playbook explain {view.run}")


@app.command()
def status(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="One run; all that are not over unless said.")] = "",
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Where runs stand, and what they need."""
    with desk_at(db, json_) as desk:
        now = desk.now()
        if run:
            views = [run_view(fold(playbooks.records(desk.journal, run)), now)]
        else:
            found = playbooks.every_run(desk.journal)
            views = [listed(one, now) for one in found if isinstance(one, playbooks.Unreadable) or not one.over]
    if json_:
        emit(views)
        return
    _show_runs(out(), views)


@app.command()
def explain(run: WhichRun, db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """Why a run stands where it stands: the present gate with its evidence."""
    with desk_at(db, json_) as desk:
        view = explain_view(fold(playbooks.records(desk.journal, run)), desk.now())
    if json_:
        emit(view)
        return
    _explain(out(), view)


@app.command()
def signoff(
    run: WhichRun,
    criterion: Annotated[str, typer.Argument(help="A sign-off of the present gate.")],
    note: Annotated[str, typer.Option(help="Kept with it.")] = "",
    key: Secret = "",
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Sign off for the role of your key."""
    with desk_at(db, json_) as desk:
        view = run_view(playbooks.sign(desk, holder(desk, key, json_), run, criterion, note), desk.now())
    _done(view, json_, f"{criterion} of {run} is signed off")


@app.command()
def override(
    run: WhichRun,
    criterion: Annotated[str, typer.Argument(help="A check of the present gate.")],
    reason: Annotated[str, typer.Option(help="Why; kept and shown for ever.")],
    risk_owner: Annotated[str, typer.Option(help="Who owns the risk.")],
    until: Annotated[str, typer.Option(help="When it expires: 3d, or 2026-11-30.")],
    key: Secret = "",
    db: Db = DEFAULT_DB,
    yes: Yes = False,
    json_: Json = False,
) -> None:
    """Let a check pass without evidence, for a while. It shortens no window, and covers no failure."""
    with desk_at(db, json_) as desk:
        actor = holder(desk, key, json_)
        expires = meaning(future, until, desk.now(), option="--until")
        if not yes and not json_:
            typer.confirm(f"Let {criterion} of {run} pass without evidence, in your name?", abort=True, err=True)
        done = playbooks.override(desk, actor, run, criterion, reason=reason, owner=risk_owner, expires=expires)
        view = run_view(done, desk.now())
    _done(view, json_, f"{criterion} of {run} is overridden until {show_instant(expires)}; the risk is {risk_owner}'s")


@app.command()
def abort(
    run: WhichRun,
    reason: Annotated[str, typer.Option(help="Why; kept.")],
    key: Secret = "",
    db: Db = DEFAULT_DB,
    yes: Yes = False,
    json_: Json = False,
) -> None:
    """End a run; everything is made as it was before it."""
    with desk_at(db, json_) as desk:
        actor = _actor(desk, key, json_)
        if not yes and not json_:
            typer.confirm(f"Abort {run}?", abort=True, err=True)
        view = run_view(playbooks.abort(desk, actor, run, reason), desk.now())
    when = "within seconds, or within a minute where that has just died"
    _done(view, json_, f"{run} is aborted; what it changed is undone by the admin process {when}")


@app.command()
def history(
    run: WhichRun,
    looks: Annotated[bool, typer.Option("--looks", help="With looks that led to nothing.")] = False,
    as_post_mortem: Annotated[bool, typer.Option("--post-mortem", help="As a post-mortem, in Markdown.")] = False,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Everything that happened in a run."""
    with desk_at(db, json_) as desk:
        found = playbooks.records(desk.journal, run)
        view = history_view(fold(found), found, desk.now(), looks=looks)
    if json_:
        emit(view)
    elif as_post_mortem:
        typer.echo(view.post_mortem, nl=False)
    else:
        _timeline(out(), [(one.at, one.what, one.by, one.detail) for one in view.lines])


@app.command()
def simulate(
    book: WhichBook,
    scenario: Annotated[Scenario, typer.Option(help="What the new agent turns out to be.")] = Scenario.GOOD,
    seed: Annotated[int, typer.Option(min=0, help="The same seed is the same traffic.")] = 1,
    days: Annotated[float, typer.Option(min=0.1, max=60, help="When to stop looking.")] = 10,
    json_: Json = False,
) -> None:
    """Rehearse a playbook: the real engine on a fast clock, over simulated traffic and people."""
    found = _book(book, json_)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, failing(json_), quietly():
        journal = SqliteJournal(Path(folder) / "rehearsal.db")
        try:
            rehearsal = Rehearsal(journal, known_checks(), scenario, seed=seed)
            records = rehearsal.finish(rehearsal.start(found), days)
        finally:
            journal.close()
    run, took = fold(records), time.monotonic() - began
    view = history_view(run, records, rehearsal.clock.now())
    if json_:
        simulated = {"scenario": scenario, "seed": seed, "began": show_instant(BEGIN), "seconds": round(took, 2)}
        emit({"simulated": simulated, **view.model_dump(mode="json")})
        return
    console = out()
    lines = timeline(records)
    _timeline(console, [(show_instant(one.at), one.what, one.by, one.detail) for one in lines])
    console.print()
    typer.echo(post_mortem(records))
    lasted = (rehearsal.clock.now() - BEGIN) / 86_400_000_000
    err().print(f"{lasted:.1f} days in {took:.0f} s; {run.id} is {run.state}", style="dim")


def _input(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise ValueError(f"{text!r} is not an input; write NAME=VALUE, or NAME=@FILE for what a file holds")
    if not value.startswith("@"):
        return name, value
    try:
        return name, Path(value[1:]).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{value[1:]} cannot be read as text: {error}") from None


def _book(name: str, as_json: bool) -> Book:
    """A playbook that ships, or of a file; its problems are shown and end the command."""
    with failing(as_json):
        if name in shipped():
            return playbooks.book_of(name)
        path = Path(name)
        if not path.is_file():
            raise ActError(f"{name!r} is neither a playbook that ships ({', '.join(shipped())}) nor a file")
        try:
            return read_book(path.read_text(encoding="utf-8-sig"), name)
        except UnicodeDecodeError:
            raise ActError(f"{name} is not UTF-8 text") from None
        except PlanError as error:
            problems = error.problems
    if as_json:
        emit({"ok": False, "problems": [json.loads(problem_view(one).model_dump_json()) for one in problems]})
    show_problems(err(), problems)
    raise typer.Exit(1)


def _actor(desk: Desk, key: str, as_json: bool) -> Actor:
    """Whoever holds the key, else whoever may write the database's file."""
    return holder(desk, key, as_json) if key else local_admin()


def _done(view: RunView, as_json: bool, said: str) -> None:
    if as_json:
        emit(view)
    else:
        out().print(said)


def _show_runs(console: Console, views: Sequence[RunView]) -> None:
    if not views:
        console.print("no runs; start one with: upshift playbook start BOOK", style="dim")
        return
    rows = table_of("RUN", "STATE", "PHASE", "WINDOW ENDS", "NEEDS")
    for one in views:
        needs = "; ".join(need if len(need) <= 90 else f"{need[:90]}…" for need in one.needs[:3])
        state = Text(one.state, _STATES[one.state])
        if one.overrides:
            state.append(f" ({one.overrides} overridden)", "bold yellow")
        waits = f"waits for {' or '.join(one.waits_for)}: " if one.waits_for else ""
        rows.add_row(one.run, state, one.phase, one.window_ends or "", waits + needs)
    console.print(rows)


def _explain(console: Console, view: ExplainView) -> None:
    run = view.run
    console.print(Text(f"{run.run} ", "bold").append(run.state, _STATES[run.state]))
    console.print(f"in {run.phase or 'no phase yet'} since {run.since}", style="dim")
    if run.window_ends:
        extended = " (extended)" if run.extended else ""
        console.print(f"the window ends {run.window_ends}{extended}; nothing shortens it", style="dim")
    console.print(f"looked at {view.looked}" if view.looked else "not looked at yet", style="dim")
    for one in view.criteria:
        mark, style = _MARKS[one.answer]
        who = f" by {one.signer}" if one.signer else ""
        by = f" (overridden by {one.override})" if one.override else ""
        console.print(Text(f"\n{mark} {one.name}{who}: {one.answer}{by}", style))
        for says in one.says:
            console.print(f"    {says}", style="default")
    if view.can_tell:
        console.print("\nwhat this window can tell, stated before it began", style="bold")
        for says in view.can_tell:
            console.print(f"    {says}", style="dim")
    for risk in view.overrides:
        state = "EXPIRED" if risk.expired else f"until {risk.expires}"
        line = f"\noverride of {risk.criterion} by {risk.by} ({state}): {risk.reason}; the risk is {risk.owner}'s"
        console.print(line, style="bold yellow")


def _timeline(console: Console, lines: Sequence[tuple[str, str, str, tuple[str, ...]]]) -> None:
    for at, what, by, detail in lines:
        style = "bold red" if what in ("rolled back", "aborted") or what.startswith("OVERRODE") else "bold"
        line = Text(f"{at[:16].replace('T', ' ')}  ", "dim").append(what, style)
        if by:
            line.append(f" by {by}", "dim")
        console.print(line)
        for one in detail[:4]:
            console.print(f"                    {one if len(one) <= 150 else one[:150] + '…'}", style="dim")
