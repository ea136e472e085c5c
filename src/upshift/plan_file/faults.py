"""How does what the declared types refuse read to the person who wrote it?"""

import re
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from upshift.plan_file.declared import Plan
from upshift.plan_file.locate import Node, Path, Spot
from upshift.plan_file.parts import RULE_TAG, TIERS_TAG, meanings
from upshift.plan_file.problems import Problem, Severity, nearest, one_of, shown

_ROUNDS = 6
_MAPPING_TYPES = frozenset(("dict_type", "model_type", "model_attributes_type"))
_FILLERS = {"upshift": "1", "name": "plan"}
_QUOTED = re.compile(r"'([^']*)'")


class Findings:
    """Collects the problems of one plan. Nothing is reported about what is already known to be wrong."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.problems: list[Problem] = []
        self.spoiled: set[Path] = set()
        self._names: dict[str, tuple[str, ...]] = {}

    def names(self, section: str) -> tuple[str, ...]:
        """The names in a section of the text: what is written wrong there is reported once, not wherever it is used."""
        found = self._names.get(section)
        if found is None:
            found = self._names[section] = self.root.names(section)
        return found

    def report(
        self,
        path: Path,
        what: str,
        *,
        value: str = "",
        expected: str = "",
        remedy: str = "",
        key: bool = False,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Adds a problem with the value at `path`, or with its key. `path` may name what is missing."""
        if self._spoils(path):
            return
        spot = self.root.key_at(path) if key else self.root.at(path)
        self._add(spot, path, what, value, expected, remedy, severity)

    def warn(self, path: Path, what: str, *, value: str = "", remedy: str = "", key: bool = False) -> None:
        """Adds a warning."""
        self.report(path, what, value=value, remedy=remedy, key=key, severity=Severity.WARNING)

    def unknown(
        self, path: Path, name: str, kind: str, known: Iterable[str], remedy: str = "", *, key: bool = False
    ) -> None:
        """Adds that `name` is not among the `known` things of a kind, e.g. 'a gate'."""
        names = list(known)
        expected = one_of(names) or f"{kind}, but the plan defines none"
        best = remedy or nearest(name, names)
        self.report(path, f"{shown(name)} is not {kind}", value=name, expected=expected, remedy=best, key=key)

    def spoiled_within(self, path: Path) -> bool:
        """Whether something in the value at `path` is known to be wrong, so that it may only seem to be missing."""
        return any(spoiled[: len(path)] == path for spoiled in self.spoiled)

    def reported(self, path: Path) -> bool:
        """Whether there is a problem with exactly this."""
        return any(problem.path == _dotted(path) for problem in self.problems)

    def sorted(self) -> list[Problem]:
        """The problems in the order of the text, each once."""
        return sorted(dict.fromkeys(self.problems), key=lambda each: (each.file, each.line, each.column))

    def _spoils(self, path: Path) -> bool:
        return any(path[:depth] in self.spoiled for depth in range(1, len(path) + 1))

    def _add(
        self, spot: Spot, path: Path, what: str, value: str, expected: str, remedy: str, severity: Severity
    ) -> None:
        self.problems.append(
            Problem(
                severity=severity,
                file=spot.file,
                line=spot.line,
                column=spot.column,
                path=_dotted(path),
                value=value[:200],
                what=what,
                expected=expected,
                remedy=remedy,
            )
        )

    def refused(self, error: ErrorDetails) -> Path:
        """Adds a problem for an error of the declared types. Returns the path to drop, for the rest to be read."""
        path, is_key = self._path_of(error["loc"])
        kind, ctx = error["type"], error.get("ctx", {})
        if kind == "missing":
            if self._spoils(path):
                return path[:-1]
            what = f"{shown(path[-1])} is missing"
            remedy = f"Add '{path[-1]}: ...'."
            self._add(self.root.at(path), path, what, "", description(path), remedy, Severity.ERROR)
            return path[:-1]
        if kind == "extra_forbidden":
            fields, field = fields_at(path[:-1]), str(path[-1])
            what = f"{shown(field)} is not a field here"
            remedy = nearest(field, fields)
            self._add(self.root.key_at(path), path, what, field, one_of(fields), remedy, Severity.ERROR)
            return path
        value = error["input"]
        what, expected, remedy = _words(kind, ctx, value, error["msg"])
        spot = self.root.key_at(path) if is_key else self.root.at(path)
        written = value if isinstance(value, str) and not ctx.get("secret") else ""
        self._add(spot, path, what, written, expected, remedy, Severity.ERROR)
        return path

    def _path_of(self, loc: tuple[int | str, ...]) -> tuple[Path, bool]:
        """An error's place in the text: without the marks that pydantic puts into it. And whether a key is meant."""
        path: Path = ()
        for index, step in enumerate(loc):
            inner = self.root.get((*path, step)) is not None
            if step in {RULE_TAG, TIERS_TAG} and not inner:
                continue
            if step == "[key]" and not inner:
                return path, True
            written = getattr(self.root.get(path), "content", None)
            if not inner and isinstance(written, list) and isinstance(step, str) and index < len(loc) - 1:
                # The short form of a list: `premium: [a]` for `premium: {models: [a]}`.
                continue
            if not inner and not isinstance(written, dict):
                # A short form, such as `month: 200k` for `month: {tokens: 200k}`.
                return path, False
            path = (*path, step)
            if not inner:
                return (path if index == len(loc) - 1 else path[:-1]), False
        return path, False


