"""Does a payload fit its contract, and if not, which field is it?"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import jsonschema_rs
import msgspec

from upshift.model.contract import Direction, Interface
from upshift.model.refusal import ContractBroken

MOST_VIOLATIONS = 20
"""So many are told of one message; the rest is rarely read."""
_LONGEST = 300

Path: TypeAlias = tuple[str | int, ...]
Payload: TypeAlias = tuple[str, Any]
"""Where it stands in the message, and the payload itself."""


class SchemaError(ValueError):
    """A JSON Schema that cannot be used: where in it, and why."""

    def __init__(self, where: Path, what: str) -> None:
        super().__init__(what)
        self.where = where
        self.what = what


class Violation(msgspec.Struct, frozen=True):
    """A field that does not fit: `where` it is, like message.parts[0].data.query, and what is wrong with it."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Checks(msgspec.Struct, frozen=True):
    """The schemas of one interface, compiled. None: anything goes."""

    request: jsonschema_rs.Validator | None
    response: jsonschema_rs.Validator | None


def compiled(schema: Any) -> jsonschema_rs.Validator:
    """A schema, ready to check with. Draft 2020-12 unless it says otherwise. Raises SchemaError.

    Nothing is ever fetched: a $ref has to lead within the schema. Patterns are matched in time that is linear in
    the text, so that no payload can stop the gateway.
    """
    try:
        return jsonschema_rs.validator_for(
            schema, validate_formats=True, offline=True, pattern_options=jsonschema_rs.RegexOptions()
        )
    except jsonschema_rs.ValidationError as error:
        raise SchemaError(tuple(error.instance_path), error.message) from error
    except ValueError as error:
        raise SchemaError((), str(error)) from error


def checks_of(interfaces: Iterable[Interface]) -> Mapping[str, Checks]:
    """The compiled schemas of interfaces by name: once per plan, not per call. Raises SchemaError."""
    return {each.name: Checks(_compiled(each.request), _compiled(each.response)) for each in interfaces}


def _compiled(direction: Direction) -> jsonschema_rs.Validator | None:
    return compiled(json.loads(direction.payload)) if direction.payload else None


def violations(check: jsonschema_rs.Validator | None, payloads: Iterable[Payload]) -> tuple[Violation, ...]:
    """What does not fit, at most `MOST_VIOLATIONS`, each with the path of its field."""
    found: list[Violation] = []
    for where, payload in payloads if check is not None else ():
        assert check is not None
        for error in check.iter_errors(payload):
            if len(found) == MOST_VIOLATIONS:
                return tuple(found)
            found.append(Violation(_short(where + _steps(_field(error))), _short(error.message)))
    return tuple(found)


def broken(interface: Interface, found: Sequence[Violation]) -> ContractBroken:
    """The refusal of a message with these violations."""
    return ContractBroken(interface.name, str(interface.version), tuple((each.where, each.what) for each in found))


def _field(error: jsonschema_rs.ValidationError) -> Path:
    """The field that an error is about: one that is missing or too many is named, rather than what it is missing in."""
    path: Path = tuple(error.instance_path)
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.Required(property=name):
            return (*path, name)
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties(unexpected=[name, *_]):
            return (*path, name)
    return path


def _short(text: str) -> str:
    # A message quotes the value first, which may be as long as the payload, and then says what is wrong with it.
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 3]} … {text[-_LONGEST * 2 // 3 :]}"


def _steps(path: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
