"""Does a changed contract still take what it took before, as its version promises?"""

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import jsonschema_rs
import msgspec

from upshift.model.contract import Interface

_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains")
_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains")
_OTHER = ("pattern", "format", "const", "multipleOf", "not", "if", "propertyNames", "contains", "dependentRequired")
_DEEPEST = 40


class Answer(StrEnum):
    """Whether all that was taken still is. Only YES is a pass."""

    YES = "yes"
    NO = "no"
    CANNOT_TELL = "cannot tell"


class Compatibility(msgspec.Struct, frozen=True):
    """The answer, and what breaks, each with its place like properties.query."""

    answer: Answer
    breaks: tuple[str, ...] = ()


_TAKES_ALL = Compatibility(Answer.YES)


def takes_all(old: str, new: str) -> Compatibility:
    """Whether the schema `new` takes every payload that `old` took; both as JSON, empty for none.

    That it does is proven, by containment of the two in canonical form. Where it is neither proven nor refuted, and
    nothing that is narrower can be pointed at, nobody can tell.
    """
    if old == new or not new:
        return _TAKES_ALL
    before, after = json.loads(old) if old else True, json.loads(new)
    found = _covers(before, after)
    if found == jsonschema_rs.canonical.Containment.YES:
        return _TAKES_ALL
    breaks = tuple(dict.fromkeys(_narrower(before, after, "")))
    if breaks:
        return Compatibility(Answer.NO, breaks)
    if found == jsonschema_rs.canonical.Containment.NO:
        return Compatibility(Answer.NO, ("something that it took is refused now",))
    return Compatibility(Answer.CANNOT_TELL)


def _covers(before: Any, after: Any) -> jsonschema_rs.canonical.Containment:
    try:
        was, now = (jsonschema_rs.canonicalize(each, validate_formats=True, offline=True) for each in (before, after))
        return now.covers(was)
    except (jsonschema_rs.ValidationError, jsonschema_rs.canonical.CanonicalizationError):
        return jsonschema_rs.canonical.Containment.UNKNOWN


def objections(old: Mapping[str, Interface], new: Mapping[str, Interface]) -> tuple[str, ...]:
    """Why the contracts of a new plan may not follow those of the old one: what breaks within a major version."""
    return tuple(text for name in sorted(old.keys() & new.keys()) for text in _objections(old[name], new[name]))


def _objections(old: Interface, new: Interface) -> Iterator[str]:
    was, now = old.version, new.version
    if was is None or now is None or (old.caller, old.callee) != (new.caller, new.callee):
        return
    if now < was:
        yield f"contract {new.name}: version {now} comes after {was}; versions only rise"
    if now.major != was.major:
        return
    remedy = f"take it back, or make it version {was.major + 1}.0.0"
    for what, before, after in (
        ("requests", old.request.payload, new.request.payload),
        ("responses", old.response.payload, new.response.payload),
    ):
        found = takes_all(before, after)
        match found.answer:
            case Answer.NO:
                listed = "; ".join(found.breaks)
                yield f"contract {new.name} {was} -> {now} no longer takes {what} that it took: {listed}. {remedy}"
            case Answer.CANNOT_TELL:
                text = f"contract {new.name} {was} -> {now}: whether it takes all {what} that it took cannot be told. "
                yield text + f"Say it in simpler words, or make it version {was.major + 1}.0.0"
            case Answer.YES:
                pass
        if now == was and before != after and found.answer is Answer.YES:
            yield f"contract {new.name}: the schema of {what} changed, and its version is still {was}; raise it"


def _narrower(old: Any, new: Any, where: str, depth: int = 0) -> Iterator[str]:
    """What a schema no longer takes, as far as one can point at it."""
    if new is False and old is not False:
        yield f"{where or 'everything'} is refused"
        return
    if not isinstance(new, dict) or depth > _DEEPEST:
        return
    before = old if isinstance(old, dict) else {}
    place = where or "the payload"
    yield from _types(before, new, place)
    yield from _limits(before, new, place)
    yield from _objects(before, new, where, depth)
    if "items" in new:
        yield from _narrower(before.get("items", True), new["items"], f"{where}[]", depth + 1)


def _types(old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[str]:
    was, now = _list(old.get("type")), _list(new.get("type"))
    if now is not None:
        lost = [each for each in was or () if each not in now and not (each == "integer" and "number" in now)]
        if was is None:
            yield f"{place} must be {' or '.join(now)} now"
        elif lost:
            yield f"{place} may no longer be {' or '.join(lost)}"
    if isinstance(new.get("enum"), list):
        said = old.get("enum", [old["const"]] if "const" in old else None)
        gone = [each for each in said if each not in new["enum"]] if isinstance(said, list) else None
        if gone is None:
            yield f"{place} must be one of a list now"
        elif gone:
            yield f"{place} may no longer be {', '.join(json.dumps(each) for each in gone)}"
    for key in _OTHER:
        if key in new and new[key] != old.get(key) and not (key == "const" and old.get("enum") == [new[key]]):
            yield f"{place} has another {key}" if key in old else f"{place} has a {key} now"


def _limits(old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[str]:
    for key in (*_LEAST, *_MOST):
        was, now = old.get(key), new.get(key)
        if now is None or isinstance(now, bool) or not isinstance(now, (int, float)):
            continue
        tighter = not isinstance(was, (int, float)) or (now > was if key in _LEAST else now < was)
        if tighter and not (was is None and key in _LEAST and key.startswith("min") and key != "minimum" and now <= 0):
            yield f"{place} has {key} {now}" + (f" instead of {was}" if was is not None else " now")
    if new.get("uniqueItems") is True and old.get("uniqueItems") is not True:
        yield f"{place} may no longer repeat items"


def _objects(old: Mapping[str, Any], new: Mapping[str, Any], where: str, depth: int) -> Iterator[str]:
    prefix = f"{where}." if where else ""
    for name in _list(new.get("required")) or ():
        if name not in (_list(old.get("required")) or ()):
            yield f"{prefix}{name} is required now"
    was, now = (each.get("properties") or {} for each in (old, new))
    rest = old.get("additionalProperties", True)
    closed = new.get("additionalProperties", True)
    for name, schema in now.items():
        if name not in was and rest is True and schema is not True:
            yield f"{prefix}{name} could be anything, for the object was open, and is described now"
        else:
            yield from _narrower(was.get(name, rest), schema, f"{prefix}{name}", depth + 1)
    for name, schema in was.items():
        if name not in now:
            if closed is False:
                yield f"{prefix}{name} is no longer a field"
            else:
                yield from _narrower(schema, closed, f"{prefix}{name}", depth + 1)
    if closed is False and rest is not False:
        yield f"{where or 'the payload'} takes no other fields any more"
    elif closed is not False:
        yield from _narrower(rest, closed, f"{prefix}*", depth + 1)


def _list(value: Any) -> list[Any] | None:
    if value is None:
        return None
    return value if isinstance(value, list) else [value]
