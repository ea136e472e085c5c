"""What does an editor need to know to complete and check a plan while it is written?"""

from typing import Any

from upshift.plan_file.declared import Plan

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a plan. It knows types and spellings; what refers to what is for the check."""
    schema: dict[str, Any] = _tidy(Plan.model_json_schema())
    schema["properties"]["upshift"]["enum"] = [1, "1"]
    del schema["properties"]["upshift"]["const"], schema["properties"]["upshift"]["type"]
    return {"$schema": DRAFT, **schema, "title": "Upshift plan"}


def _tidy(part: Any) -> Any:
    """Without generated titles, nulls and line breaks, which an editor would only repeat."""
    if isinstance(part, list):
        return [_tidy(each) for each in part]
    if not isinstance(part, dict):
        return part
    tidy: dict[str, Any] = {}
    for key, value in part.items():
        if key == "properties":
            tidy[key] = {name: _tidy(field) for name, field in value.items()}
        elif key == "description":
            tidy[key] = " ".join(value.split())
        elif key == "anyOf" and {"type": "null"} in value:
            rest = [_tidy(each) for each in value if each != {"type": "null"}]
            tidy.update(rest[0] if len(rest) == 1 else {"anyOf": rest})
        elif key != "title" and not (key == "default" and value is None):
            tidy[key] = _tidy(value)
    return tidy
