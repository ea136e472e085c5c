"""Which command takes a sheet into a plan?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.text import Text

from upshift.cli.plan_reading import read, show_problems
from upshift.cli.plan_sheets import plan_files, text_of, tree_of
from upshift.cli.terminal import Json, Yes, emit, err, fail, failing, meaning, out, table
from upshift.plan_file import PlanError, Problem, Severity, loads
from upshift.plan_file.locate import parse
from upshift.sheets.averages import told
from upshift.sheets.cells import Fault, SheetError
from upshift.sheets.figures import Numbers
from upshift.sheets.imported import (
    Change,
    Sheet,
    Source,
    applied,
    changes,
    confirmed,
    find,
    known_of,
    located,
    of_the_cell,
    sheet_of,
)
from upshift.sheets.mapping import How, Match, field_of
from upshift.sheets.reading import Known
from upshift.sheets.tree import Tree
from upshift.sheets.yaml_text import Edit, dumped, edited

app = typer.Typer(add_completion=False)

_SECTION = "workloads"
_MOST_SHOWN = 40
_STYLES = {How.EXACT: "green", How.ALIAS: "green", How.MAPPED: "green", How.PROPOSED: "bold yellow"}


class Outcome(msgspec.Struct, frozen=True):
    """What a sheet makes of a plan: texts by file, and what is to be said of them."""

    texts: Mapping[Path, str]
    changes: Sequence[Change]
    kept: Sequence[str]
    """Workloads of the plan that the sheet does not have."""
    rewritten: Sequence[str]
    missing: Sequence[Problem]
    """What a plan of workloads only lacks before it can be applied."""
    hash: str


@app.command("import")
def import_sheet(
    file: Annotated[Path, typer.Argument(help="The sheet: .csv or .xlsx.")],
    into: Annotated[Path | None, typer.Option(help="The plan that takes it in: a file or a folder.")] = None,
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="'HEADER=FIELD', or a YAML file of such; FIELD - leaves it out.")
    ] = None,
    numbers: Annotated[Numbers, typer.Option(help="How its numbers are written.")] = Numbers.AUTO,
    sheet: Annotated[str, typer.Option(help="Which sheet of a workbook.")] = "",
    to: Annotated[Path | None, typer.Option("--out", help="Where the plan is written; else --into, or shown.")] = None,
    yes: Yes = False,
    json_: Json = False,
) -> None:
    """Take a sheet's workloads into a plan, or make one of it. Nothing is written while a cell cannot be read."""
    wanted = _wanted(map_ or [])
    plan, texts = _plan(into, json_)
    if to is not None and len(texts) > 1:
        raise typer.BadParameter("the plan has several files; they are changed where they are", param_hint="--out")
    with failing(json_):
        data = file.read_bytes()
    try:
        source = find(file.name, data, wanted, sheet)
        if not json_:
            _show_columns(source)
        source = _settled(source, ask=not (yes or json_), as_json=json_)
        whole = into is None and bool(source.rest)
        found = sheet_of(source, known_of(plan) if plan else Known(), numbers, whole=whole)
        outcome = _outcome(source, found, plan, texts, file.stem)
    except SheetError as error:
        _refuse(error.faults, json_)
    if not json_:
        _show(source, found, outcome, fresh=not plan)
    targets = {to if to is not None else path: text for path, text in outcome.texts.items()} if (to or into) else {}
    if targets and not (yes or json_):
        typer.confirm(f"Write {', '.join(str(each) for each in targets)}?", abort=True, err=True)
    with failing(json_):
        for path, text in targets.items():
            path.write_bytes(text.encode())
    if json_:
        emit(_view(source, found, outcome, targets))
    elif targets:
        out().print(Text("written ", "bold green").append(", ".join(str(each) for each in targets), "default"))
    else:
        typer.echo("".join(outcome.texts.values()), nl=False)


def _wanted(said: Sequence[str]) -> dict[str, str]:
    """What a person says that headers mean."""
    found: dict[str, str] = {}
    for each in said:
        header, equals, field = each.rpartition("=")
        if equals:
            found[header.strip()] = meaning(field_of, field, option="--map")
            continue
        try:
            inner = parse(Path(each).read_text(encoding="utf-8-sig"), each).plain()
        except (OSError, UnicodeDecodeError, PlanError) as error:
            message = f"{each!r} is neither 'HEADER=FIELD' nor a YAML file that can be read: {error}"
            raise typer.BadParameter(message, param_hint="--map") from None
        if not isinstance(inner, dict) or not all(isinstance(value, str) for value in inner.values()):
            raise typer.BadParameter(f"{each} has to hold lines of HEADER: FIELD", param_hint="--map")
        found.update({str(key): meaning(field_of, value, option="--map") for key, value in inner.items()})
    return found


