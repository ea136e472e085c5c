"""Which schema do observed payloads suggest? A draft for a person to review; nothing applies it."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_FEW = 8
"""At most so many different values are taken for a list of choices."""
_OFTEN = 4
"""Each of them has to have been seen so often on average; else they are taken for free text."""
_LONGEST_CHOICE = 40
_FORMATS: Mapping[str, re.Pattern[str]] = {
    "date-time": re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)"),
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "uuid": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "email": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+"),
    "uri": re.compile(r"[a-z][a-z0-9+.-]*://[^\s]+"),
}
_FORMATS_NEED = 3
"""Texts of one form that are needed before it is taken for a rule."""
_DEEPEST = 30


def draft(samples: Iterable[Any]) -> dict[str, Any]:
    """A JSON Schema that takes every sample (JSON values). Raises ValueError where there is none.

    A field is required if it was in all of them. Objects stay open: what was not seen yet is no error. Choices and
    formats are suggested only where there is enough to see.
    """
    seen = list(samples)
    if not seen:
        raise ValueError("there are no payloads to draft a schema from")
    return {"$schema": _DRAFT, **_of(seen, 0)}


def _of(values: Sequence[Any], depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        return {}
    kinds = sorted({_kind(each) for each in values})
    if "integer" in kinds and "number" in kinds:
        kinds.remove("integer")
    schema: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds}
    if kinds == ["string"]:
        schema |= _text([each for each in values if isinstance(each, str)])
    objects = [each for each in values if isinstance(each, dict)]
    if objects:
        schema |= _object(objects, depth)
    items = [item for each in values if isinstance(each, list) for item in each]
    if items:
        schema["items"] = _of(items, depth + 1)
    return schema


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case dict():
            return "object"
        case list():
            return "array"
    raise ValueError(f"{type(value).__name__} is no JSON value")


def _text(values: Sequence[str]) -> dict[str, Any]:
    counted = Counter(values)
    if (
        len(counted) <= _FEW
        and len(values) >= _OFTEN * len(counted)
        and all(0 < len(each) <= _LONGEST_CHOICE for each in counted)
    ):
        return {"enum": sorted(counted)}
    if len(counted) >= _FORMATS_NEED:
        for name, pattern in _FORMATS.items():
            if all(pattern.fullmatch(each) for each in counted):
                return {"format": name}
    return {}


def _object(values: Sequence[dict[str, Any]], depth: int) -> dict[str, Any]:
    fields: dict[str, list[Any]] = {}
    for each in values:
        for name, value in each.items():
            fields.setdefault(name, []).append(value)
    schema: dict[str, Any] = {"properties": {name: _of(seen, depth + 1) for name, seen in sorted(fields.items())}}
    required = sorted(name for name, seen in fields.items() if len(seen) == len(values))
    return schema | ({"required": required} if required else {})


def samples_in(lines: Iterable[str]) -> list[Any]:
    """The payloads of JSON lines; empty lines count for nothing. Raises ValueError with the line that is none."""
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"line {number} is not JSON: {error}") from None
    return found