def read(findings: Findings) -> Plan | None:
    """The declared plan of a text without what is wrong, which is reported; None when too little is left."""
    data = findings.root.plain()
    _write_schemas(data, findings.root)
    for _ in range(_ROUNDS):
        try:
            return Plan.model_validate(data)
        except ValidationError as error:
            for each in error.errors(include_url=False):
                spoiled = findings.refused(each)
                spoiled = next((spoiled[:i] for i, step in enumerate(spoiled) if isinstance(step, int)), spoiled)
                findings.spoiled.add(spoiled or ("upshift",))
                _drop(data, spoiled)
            data.update({key: value for key, value in _FILLERS.items() if data.get(key) is None})
    return None


def _write_schemas(data: dict[str, Any], root: Node) -> None:
    """JSON Schemas are the one part of a plan in which 3 and '3' differ."""
    for name in root.names("interfaces"):
        for field in ("request", "response"):
            node = root.get(("interfaces", name, field, "payload"))
            if node is not None:
                data["interfaces"][name][field]["payload"] = node.literal()


def _dotted(path: Path) -> str:
    return ".".join(str(step) for step in path)


def _drop(data: dict[str, Any], path: Path) -> None:
    inner: Any = data
    for step in path[:-1]:
        inner = inner.get(step) if isinstance(inner, dict) else None
    if path and isinstance(inner, dict):
        inner.pop(path[-1], None)


def _words(kind: str, ctx: Mapping[str, Any], value: Any, message: str) -> tuple[str, str, str]:
    """What is wrong, what was expected, and a remedy."""
    found = _found(value)
    if kind == "unfit":
        return str(ctx["what"]), str(ctx["expected"]), str(ctx["remedy"])
    if kind in {"enum", "literal_error"}:
        valid = _QUOTED.findall(str(ctx.get("expected", "")))
        remedy = nearest(value, valid) if isinstance(value, str) else ""
        return f"{found} is not a choice", one_of(valid), remedy
    if kind in _MAPPING_TYPES:
        return f"this is {found}", "a mapping (name: value)", ""
    if kind == "list_type":
        return f"this is {found}", "a list", f"Write [{value}]." if isinstance(value, str) else ""
    if kind == "string_type":
        return f"this is {found}", "text", ""
    if kind.startswith("int_"):
        return f"{found} is not a whole number", "a whole number like 1000", ""
    if kind == "too_short":
        return "the list is empty", "at least one", ""
    return f"{found} does not fit", message[0].lower() + message[1:], ""


def _found(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return shown(value)


def fields_at(path: Path) -> tuple[str, ...]:
    """The fields that may be written at `path`; none where names are free."""
    found = _type_at(path)
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        return ()
    return tuple(field.alias or name for name, field in found.model_fields.items())


def description(path: Path) -> str:
    """What the field at `path` is for."""
    owner = _type_at(path[:-1])
    if not (isinstance(owner, type) and issubclass(owner, BaseModel)):
        return ""
    found = {owner.model_fields[name].alias or name: text for name, text in meanings(owner).items()}
    text = " ".join(found.get(str(path[-1]), "").split()).rstrip(".")
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _field(owner: type[BaseModel], name: str) -> FieldInfo | None:
    found = owner.model_fields.get(name)
    if found is not None and found.alias is None:
        return found
    return next((field for field in owner.model_fields.values() if field.alias == name), None)


def _type_at(path: Path) -> Any:
    found: Any = Plan
    for step in path:
        found = _bare(found)
        if isinstance(found, type) and issubclass(found, BaseModel):
            field = _field(found, str(step))
            found = field.annotation if field is not None else None
        elif get_origin(found) in {dict, list}:
            found = get_args(found)[-1]
        else:
            return None
    return _bare(found)


def _bare(annotation: Any) -> Any:
    """The type that has parts, out of Annotated and optional ones."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _bare(get_args(annotation)[0])
    if origin in {Union, UnionType}:
        parts = [_bare(each) for each in get_args(annotation)]
        with_parts = [each for each in parts if get_origin(each) in {dict, list} or isinstance(each, type)]
        return next((each for each in with_parts if each is not type(None)), None)
    return annotation