def _plan(into: Path | None, as_json: bool) -> tuple[dict[str, Tree], dict[Path, str]]:
    """The plan that takes a sheet in, and the texts of its files; both empty where there is none."""
    if into is None:
        return {}, {}
    read([into], as_json)
    with failing(as_json):
        texts = {file: text_of(file) for file in plan_files([into])}
    return tree_of([(str(file), text) for file, text in texts.items()]), texts


def _settled(source: Source, *, ask: bool, as_json: bool) -> Source:
    """The source with every proposal confirmed or refused; nothing is guessed where nobody can be asked."""
    if not source.proposed:
        return source
    if ask:
        said = {
            each.cell.place: typer.confirm(f"Read {each.cell.text!r} as {each.field}?", default=False, err=True)
            for each in source.proposed
        }
        return confirmed(source, said)
    grid = source.layout.grid
    raise SheetError(
        Fault(
            file=grid.file,
            sheet=grid.sheet,
            cell=each.cell.place,
            value=each.cell.text,
            what=f"{each.cell.text!r} may mean {each.field}, which nobody confirmed",
            remedy=f"Say so: --map '{each.cell.text}={each.field}', or leave it out: --map '{each.cell.text}=-'.",
        )
        for each in source.proposed
    )


def _outcome(source: Source, found: Sheet, plan: dict[str, Tree], texts: Mapping[Path, str], stem: str) -> Outcome:
    """What the plan becomes. Raises SheetError where it would be none."""
    before = plan.get(_SECTION) if plan else found.rest.get(_SECTION)
    after = applied(before, found.entries)
    if plan:
        edits = _edits(texts, after)
        whole = {**plan, _SECTION: after}
        text = next(iter(edits.values())).text if len(texts) == 1 else dumped(whole)
        written = {file: edit.text for file, edit in edits.items()}
        rewritten = [name for edit in edits.values() for name in edit.rewritten]
    else:
        name = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in stem.lower()).strip("-")
        head: dict[str, Tree] = {"upshift": "1", "name": name[:64] or "plan"}
        whole = {**head, **{key: tree for key, tree in found.rest.items() if key != _SECTION}, _SECTION: after}
        text, rewritten = dumped(whole), []
        written = {Path("plan.yaml"): text}
    ids = {each.id for each in found.entries}
    kept = [each for each in before if each not in ids] if plan and isinstance(before, dict) else []
    hash_, missing = _checked(text, source, found, partial=not plan and not found.rest)
    told_changes = changes(before if plan else {}, after)
    return Outcome(written, told_changes, kept, rewritten, missing, hash_)


def _edits(texts: Mapping[Path, str], after: Mapping[str, Tree]) -> dict[Path, Edit]:
    """The text of each file of a plan that changes; workloads that are new go to the last that has any."""
    own: dict[Path, dict[str, Tree]] = {}
    for file, text in texts.items():
        section = tree_of([(str(file), text)]).get(_SECTION)
        own[file] = section if isinstance(section, dict) else {}
    last = [file for file in own if own[file]][-1:] or list(own)[-1:]
    there = {name for section in own.values() for name in section}
    edits: dict[Path, Edit] = {}
    for file, section in own.items():
        new = {name: after[name] for name in section}
        if file in last:
            new |= {name: tree for name, tree in after.items() if name not in there}
        if len(texts) > 1 and new == section:
            continue
        edit = edited(texts[file], section, new)
        if edit is None:
            what = "its workloads cannot be changed without changing other parts of it"
            raise SheetError([Fault(file=str(file), what=what, remedy="Write out what aliases and '<<' stand for.")])
        edits[file] = edit
    return edits


def _checked(text: str, source: Source, found: Sheet, *, partial: bool) -> tuple[str, Sequence[Problem]]:
    """The hash of a plan's text. A plan of workloads only may lack what they refer to; cells have to be right."""
    try:
        return loads(text, "plan.yaml").snapshot.hash, ()
    except PlanError as error:
        errors = [each for each in error.problems if each.severity is Severity.ERROR]
    wrong = [each for each in errors if not partial or of_the_cell(each.path, found.entries)]
    if wrong:
        grid = source.layout.grid
        faults = []
        for each in wrong:
            at = located(each.path, each.what, each.expected, each.remedy, grid, found.entries)
            plain = Fault(
                file=each.file, cell="", what=f"line {each.line}: {each.path}: {each.what}",
                expected=each.expected, remedy=each.remedy,
            )  # fmt: skip
            faults.append(at or plain)
        raise SheetError(faults)
    return "", errors


