"""How does a playbook's file become a book that may be run, or the list of what is wrong with it?"""

import re
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata, resources
from math import isfinite, nan
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from upshift.model.key import Role
from upshift.model.share import parse_share
from upshift.model.span import MICROS
from upshift.plan_file.locate import PLAYBOOK, Node, Path, parse
from upshift.plan_file.problems import PlanError, Problem, nearest, one_of, shown
from upshift.plan_file.schema import DRAFT
from upshift.playbook.advance import FREEZE
from upshift.playbook.book import END, Action, Book, Criterion, Input, OnFail, OnUnclear, Phase, Value
from upshift.playbook.checks import ACTIONS, BUILT_IN, METRIC_NAMES, Check, Kinds, Parameter

GROUP = "upshift.checks"
"""Entry points of this group are checks of one's own."""
SIGNERS = tuple(role.value for role in Role if role not in (Role.CALLER, Role.VIEWER, Role.METRICS))
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(min|m|h|d|w)")
_UNITS = {"m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_LONGEST = 366 * 86_400 * MICROS


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class WrittenInput(_Written):
    """What has to be said when a run is started."""

    says: str = ""
    """What it is, for the person who starts a run."""
    required: str = "true"
    """false where it may be left out."""
    default: str = ""
    """What it is where it is left out."""


class WrittenCriterion(_Written):
    """One thing that has to hold: a check, or a sign-off."""

    check: str = ""
    """The name of a check."""
    sign_off: str | None = Field(default=None, alias="sign-off")
    """The role that has to sign."""
    name: str = ""
    """What it is called; the check's name unless said. Each name once in a phase."""
    parameters: dict[str, str | list[str]] = Field(default={}, alias="with")
    """Parameters of the check."""
    says: str = ""
    """Why it is there."""


class WrittenAction(_Written):
    """One thing to do."""

    do: str
    """The name of an action."""
    parameters: dict[str, str | list[str]] = Field(default={}, alias="with")
    """Parameters of the action."""


class WrittenPhase(_Written):
    """One phase."""

    title: str = ""
    """What people call it."""
    says: str = ""
    """What it is for."""
    entry: list[WrittenCriterion] = []
    """What has to hold to enter it."""
    exit: list[WrittenCriterion] = []
    """What has to hold to leave it."""
    window: str = "0h"
    """How long it lasts at least, like 48h or 7d. Nothing shortens it."""
    extend: str = "0h"
    """By how much the window grows, once, where the evidence is undecided at its end."""
    entering: list[WrittenAction] = []
    """What is done on entering; it is undone in reverse on rolling back."""
    rolling_back: list[WrittenAction] = Field(default=[], alias="rolling-back")
    """What is done besides on rolling back, once everything is undone."""
    on_fail: OnFail = Field(default=OnFail.ROLL_BACK, alias="on-fail")
    """What a FAIL does: roll-back or ask."""
    on_unclear: OnUnclear = Field(default=OnUnclear.ASK, alias="on-unclear")
    """What an UNCLEAR does at once: ask, wait (for the window's end) or roll-back."""
    next: str = ""
    """The phase that follows; the next one in the file unless said, and end ends the run."""


class WrittenBook(_Written):
    """A playbook."""

    playbook: str
    """Its name."""
    title: str = ""
    """What people call it."""
    says: str = ""
    """What it is for."""
    subject: str = ""
    """The input by whose value runs are told apart: one at a time of each."""
    inputs: dict[str, WrittenInput] = {}
    """What has to be said when a run is started."""
    phases: dict[str, WrittenPhase]
    """The phases by name; a run begins with the first."""


class _Faults:
    """Collects problems with their places."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.found: list[Problem] = []

    def add(self, path: Path, what: str, expected: str = "", remedy: str = "", *, key: bool = False) -> None:
        spot = self.root.key_at(path) if key else self.root.at(path)
        self.found.append(
            Problem(
                file=spot.file,
                line=spot.line,
                column=spot.column,
                path=".".join(map(str, path)),
                what=what,
                expected=expected,
                remedy=remedy,
            )
        )


def shipped() -> dict[str, str]:
    """The texts of the playbooks that ship, by name."""
    folder = resources.files("upshift.playbook") / "books"
    return {
        each.name.removesuffix(".yaml"): each.read_text(encoding="utf-8")
        for each in sorted(folder.iterdir(), key=lambda one: one.name)
        if each.name.endswith(".yaml")
    }


def known_checks() -> dict[str, Check]:
    """The checks that ship, and those of installed packages. Raises ValueError for an entry point that is no check,
    or that takes the name of one that ships.
    """
    found = {one.name: one for one in BUILT_IN}
    for point in metadata.entry_points(group=GROUP):
        check = point.load()
        if not isinstance(check, Check):
            raise ValueError(f"the entry point {point.value} of {GROUP} is no upshift.playbook.checks.Check")
        if check.name in found:
            raise ValueError(f"the entry point {point.value} of {GROUP} is called {check.name}, as another check is")
        found[check.name] = check
    return found


def read_book(text: str, name: str = "<playbook>", checks: Mapping[str, Check] | None = None) -> Book:
    """The book of a text, called `name` in messages. Raises PlanError with every problem and its place."""
    root = parse(text, name, PLAYBOOK)
    faults = _Faults(root)
    try:
        written = WrittenBook.model_validate(root.plain())
    except ValidationError as error:
        for each in error.errors(include_url=False):
            _refused(faults, each["loc"], each["type"], each["msg"])
        raise PlanError(faults.found) from None
    book = _Reader(faults, known_checks() if checks is None else checks).book(written)
    if faults.found:
        raise PlanError(sorted(faults.found, key=lambda one: (one.line, one.column)))
    return book


def _refused(faults: _Faults, loc: tuple[int | str, ...], kind: str, message: str) -> None:
    path: Path = tuple(loc)
    while path and path[-1] in ("str", "list[str]"):
        path = path[:-1]
    if kind == "missing":
        faults.add(path[:-1], f"{shown(path[-1])} is missing", remedy=f"Add '{path[-1]}: ...'.")
    elif kind == "extra_forbidden":
        faults.add(path, f"{shown(path[-1])} is not a field here", remedy="See 'upshift playbook schema'.", key=True)
    else:
        faults.add(path, f"{message[0].lower()}{message[1:]}")


class _Reader:
    """What the declared types cannot tell: names, roles, durations, the order of phases."""

    def __init__(self, faults: _Faults, checks: Mapping[str, Check]) -> None:
        self.faults = faults
        self.checks = checks
        self.actions = {one.name: one for one in ACTIONS}

    def book(self, written: WrittenBook) -> Book:
        if not _NAME.fullmatch(written.playbook):
            self.faults.add(("playbook",), f"{shown(written.playbook)} is not a name", "like add-agent")
        inputs = tuple(
            Input(name=name, says=one.says, required=self._flag(("inputs", name, "required"), one), default=one.default)
            for name, one in written.inputs.items()
        )
        if written.subject and written.subject not in written.inputs:
            self.faults.add(("subject",), f"{shown(written.subject)} is not an input", one_of(written.inputs))
        names = list(written.phases)
        if not names:
            self.faults.add(("phases",), "a playbook has at least one phase")
            return Book(name=written.playbook, title=written.title, phases=())
        phases = tuple(
            self._phase(name, one, names[place + 1] if place + 1 < len(names) else END, names)
            for place, (name, one) in enumerate(written.phases.items())
        )
        self._order(phases)
        return Book(
            name=written.playbook,
            title=written.title or written.playbook,
            says=written.says,
            subject=written.subject,
            inputs=inputs,
            phases=phases,
        )

    def _flag(self, path: Path, written: WrittenInput) -> bool:
        if written.required not in ("true", "false"):
            self.faults.add(path, f"{shown(written.required)} is neither true nor false")
        return written.required != "false" and not written.default

    def _phase(self, name: str, written: WrittenPhase, following: str, names: list[str]) -> Phase:
        path: Path = ("phases", name)
        if not _NAME.fullmatch(name) or name == END:
            self.faults.add(path, f"{shown(name)} is not a name for a phase", "like staged", key=True)
        if written.next and written.next not in (*names, END):
            remedy = nearest(written.next, names)
            self.faults.add((*path, "next"), f"{shown(written.next)} is not a phase", one_of([*names, END]), remedy)
        entry = self._criteria((*path, "entry"), written.entry, names)
        exit_ = self._criteria((*path, "exit"), written.exit, names)
        window, extend = (self._window((*path, field), getattr(written, field)) for field in ("window", "extend"))
        if extend and _duration(written.window) == 0:
            self.faults.add((*path, "extend"), "a phase without a window cannot be extended")
        return Phase(
            name=name,
            title=written.title or name,
            says=written.says,
            entry=entry,
            exit=exit_,
            window=window,
            extend=extend,
            entering=self._to_do((*path, "entering"), written.entering, names),
            rolling_back=self._to_do((*path, "rolling-back"), written.rolling_back, names),
            on_fail=written.on_fail,
            on_unclear=written.on_unclear,
            next=written.next or following,
        )

    def _window(self, path: Path, text: str) -> int:
        if text.lstrip().startswith("-"):
            self.faults.add(path, f"{shown(text)} is negative; a window lasts", "like 48h or 7d")
            return 0
        found = _duration(text)
        if found is None or found > _LONGEST:
            self.faults.add(path, f"{shown(text)} is not a duration", "like 48h or 7d, at most a year")
            return 0
        return found

    def _criteria(self, path: Path, written: list[WrittenCriterion], names: list[str]) -> tuple[Criterion, ...]:
        found: dict[str, Criterion] = {}
        for place, one in enumerate(written):
            here = (*path, place)
            made = self._criterion(here, one, names)
            if made is None:
                continue
            if not _NAME.fullmatch(made.name):
                self.faults.add((*here, "name"), f"{shown(made.name)} is not a name", "like contracts-read")
            if made.name == FREEZE.name:
                what = f"{shown(made.name)} is what keeps a gate shut in a freeze"
                self.faults.add((*here, "name"), what, "another name")
            if made.name in found:
                remedy = "Add 'name: ...' to one of them."
                self.faults.add(here, f"{shown(made.name)} is there twice", "each name once", remedy)
            found[made.name] = made
        return tuple(found.values())

    def _criterion(self, path: Path, written: WrittenCriterion, names: list[str]) -> Criterion | None:
        signed = "sign_off" in written.model_fields_set
        if bool(written.check) == signed:
            remedy = "Write 'check: NAME' or 'sign-off: ROLE'."
            self.faults.add(path, "a criterion is a check or a sign-off, one of the two", "", remedy)
            return None
        if not written.check:
            if written.sign_off not in SIGNERS:
                expected = one_of(SIGNERS)
                what = "the role is missing" if not written.sign_off else f"{shown(written.sign_off)} is not a role"
                self.faults.add((*path, "sign-off"), what, expected, nearest(written.sign_off or "", SIGNERS))
                return None
            if written.parameters:
                self.faults.add((*path, "with"), "a sign-off has no parameters", key=True)
            name = written.name or f"signed-by-{written.sign_off}"
            return Criterion(name=name, signer=written.sign_off, says=written.says)
        check = self.checks.get(written.check)
        if check is None:
            remedy = nearest(written.check, self.checks)
            self.faults.add((*path, "check"), f"{shown(written.check)} is not a check", one_of(self.checks), remedy)
            return None
        values = self._parameters((*path, "with"), written.parameters, check.parameters, names)
        return Criterion(name=written.name or check.name, check=check.name, parameters=values, says=written.says)

    def _to_do(self, path: Path, written: list[WrittenAction], names: list[str]) -> tuple[Action, ...]:
        found = []
        for place, one in enumerate(written):
            kind = self.actions.get(one.do)
            if kind is None:
                remedy = nearest(one.do, self.actions)
                self.faults.add((*path, place, "do"), f"{shown(one.do)} is not an action", one_of(self.actions), remedy)
                continue
            here = (*path, place, "with")
            found.append(
                Action(do=kind.name, parameters=self._parameters(here, one.parameters, kind.parameters, names))
            )
        return tuple(found)

    def _parameters(
        self, path: Path, written: Mapping[str, str | list[str]], known: tuple[Parameter, ...], names: list[str]
    ) -> dict[str, Value]:
        by_name = {one.name: one for one in known}
        found: dict[str, Value] = {}
        for name, text in written.items():
            parameter = by_name.get(name)
            if parameter is None:
                what = f"{shown(name)} is not a parameter here"
                self.faults.add((*path, name), what, one_of(by_name) or "none", nearest(name, by_name), key=True)
                continue
            try:
                value = _READ[parameter.kind](text)
            except ValueError as error:
                self.faults.add((*path, name), str(error), parameter.says)
                continue
            found[name] = value
            if parameter.least is not None and isinstance(value, int | float) and value < parameter.least:
                self.faults.add((*path, name), f"{shown(text)} is too few", f"at least {parameter.least:g}")
            if name == "since" and text not in names:
                self.faults.add((*path, name), f"{shown(text)} is not a phase", one_of(names))
        for parameter in known:
            if parameter.required and parameter.name not in written:
                what = f"{shown(parameter.name)} is missing"
                self.faults.add(path, what, f"{parameter.kind}: {parameter.says}", f"Add '{parameter.name}: ...'.")
        return found

    def _order(self, phases: tuple[Phase, ...]) -> None:
        by_name = {one.name: one for one in phases}
        seen = [phases[0].name]
        while (following := by_name[seen[-1]].next) != END and following in by_name:
            if following in seen:
                path = ("phases", seen[-1], "next")
                ring = " -> ".join([*seen[seen.index(following) :], following])
                self.faults.add(path, f"the phases go round in a circle: {ring}", "a way to the end")
                break
            seen.append(following)
        for one in phases:
            if one.name not in seen:
                self.faults.add(("phases", one.name), f"nobody reaches the phase {shown(one.name)}", key=True)


def _duration(text: str) -> int | None:
    found = _DURATION.fullmatch(text.strip())
    return None if found is None else int(float(found[1]) * _UNITS[found[2]] * MICROS)


def _text(written: str | list[str]) -> str:
    if isinstance(written, list):
        raise ValueError("this is a list; one text is expected")
    return written


def _texts(written: str | list[str]) -> tuple[str, ...]:
    return tuple(written) if isinstance(written, list) else (written,)


def _number(written: str | list[str]) -> float:
    try:
        found = float(_text(written))
    except ValueError:
        found = nan
    # What is not finite compares with nothing, so that a bound would never be reached; and JSON has no word for it.
    if not isfinite(found):
        raise ValueError(f"{shown(written)} is not a number")
    return found


def _span(written: str | list[str]) -> int:
    found = _duration(_text(written))
    if found is None:
        raise ValueError(f"{shown(written)} is not a duration like 48h")
    return found


def _flagged(written: str | list[str]) -> bool:
    if written not in ("true", "false"):
        raise ValueError(f"{shown(written)} is neither true nor false")
    return written == "true"


def _metrics(written: str | list[str]) -> tuple[str, ...]:
    for one in (found := _texts(written)):
        _metric(one)
    if not found:
        raise ValueError("the list is empty; name one metric at least")
    if twice := next((one for one in found if found.count(one) > 1), ""):
        raise ValueError(f"{shown(twice)} is there twice")
    return found


def _metric(written: str | list[str]) -> str:
    name = _text(written)
    if name not in METRIC_NAMES:
        raise ValueError(f"{shown(name)} is not a metric; there are {', '.join(METRIC_NAMES)}")
    return name


_READ: dict[Kinds, Callable[[str | list[str]], Value]] = {
    Kinds.TEXT: _text,
    Kinds.TEXTS: _texts,
    Kinds.NUMBER: _number,
    Kinds.SHARE: lambda written: parse_share(_text(written)),
    Kinds.DURATION: _span,
    Kinds.FLAG: _flagged,
    Kinds.METRIC: _metric,
    Kinds.METRICS: _metrics,
}


def book_schema(checks: Mapping[str, Check] | None = None) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a playbook, with the names of the checks, actions and roles there are."""
    schema = WrittenBook.model_json_schema()
    parts = schema["$defs"]
    known = known_checks() if checks is None else checks
    parts["WrittenCriterion"]["properties"]["check"]["enum"] = sorted(known)
    parts["WrittenCriterion"]["properties"]["sign-off"] = {"enum": list(SIGNERS), "description": "Who has to sign."}
    parts["WrittenAction"]["properties"]["do"]["enum"] = sorted(one.name for one in ACTIONS)
    scalar = {"type": ["string", "number", "boolean"]}
    for part in ("WrittenCriterion", "WrittenAction"):
        # What is written 500 or true is read as text: the parameter decides what it means.
        parts[part]["properties"]["with"]["additionalProperties"] = {
            "anyOf": [scalar, {"type": "array", "items": scalar}]
        }
    parts["WrittenInput"]["properties"]["required"] = {"enum": [True, False], "description": "May it be left out?"}
    return {"$schema": DRAFT, **schema, "title": "Upshift playbook"}


def references(book: Book) -> Iterator[str]:
    """The names of all checks that a book uses."""
    return (one.check for phase in book.phases for one in (*phase.entry, *phase.exit) if one.check)
