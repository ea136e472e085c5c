"""Does an instance satisfy its schema?"""

from random import Random
from typing import Any, get_args

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.simulated.schema import instance


class Leaf(pydantic.BaseModel):
    kind: str = pydantic.Field(min_length=3, max_length=8)
    weight: float = pydantic.Field(gt=0.1, lt=0.2)
    size: int = pydantic.Field(ge=-5, le=-2, multiple_of=2)


class Tree(pydantic.BaseModel):
    name: str
    leaf: Leaf
    leaves: list[Leaf] = pydantic.Field(min_length=2, max_length=3)
    children: list["Tree"] = []
    parent: "Tree | None" = None
    pair: tuple[int, str]
    flag: bool
    when: "str | int"


@given(st.integers(0, 2**64))
def test_a_recursive_model_validates(draw: int) -> None:
    Tree.model_validate(instance(Tree.model_json_schema(), Random(draw)))


@pytest.mark.parametrize(
    ("schema", "kinds"),
    [
        ({"const": 7}, int),
        ({"enum": ["a", "b"]}, str),
        ({"type": ["null", "integer"]}, int),
        ({"type": "null"}, type(None)),
        ({"type": "boolean"}, bool),
        ({}, str),
        ({"properties": {"a": True}, "required": ["a", "b"]}, dict),
        ({"items": {"type": "number", "exclusiveMaximum": -3}}, list),
        ({"type": "string", "format": "uuid"}, str),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, int),
        ({"oneOf": [{"type": "null"}]}, type(None)),
    ],
)
def test_each_kind(schema: dict[str, Any], kinds: type) -> None:
    assert isinstance(instance(schema, Random(1)), get_args(kinds) or kinds)


def test_parts_are_merged() -> None:
    schema = {
        "$defs": {"a": {"type": "object", "properties": {"x": {"const": 1}}, "required": ["x"]}},
        "allOf": [{"$ref": "#/$defs/a"}, {"properties": {"y": {"const": 2}}, "required": ["y"]}],
    }
    assert instance(schema, Random(1)) == {"x": 1, "y": 2}


def test_a_schema_that_cannot_end_or_that_is_missing_is_refused() -> None:
    endless = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    with pytest.raises(ValueError, match="without end"):
        instance(endless, Random(1))
    with pytest.raises(ValueError, match="nowhere"):
        instance({"$ref": "#/$defs/nowhere"}, Random(1))
