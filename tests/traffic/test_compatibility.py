"""Does a new version of a contract take all that the old one took? If it cannot be told, that is no yes."""

import copy
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upshift.model.contract import Direction, Interface, Version
from upshift.model.ids import AgentId
from upshift.traffic.compatibility import Answer, objections, takes_all
from upshift.traffic.contracts import compiled

OLD: dict[str, Any] = {
    "type": "object",
    "required": ["q"],
    "properties": {
        "q": {"enum": ["a", "b"]},
        "n": {"type": "number", "maximum": 9},
        "t": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
        "o": {"type": "object", "properties": {"x": {"type": "integer"}}, "additionalProperties": False},
    },
}

Change = Callable[[dict[str, Any]], Any]


def changed(change: Change) -> str:
    schema = copy.deepcopy(OLD)
    change(schema)
    return json.dumps(schema)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: None,
        lambda s: s.pop("required"),
        lambda s: s["properties"]["q"].update(enum=["a", "b", "c"]),
        lambda s: s["properties"]["n"].update(maximum=10),
        lambda s: s["properties"]["t"].pop("maxItems"),
        lambda s: s["properties"]["o"]["properties"].update(y={"type": "string"}),
        lambda s: s["properties"]["o"].pop("additionalProperties"),
        lambda s: s["properties"]["n"].update(type=["number", "null"]),
        lambda s: s.update(description="The same, in other words."),
    ],
)
def test_what_takes_more_is_compatible(change: Change) -> None:
    assert takes_all(json.dumps(OLD), changed(change)).answer is Answer.YES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s["required"].append("n"), "n is required now"),
        (lambda s: s["properties"]["n"].update(type="integer"), "n may no longer be number"),
        (lambda s: s["properties"]["q"].update(enum=["a"]), 'q may no longer be "b"'),
        (lambda s: s["properties"]["n"].update(maximum=8), "n has maximum 8 instead of 9"),
        (lambda s: s["properties"]["n"].update(minimum=1), "n has minimum 1 now"),
        (lambda s: s.update(additionalProperties=False), "the payload takes no other fields any more"),
        (lambda s: s["properties"].update(z={"type": "string"}), "z could be anything"),
        (lambda s: s["properties"]["o"]["properties"].pop("x"), "o.x is no longer a field"),
        (lambda s: s["properties"]["t"]["items"].update(format="email"), "t[] has a format now"),
        (lambda s: s["properties"]["t"]["items"].update(pattern="^a"), "t[] has a pattern now"),
        (lambda s: s["properties"]["t"].update(uniqueItems=True), "t may no longer repeat items"),
        (lambda s: s["properties"].update(n=False), "n is refused"),
        (lambda s: s.update(allOf=[{"required": ["n"]}]), "something that it took is refused now"),
    ],
)
def test_what_takes_less_says_what_breaks(change: Change, words: str) -> None:
    found = takes_all(json.dumps(OLD), changed(change))
    assert found.answer is Answer.NO
    assert any(words in each for each in found.breaks), found


def test_what_cannot_be_told_is_no_yes() -> None:
    found = takes_all(json.dumps(OLD), changed(lambda s: s.update(unevaluatedProperties=False)))
    assert found.answer is Answer.CANNOT_TELL


def test_a_schema_where_there_was_none_takes_less_and_none_where_there_was_one_takes_more() -> None:
    assert takes_all("", json.dumps(OLD)).answer is Answer.NO
    assert takes_all(json.dumps(OLD), "").answer is Answer.YES


SIMPLE = st.sampled_from(
    [{"type": "string"}, {"type": "integer"}, {"type": "number"}, {"enum": ["a", 1]}, {"type": ["string", "null"]}, {},
     {"type": "integer", "minimum": 0}, {"type": "string", "maxLength": 2}]
)  # fmt: skip
SCHEMAS = st.builds(
    lambda fields, required, closed: {
        "type": "object",
        "properties": fields,
        "required": sorted(required),
        **({"additionalProperties": False} if closed else {}),
    },
    st.dictionaries(st.sampled_from("ab"), SIMPLE, max_size=2),
    st.sets(st.sampled_from("ab")),
    st.booleans(),
)
PAYLOADS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from("abc"), st.sampled_from(["a", "abc", 1, -1, 1.5, None, []])
)


@settings(max_examples=150)
@given(SCHEMAS, SCHEMAS, PAYLOADS)
def test_a_yes_holds_for_every_payload(old: Any, new: Any, payload: Any) -> None:
    if takes_all(json.dumps(old), json.dumps(new)).answer is Answer.YES and compiled(old).is_valid(payload):
        assert compiled(new).is_valid(payload)


def interface(version: str, schema: Any = OLD, **more: Any) -> dict[str, Interface]:
    made = Interface(
        name="plan-research",
        caller=AgentId("planner"),
        callee=AgentId("researcher"),
        version=Version(*map(int, version.split("."))),
        request=Direction(payload=json.dumps(schema)),
    )
    return {made.name: msgspec.structs.replace(made, **more)}


NARROW = OLD | {"required": ["q", "n"]}
WIDE = OLD | {"required": []}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (interface("1.0.0"), interface("1.0.0"), None),
        (interface("1.0.0"), interface("1.1.0", WIDE), None),
        (interface("1.0.0"), interface("2.0.0", NARROW), None),
        (interface("1.0.0"), interface("1.1.0", NARROW), "no longer takes requests that it took: n is required now"),
        (interface("1.0.0"), interface("1.0.0", WIDE), "its version is still 1.0.0"),
        (interface("1.1.0"), interface("1.0.0"), "versions only rise"),
        (interface("1.0.0"), interface("1.1.0", OLD | {"unevaluatedProperties": False}), "cannot be told"),
        (interface("1.0.0"), interface("1.1.0", NARROW, callee=AgentId("writer")), None),
        (interface("1.0.0"), {}, None),
        (
            {"plan-research": msgspec.structs.replace(interface("1.0.0")["plan-research"], version=None)},
            interface("1.1.0"),
            None,
        ),
    ],
)
def test_a_plan_keeps_what_versions_promise(
    old: dict[str, Interface], new: dict[str, Interface], words: str | None
) -> None:
    found = objections(old, new)
    assert (words is None) == (not found)
    assert words is None or words in found[0]
