"""Is every body understood or refused with a place, and is nothing but the asked fields changed?"""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.wire.vectors import CLAUDE_BODY, OPENAI_BODY, dumps

from upshift.model.refusal import BadRequest, Reason, Refused
from upshift.traffic.snapshot import Dialect
from upshift.traffic.wire.ask import Ask
from upshift.traffic.wire.body import open_body
from upshift.traffic.wire.wires import WIRES

BODIES: dict[Dialect, dict[str, Any]] = {Dialect.OPENAI: OPENAI_BODY, Dialect.ANTHROPIC: CLAUDE_BODY}
BOTH = pytest.mark.parametrize("dialect", list(BODIES))


def _refusal(dialect: Dialect, body: bytes) -> BadRequest:
    with pytest.raises(Refused) as caught:
        WIRES[dialect].read(body)
    assert isinstance(caught.value.reason, BadRequest)
    return caught.value.reason


@BOTH
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"{}x",
        b"\xef\xbb\xbf{}",
        b'{"a":NaN}',
        b'{"a":01}',
        b'{"a":"\xff"}',
        b'{"\xff":1}',
        b'{"a":"\\ud800"}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "{}".encode("utf-16"),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_unsound_bodies_are_refused(dialect: Dialect, body: bytes) -> None:
    assert _refusal(dialect, body).where == "body"


@BOTH
def test_nesting_that_is_too_deep_by_the_time_of_rewriting_is_refused(dialect: Dialect) -> None:
    with pytest.raises(Refused):
        WIRES[dialect].rewrite(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", model="m")


@BOTH
@pytest.mark.parametrize("spaced", [False, True])
def test_a_field_that_comes_twice_is_refused(dialect: Dialect, spaced: bool) -> None:
    body = json.dumps(BODIES[dialect], separators=None if spaced else (",", ":")).encode()
    twice = body[:1] + (b'"model": "cheap", ' if spaced else b'"model":"cheap",') + body[1:]
    assert "twice" in _refusal(dialect, twice).what
    last = body[:-1] + b', "stream": false}'
    assert "twice" in _refusal(dialect, last).what
    same = body[:-1] + b', "stream": true}'
    assert "twice" in _refusal(dialect, same).what
    escaped = body.replace(b'"model"', b'"\\u006dodel"')
    assert "escaped" in _refusal(dialect, escaped).what


NAMES = [b"a", b"b", b"", b'a\\"b', b"\\\\", b"\\u0061", b'a\\": 1, \\"b', "é".encode()]
VALUES = [b"1", b"12", b'"a"', b'", "', b'": "', b'{"a": 1}', b'{"a":1,"a":2}', b"[1, 2]", b'"\\\\"', b"1}"]


@given(
    members=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=4),
    between=st.sampled_from([b", ", b",", b" , "]),
    colon=st.sampled_from([b": ", b" :"]),
    end=st.sampled_from([b"}", b"} ", b" }", b", }", b"}}"]),
)
def test_spaces_do_not_decide_whether_a_field_comes_twice(
    members: list[tuple[bytes, bytes]], between: bytes, colon: bytes, end: bytes
) -> None:
    """A space at the beginning is never written by Python's json: such a body is always walked."""
    body = b"{" + between.join(b'"' + name + b'"' + colon + value for name, value in members) + end
    assert _opened(body) == _opened(b" " + body)


def _opened(body: bytes) -> dict[str, msgspec.Raw] | str:
    try:
        _, fields = open_body(body, msgspec.json.Decoder(object), capitals=True)
    except Refused as refused:
        # An offset counts the space, too.
        return refused.reason.what.partition(" (byte ")[0] if isinstance(refused.reason, BadRequest) else ""
    return fields


