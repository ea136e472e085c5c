"""Does what is remembered of request heads change nothing but their price, and stay small?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.http.exchange import Headers
from upshift.http.head import RequestHeads, answer_head, head_of, headers_in, lines

NAMES = [b"x", b"x-a", b"connection", b"te", b"host", b"content-length", b"proxy-a", b"X", b"", b"x y"]
VALUES = [b"", b"1", b"x-a", b"close, X", b"a\r\nb: c", b"\n", b"\0", b"a" * 9000]
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=4)


def outcome(heads: RequestHeads, method: bytes, target: bytes, headers: Headers, length: int) -> bytes | None:
    try:
        return head_of(heads.top(method, target, headers), length)
    except ValueError:
        return None


@given(st.lists(st.tuples(st.sampled_from([b"POST", b"GET"]), st.sampled_from([b"/a", b"/b"]), HEADERS), max_size=8))
def test_a_head_does_not_depend_on_those_before_it(calls: list[tuple[bytes, bytes, Headers]]) -> None:
    heads = RequestHeads(b"h")
    for n, (method, target, headers) in enumerate([*calls, *calls]):
        length = n if method == b"POST" else 0
        assert outcome(heads, method, target, headers, length) == outcome(
            RequestHeads(b"h"), method, target, headers, length
        )


@given(HEADERS)
def test_a_head_is_one_request_or_refused(headers: Headers) -> None:
    top = outcome(RequestHeads(b"h"), b"POST", b"/a", headers, 7)
    if top is not None:
        lines = top.split(b"\r\n")
        assert lines[:2] == [b"POST /a HTTP/1.1", b"host: h"]
        assert lines[-3:] == [b"content-length: 7", b"", b""]
        assert all(line.split(b": ")[0] in (b"x", b"x-a") for line in lines[2:-3])
        assert not any(mark in line for line in lines for mark in (b"\r", b"\n", b"\0"))


def test_nothing_is_refused_less_when_it_comes_again() -> None:
    heads = RequestHeads(b"h")
    for _ in range(3):
        assert heads.top(b"POST", b"/a", [(b"x", b"1")])
        with pytest.raises(ValueError, match="CR"):
            heads.top(b"POST", b"/a", [(b"x", b"1\r\n")])
        with pytest.raises(ValueError, match="token"):
            heads.top(b"POST", b"/a", [(b"x:", b"1")])


def test_heads_are_right_while_they_repeat_while_they_do_not_and_after() -> None:
    heads = RequestHeads(b"h")
    for n in [*range(2000), *[7, 8] * 20_000, *range(1500)]:
        assert head_of(heads.top(b"GET", b"/%d" % n, [(b"x-%d" % n, b"1")]), 0) == (
            b"GET /%d HTTP/1.1\r\nhost: h\r\nx-%d: 1\r\n\r\n" % (n, n)
        )


ANSWER_NAMES = [b"x", b"x-a", b"date", b"connection", b"content-length", b"server-timing"]
FRAMING = (b"date", b"connection", b"content-length")
ANSWERED = st.lists(
    st.tuples(st.sampled_from(ANSWER_NAMES), st.sampled_from([b"", b"1", b"a: b", b"a" * 99])), max_size=6
)


@given(ANSWERED, st.integers(0, 6))
def test_lines_written_beforehand_say_what_headers_would(headers: Headers, at: int) -> None:
    kept = [(name, value) for name, value in headers if name not in FRAMING]
    assert headers_in(lines(headers)) == kept
    whole = answer_head(200, b"date: x\r\n", headers)
    assert whole == b"HTTP/1.1 200 OK\r\ndate: x\r\n" + b"".join(b"%b: %b\r\n" % header for header in kept)
    assert answer_head(200, b"date: x\r\n", headers[:at], lines(headers[at:])) == whole


@given(HEADERS)
def test_lines_have_no_break_but_their_own(headers: Headers) -> None:
    kept = [value for name, value in headers if name not in FRAMING]
    if any(mark in value for value in kept for mark in (b"\r", b"\n", b"\0")):
        with pytest.raises(ValueError, match="CR"):
            lines(headers)
    else:
        assert len(lines(headers).split(b"\r\n")) == len(kept) + 1
