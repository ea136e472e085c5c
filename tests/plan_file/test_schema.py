"""Is the published JSON Schema the current one, and does it take what the check takes?"""

import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import create_model

from upshift.plan_file import json_schema
from upshift.plan_file.parts import Declared, meanings

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "plan.schema.json"
REFRESH = "run: upshift plan schema | tee docs/plan.schema.json > src/upshift/plan_file/plan.schema.json"


def test_the_published_schema_is_the_current_one_and_ships_with_the_package() -> None:
    assert json.loads(PUBLISHED.read_text()) == json_schema(), REFRESH
    shipped = resources.files("upshift.plan_file") / "plan.schema.json"
    assert shipped.read_text() == PUBLISHED.read_text(), REFRESH


class Meant(Declared):
    first: int
    """What the first is for."""
    second: int


def test_what_fields_are_for_is_read_once_and_of_nothing_without_its_source() -> None:
    assert meanings(Meant) == {"first": "What the first is for."}
    # A plan may lack thousands of fields, each of which is told of with its meaning.
    assert meanings(Meant) is meanings(Meant)
    assert meanings(create_model("Unwritten", __base__=Declared, first=(int, 1))) == {}


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a schema."""
    if isinstance(schema, dict):
        yield schema
        for each in schema.values():
            yield from parts(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from parts(each)


def test_examples_of_the_schema_fit_their_own_patterns() -> None:
    tried = 0
    for part in parts(json_schema()):
        pattern, examples = part.get("pattern"), part.get("examples")
        if isinstance(pattern, str) and isinstance(examples, list):
            for example in examples:
                if isinstance(example, str):
                    assert re.search(pattern, example), (pattern, example)
                    tried += 1
    assert tried > 40


def fits(value: Any, schema: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Whether a plan's value fits a schema, as far as plans need it: types, references, choices, fields, patterns."""
    if "$ref" in schema:
        inner: dict[str, Any] = whole["$defs"][schema["$ref"].rpartition("/")[2]]
        return fits(value, inner, whole)
    if "anyOf" in schema:
        return any(fits(value, each, whole) for each in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    if "const" in schema:
        return bool(value == schema["const"])
    kinds = schema.get("type", [])
    names = {str: "string", bool: "boolean", dict: "object", list: "array"}
    named = {names.get(type(value), "number"), "integer" if type(value) is int else ""}
    if kinds and not named & set([kinds] if isinstance(kinds, str) else kinds):
        return False
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, list):
        return all(fits(each, schema.get("items", {}), whole) for each in value)
    if not isinstance(value, dict):
        return True
    own, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    if not set(schema.get("required", ())) <= value.keys():
        return False
    by_pattern = schema.get("patternProperties", {})
    if by_pattern:
        ((pattern, inner),) = by_pattern.items()
        return all(re.search(pattern, key) and fits(each, inner, whole) for key, each in value.items())
    return all(
        fits(each, own[key], whole)
        if key in own
        else others is not False and fits(each, others if isinstance(others, dict) else {}, whole)
        for key, each in value.items()
    )


PLANS = [
    ROOT / "examples/scale-out/plan.yaml",
    ROOT / "src/upshift/cli/starter/plan.yaml",
    ROOT / "tests/plan_file/good.yaml",
]


@pytest.mark.parametrize("file", PLANS, ids=lambda file: str(file.parent.name))
def test_plans_fit_the_schema(file: Path) -> None:
    schema = json_schema()
    # Editors read a date as the text it is.
    data = json.loads(json.dumps(yaml.safe_load(file.read_text()), default=str))
    assert fits(data, schema, schema)
    data["workloads"]["x"] = {"gaet": "chat"}
    assert not fits(data, schema, schema)


def test_what_is_no_figure_does_not_fit_the_schema() -> None:
    schema = json_schema()
    estimate = schema["$defs"]["Estimate"]
    good = {"sessions": 18, "tokens": "520k", "cached": "40%..60%", "session": {"p10": "5m", "p90": "20m"}, "ops": "6h"}
    assert fits(good, estimate, schema)
    for field, value in (("tokens", "1,5M"), ("cached", "lots"), ("session", 12), ("ops", ["6h"]), ("sesions", 18)):
        assert not fits(good | {field: value}, estimate, schema), field