@BOTH
@pytest.mark.parametrize("indent", [None, 0, 4])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_spaces_and_escapes_in_values_change_nothing(dialect: Dialect, indent: int | None, ascii_only: bool) -> None:
    wire, value = WIRES[dialect], BODIES[dialect]
    spaced = b" \r\n\t" + json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode() + b"\n "
    plain = wire.read(dumps(value))
    assert msgspec.structs.replace(wire.read(spaced), text_bytes=plain.text_bytes) == plain


@BOTH
@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user", "content": "a"}, 7]}, "messages[1]"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": 7}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "messages[0].content[0]"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": "100"}, "max_tokens"),
        ({"max_tokens": 10**10}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"tools": {}}, "tools"),
    ],
    ids=repr,
)
def test_a_wrong_field_is_named(dialect: Dialect, change: dict[str, Any], where: str) -> None:
    refusal = _refusal(dialect, dumps(BODIES[dialect] | change))
    assert refusal.where == where
    assert "found" in refusal.what or "range" in refusal.what
    assert len(refusal.what) < 300


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"user": {}}, "user"),
    ],
    ids=repr,
)
def test_a_wrong_field_of_chat_completions_is_named(change: dict[str, Any], where: str) -> None:
    assert _refusal(Dialect.OPENAI, dumps(OPENAI_BODY | change)).where == where


@BOTH
@given(body=st.binary(max_size=200))
def test_any_bytes_are_understood_or_refused(dialect: Dialect, body: bytes) -> None:
    _read_or_refuse(dialect, body)
    WIRES[dialect].answer(body)


@BOTH
@given(data=st.data())
def test_any_change_to_a_body_is_understood_or_refused(dialect: Dialect, data: st.DataObject) -> None:
    body = bytearray(dumps(BODIES[dialect]))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 4))] = data.draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b"null", b"[", b"{", b'"', b"-1", b"1e9", b"\\u0000"]))
        )
        if not body:
            return
    _read_or_refuse(dialect, bytes(body))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@BOTH
@given(data=st.data())
def test_any_value_in_any_field_is_understood_or_refused(dialect: Dialect, data: st.DataObject) -> None:
    value = BODIES[dialect] | {data.draw(st.sampled_from(sorted(BODIES[dialect]))): data.draw(JSON)}
    _read_or_refuse(dialect, json.dumps(value).encode())


def _read_or_refuse(dialect: Dialect, body: bytes) -> None:
    found: Ask | Reason
    try:
        found = WIRES[dialect].read(body)
    except Refused as refused:
        found = refused.reason
    if isinstance(found, Ask):
        assert found.model
        assert 0 <= found.text_bytes <= len(body)
    else:
        assert isinstance(found, BadRequest)


@BOTH
@given(
    extra=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters='"\\'), max_size=8), JSON
    ),
    model=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    bound=st.none() | st.integers(1, 10**6),
    usage=st.booleans(),
)
def test_rewriting_keeps_all_other_fields(
    dialect: Dialect, extra: dict[str, Any], model: str | None, bound: int | None, usage: bool
) -> None:
    wire = WIRES[dialect]
    body = dumps(extra | BODIES[dialect])
    out = wire.rewrite(body, model=model, max_output=bound, include_usage=usage)
    before = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    after = msgspec.json.decode(out, type=dict[str, msgspec.Raw])
    touched = {"model", "max_tokens"}
    assert list(after) == list(before)
    assert {k: bytes(v) for k, v in before.items() if k not in touched} == {
        k: bytes(v) for k, v in after.items() if k not in touched
    }
    if model is not None:
        assert json.loads(bytes(after["model"])) == model
    if bound is not None:
        assert json.loads(bytes(after["max_tokens"])) == bound


@BOTH
def test_nothing_to_change_is_the_same_object(dialect: Dialect) -> None:
    wire, body = WIRES[dialect], dumps(BODIES[dialect])
    assert wire.rewrite(body) is body
    same = BODIES[dialect]
    assert wire.rewrite(body, model=same["model"], max_output=same["max_tokens"], include_usage=True) is body
