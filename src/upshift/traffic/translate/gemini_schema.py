"""What does a schema of Gemini's own kind, a part of OpenAPI's, say in JSON Schema?"""

from typing import Any

import msgspec

_KEPT = frozenset(
    ("title", "description", "default", "pattern", "minimum", "maximum", "required", "enum", "additionalProperties")
)
_COUNTS = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"))
_SNAKE = {"any_of": "anyOf", "min_items": "minItems", "max_items": "maxItems", "min_length": "minLength"} | {
    "max_length": "maxLength",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
}
_DEEPEST = 200


def json_schema(raw: msgspec.Raw) -> msgspec.Raw:
    """The schema as JSON Schema; nothing where it is no schema at all."""
    try:
        return msgspec.Raw(msgspec.json.encode(_turned(msgspec.json.decode(raw), 0)))
    except (ValueError, RecursionError):
        return msgspec.Raw()


def _turned(node: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError("a schema that is nested too deeply")
    if isinstance(node, list):
        return [_turned(each, depth + 1) for each in node]
    if not isinstance(node, dict):
        return node
    out: dict[str, Any] = {}
    for said, value in node.items():
        name = _SNAKE[said] if said in _SNAKE else str(said)
        match name:
            case "type" if isinstance(value, str):
                if value.upper() != "TYPE_UNSPECIFIED":
                    out["type"] = value.lower()
            case "properties" if isinstance(value, dict):
                out[name] = {key: _turned(each, depth + 1) for key, each in value.items()}
            case "items" | "anyOf":
                out[name] = _turned(value, depth + 1)
            case "format" if value != "enum":
                out[name] = value
            case "example":
                out["examples"] = [value]
            case _ if name in _COUNTS:
                # An int64 is a text in the JSON of a protocol buffer.
                out[name] = int(value) if isinstance(value, str) else value
            case _ if name in _KEPT or name.startswith("$"):
                out[name] = value
    if node.get("nullable") is True:
        _or_null(out)
    return out


def _or_null(out: dict[str, Any]) -> None:
    if "type" in out:
        out["type"] = [out["type"], "null"]
        if isinstance(out.get("enum"), list):
            out["enum"] = [*out["enum"], None]
    elif isinstance(out.get("anyOf"), list):
        out["anyOf"] = [*out["anyOf"], {"type": "null"}]
