"""What does an editor need to know to complete and check a plan while it is written?"""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from upshift.plan_file.declared import Plan
from upshift.plan_file.figures import kept
from upshift.plan_file.parts import meanings
from upshift.planning.outline import Spread

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a plan. It knows types and spellings; what refers to what is for the check."""
    schema: dict[str, Any] = _tidy(Plan.model_json_schema(schema_generator=_Described))
    schema["properties"]["upshift"]["enum"] = [1, "1"]
    del schema["properties"]["upshift"]["const"], schema["properties"]["upshift"]["type"]
    return {"$schema": DRAFT, **schema, "title": "Upshift plan"}


class _Described(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return kept(dft) if isinstance(dft, Spread) else super().encode_default(dft)

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        part: type[BaseModel] = schema["cls"]
        for name, text in meanings(part).items():
            field = part.model_fields[name]
            found["properties"][field.alias or name].setdefault("description", text)
        return found


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
        elif key == "oneOf":
            # One of them is told by looking at the value, which an editor cannot: it would find that two fit.
            tidy["anyOf"] = [_tidy(each) for each in value]
        elif key not in {"title", "discriminator"} and not (key == "default" and value is None):
            tidy[key] = _tidy(value)
    if "patternProperties" in tidy:
        # A name of another pattern is refused by the check; without this an editor would take whatever is in it.
        tidy["additionalProperties"] = False
    return tidy
