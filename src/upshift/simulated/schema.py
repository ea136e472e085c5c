"""What is a value that satisfies a simple JSON schema?"""

from collections.abc import Mapping
from random import Random

_WORDS = ("plan", "gate", "step", "note", "team", "cost", "road", "line")
_FORMATS = {
    "date": "2026-03-14",
    "date-time": "2026-03-14T09:26:53Z",
    "time": "09:26:53Z",
    "duration": "PT5M",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "3f0c2a9e-8f4e-4d0b-9a51-6f2f3f1f5a10",
}
_DEEP = 5

Schema = Mapping[str, object]


def instance(schema: Schema, draws: Random) -> object:
    """A JSON value for a schema made of types, enums, ranges, lengths, formats, local references and any/one/allOf.

    `pattern`, `not` and conditions are not looked at. Optional properties are left out below the fifth level, so that
    recursive schemas end; one that requires itself without end raises ValueError.
    """
    return _value(schema, schema, draws, 0)


def _value(schema: object, root: Schema, draws: Random, depth: int) -> object:
    if not isinstance(schema, Mapping):
        return draws.choice(_WORDS)
    if depth > 40:
        raise ValueError("the schema requires itself without end")
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        return draws.choice(choices)
    for name in ("anyOf", "oneOf"):
        options = schema.get(name)
        if isinstance(options, list) and options:
            return _value(_simplest(options, depth), root, draws, depth + 1)
    match _kind(schema):
        case "object":
            return _object(schema, root, draws, depth)
        case "array":
            return _array(schema, root, draws, depth)
        case "integer":
            return int(_number(schema, draws, 1))
        case "number":
            return _number(schema, draws, 0.5)
        case "boolean":
            return draws.random() < 0.5
        case "null":
            return None
        case _:
            return _text(schema, draws)


def _simplest(options: list[object], depth: int) -> object:
    real = [one for one in options if not (isinstance(one, Mapping) and one.get("type") == "null")]
    if not real or (depth > _DEEP and len(real) < len(options)):
        return {"type": "null"}
    return real[0]


def _kind(schema: Schema) -> object:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is None and "properties" in schema:
        return "object"
    if kind is None and "items" in schema:
        return "array"
    return kind


def _resolved(schema: Schema, root: Schema) -> Schema:
    for _ in range(20):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        found: object = root
        for step in reference.split("/")[1:]:
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            raise ValueError(f"the schema has no {reference}")
        schema = found
    parts = schema.get("allOf")
    if not isinstance(parts, list):
        return schema
    merged: dict[str, object] = {name: value for name, value in schema.items() if name != "allOf"}
    for part in parts:
        if isinstance(part, Mapping):
            _merge(merged, _resolved(part, root))
    return merged


def _merge(merged: dict[str, object], part: Schema) -> None:
    for name, value in part.items():
        before = merged.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[name] = {**before, **value}
        elif name == "required" and isinstance(before, list) and isinstance(value, list):
            merged[name] = before + value
        else:
            merged[name] = value


def _object(schema: Schema, root: Schema, draws: Random, depth: int) -> dict[str, object]:
    properties = schema.get("properties")
    required = schema.get("required")
    known = properties if isinstance(properties, Mapping) else {}
    needed = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    names = needed if depth >= _DEEP else list(dict.fromkeys([*known, *needed]))
    return {name: _value(known.get(name), root, draws, depth + 1) for name in names}


def _array(schema: Schema, root: Schema, draws: Random, depth: int) -> list[object]:
    first = schema.get("prefixItems")
    values = [_value(one, root, draws, depth + 1) for one in first] if isinstance(first, list) else []
    least = _limit(schema, "minItems", 0 if depth >= _DEEP else 1)
    most = _limit(schema, "maxItems", max(least, 2))
    count = int(min(max(least, 1 if depth < _DEEP else 0), most))
    while len(values) < count:
        values.append(_value(schema.get("items"), root, draws, depth + 1))
    return values


def _number(schema: Schema, draws: Random, step: float) -> float:
    step = _limit(schema, "multipleOf", step) or step
    low = max(_limit(schema, "minimum", float("-inf")), _limit(schema, "exclusiveMinimum", float("-inf")) + step)
    high = min(_limit(schema, "maximum", float("inf")), _limit(schema, "exclusiveMaximum", float("inf")) - step)
    if low == float("-inf"):
        low = min(0.0, high)
    first = -(-low // step)
    room = (min(high, low + 100 * step) // step) - first
    value = (first + draws.randint(0, max(0, int(room)))) * step
    # A range narrower than a step, such as 0.1 to 0.2, has no multiple in it unless one was asked for.
    return value if low <= value <= high or "multipleOf" in schema else (low + high) / 2


def _text(schema: Schema, draws: Random) -> str:
    form = schema.get("format")
    if isinstance(form, str) and form in _FORMATS:
        return _FORMATS[form]
    text = " ".join(draws.choice(_WORDS) for _ in range(draws.randint(1, 3)))
    least, most = int(_limit(schema, "minLength", 0)), int(_limit(schema, "maxLength", 1_000_000))
    while len(text) < least:
        text += " " + draws.choice(_WORDS)
    return text[:most]


def _limit(schema: Schema, name: str, otherwise: float) -> float:
    limit = schema.get(name)
    return limit if isinstance(limit, int | float) and not isinstance(limit, bool) else otherwise
