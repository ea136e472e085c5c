"""Is a payload held against its schema, with the place of what does not fit, and is nothing ever fetched?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.model.contract import Direction, Interface
from upshift.model.ids import AgentId
from upshift.traffic.contracts import MOST_VIOLATIONS, SchemaError, checks_of, compiled, violations

SCHEMA = {
    "type": "object",
    "required": ["question"],
    "properties": {
        "question": {"type": "string", "maxLength": 20},
        "depth": {"type": "integer", "maximum": 5},
        "to": {"type": "array", "items": {"type": "string", "format": "email"}},
        "at": {"$ref": "#/$defs/place"},
    },
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "required": ["lat"]}},
}


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        ({"question": "why"}, []),
        ({"question": "why", "depth": 5.0, "to": ["ada@acme.example"]}, []),
        ({}, ["p.question"]),
        ({"question": 3}, ["p.question"]),
        ({"question": "why", "depth": 6}, ["p.depth"]),
        ({"question": "why", "to": ["ada@acme.example", "ada"]}, ["p.to[1]"]),
        ({"question": "why", "at": {}}, ["p.at.lat"]),
        ({"question": "why", "shell": "rm"}, ["p.shell"]),
        ("why", ["p"]),
        ({"question": "x" * 21, "depth": "deep"}, ["p.depth", "p.question"]),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(payload: Any, where: list[str]) -> None:
    found = violations(compiled(SCHEMA), [("p", payload)])
    assert sorted(each.where for each in found) == where
    assert all(each.what and str(each).startswith(each.where) for each in found)


def test_no_schema_lets_anything_through() -> None:
    assert violations(None, [("p", {"any": "thing"})]) == ()


def test_a_long_value_is_not_repeated_whole() -> None:
    (found,) = violations(compiled(SCHEMA), [("p", {"question": "x" * 1_000_000})])
    assert len(str(found)) < 400
    assert "is longer than 20 characters" in found.what


def test_a_flood_of_violations_is_cut() -> None:
    check = compiled({"items": {"type": "string"}})
    assert len(violations(check, [("p", list(range(1000)))])) == MOST_VIOLATIONS


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"a": {"$ref": "https://example.com/a"}}},
        {"$id": "https://example.com/", "$ref": "other"},
        {"$ref": "#/$defs/none"},
        {"type": "strin"},
        {"properties": {"a": {"minimum": "3"}}},
        {"pattern": "("},
        {"pattern": "(?=a)b"},
    ],
)
def test_a_schema_that_cannot_be_used_or_leads_out_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaError) as refused:
        compiled(schema)
    assert refused.value.what


def test_the_place_in_a_bad_schema_is_told() -> None:
    with pytest.raises(SchemaError) as refused:
        compiled({"properties": {"a": {"minimum": "3"}}})
    assert refused.value.where == ("properties", "a", "minimum")


def test_a_pattern_does_not_stop_the_gateway() -> None:
    check = compiled({"type": "string", "pattern": "^(a+)+$"})
    assert len(violations(check, [("p", "a" * 50_000 + "!")])) == 1


def test_checks_of_a_plan_are_by_interface() -> None:
    found = checks_of(
        [
            Interface(
                name="one",
                caller=AgentId("a"),
                callee=AgentId("b"),
                request=Direction(payload=json.dumps(SCHEMA)),
            )
        ]
    )
    assert found["one"].response is None
    assert violations(found["one"].request, [("p", {})])


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner)
                    | st.dictionaries(st.text(max_size=3), inner), max_leaves=6))  # fmt: skip
def test_any_json_is_taken_or_refused_never_raised(payload: Any) -> None:
    found = violations(compiled(SCHEMA), [("p", payload)])
    fits = isinstance(payload, dict) and isinstance(payload.get("question"), str)
    assert fits or found