# what is said of it -----------------------------------------------------------------------------------------------


def _show_columns(source: Source) -> None:
    console, grid = err(), source.layout.grid
    console.print(f"{grid.file}{f', sheet {grid.sheet}' if grid.sheet else ''}, header in row {source.layout.header}")
    rows = table("CELL", "HEADER", "IS READ AS", "HOW", "E.G.")
    others = [each for each in source.layout.matches if each.how is not How.EXACT]
    for each in others:
        rows.add_row(each.cell.place, each.cell.text, _field(each), Text(each.how, _STYLES.get(each.how, "dim")),
                     _example(source, each))  # fmt: skip
    exact = len(source.layout.matches) - len(others)
    if exact:
        console.print(f"{exact} {'column' if exact == 1 else 'columns'} named as in an export", style="dim")
    if others:
        console.print(rows)
    for line in source.layout.left_out:
        console.print(f"not read: {line}", style="dim")


def _example(source: Source, match: Match) -> str:
    column = match.cell.column - 1
    texts = (row[column].text for row in source.layout.rows if column < len(row) and row[column].text)
    return next(texts, "")[:30]


def _field(match: Match) -> str:
    if match.tier:
        return f"{'weight' if match.weight else 'users'} ({match.tier})"
    return match.field + (f", in {match.unit}" if match.unit else "")


def _show(source: Source, found: Sheet, outcome: Outcome, *, fresh: bool) -> None:
    console = err()
    for warning in found.warnings:
        console.print(Text("warning: ", "bold yellow").append(warning, "default"))
    for each in found.joined:
        console.print(told(each))
    rows = table("WORKLOAD", "FIELD", "IS", "BECOMES")
    for change in outcome.changes[:_MOST_SHOWN]:
        rows.add_row(change.workload, change.field, change.before, change.after or "(taken out)")
    if fresh:
        console.print(f"{len(found.entries)} workloads")
    else:
        console.print(rows if outcome.changes else "nothing changes")
    if len(outcome.changes) > _MOST_SHOWN and not fresh:
        console.print(f"and {len(outcome.changes) - _MOST_SHOWN} changes more", style="dim")
    if outcome.kept:
        console.print(f"not in the sheet, and kept: {', '.join(outcome.kept)}", style="dim")
    if outcome.rewritten:
        names = ", ".join(outcome.rewritten)
        console.print(f"written anew, without the comments they had: {names}", style="yellow")
    if source.rest and not found.rest:
        console.print("its other sheets are not read: they make a plan of their own, without --into", style="dim")
    if outcome.missing:
        console.print(f"before it can be applied, the plan needs {len(outcome.missing)} things more:", style="yellow")
        show_problems(console, [msgspec.structs.replace(each, path="") for each in outcome.missing])


def _refuse(faults: Sequence[Fault], as_json: bool) -> NoReturn:
    if as_json:
        emit({"ok": False, "faults": [msgspec.to_builtins(each) for each in faults]})
    for each in faults:
        err().print(Text("error: ", "bold red").append(str(each), "default"))
    fail(f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}: nothing was written")


def _view(source: Source, found: Sheet, outcome: Outcome, targets: Mapping[Path, str]) -> dict[str, Any]:
    columns = [
        {"cell": each.cell.place, "header": each.cell.text, "field": _field(each), "how": str(each.how)}
        for each in source.layout.matches
    ]
    return {
        "ok": True,
        "file": source.layout.grid.file,
        "sheet": source.layout.grid.sheet,
        "columns": columns,
        "left_out": list(source.layout.left_out),
        "warnings": list(found.warnings),
        "joined": [{**msgspec.to_builtins(each), "wrong": each.wrong} for each in found.joined],
        "changes": [msgspec.to_builtins(each) for each in outcome.changes],
        "kept": list(outcome.kept),
        "rewritten": list(outcome.rewritten),
        "missing": [str(each) for each in outcome.missing],
        "plan": outcome.hash,
        "written": [str(each) for each in targets],
        "text": "" if targets else "".join(outcome.texts.values()),
    }
