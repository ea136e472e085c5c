"""Are events found where the specification has them, however the stream is split?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.traffic.wire.sse import LARGEST_EVENT, Splitter, event, payload, plain


def _cut(*chunks: bytes) -> tuple[list[bytes], bytes]:
    splitter = Splitter()
    found = [each for chunk in chunks for each in splitter.cut(chunk)]
    return found, splitter.rest()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_ends_with_an_empty_line(end: bytes) -> None:
    one, two = b"event: a" + end + b"data: 1" + end + end, b"data:2" + end + end
    found, rest = _cut(one + two + b"data: 3")
    assert (found, rest) == ([one, two], b"data: 3")
    assert [payload(each) for each in found] == [b"1", b"2"]


def test_the_last_cr_may_be_half_of_a_line_end() -> None:
    assert _cut(b"data: 1\r\n\r") == ([], b"data: 1\r\n\r")
    assert _cut(b"data: 1\r\n\r", b"\n") == ([b"data: 1\r\n\r\n"], b"")


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b": comment\n\n", b""),
        (b"data\n\n", b""),
        (b"data:\n\n", b""),
        (b"data:  two spaces\n\n", b" two spaces"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"id: 1\nretry: 5\ndatabase: no\ndata: yes\n\n", b"yes"),
        (b"\xef\xbb\xbfdata: first\n\n", b"first"),
        (b"\n\n", b""),
    ],
)
def test_data_of_an_event(raw: bytes, data: bytes) -> None:
    assert payload(raw) == data


def test_an_event_that_goes_out_comes_in_again() -> None:
    assert payload(event(b"{}", b"ping")) == b"{}"
    assert _cut(event(b"1") + event(b"2", b"x")) == ([event(b"1"), event(b"2", b"x")], b"")


@given(st.lists(st.sampled_from([b"\r", b"\n", b"data: x", b":", b"a"]), max_size=24), st.data())
def test_splitting_changes_nothing(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = _cut(stream)
    assert _cut(*chunks) == whole
    assert b"".join(whole[0]) + whole[1] == stream


LINES = st.lists(
    st.sampled_from([b"event: a", b"data", b"data: 1", b"data:2", b"id: 3", b": 4", b"{}", b""]), max_size=3
)


@given(LINES, st.sampled_from([b"\n", b"\r", b"\r\n"]), LINES, st.sampled_from([b"\n\n", b"\n", b"\r\n\r\n", b""]))
def test_a_plain_event_is_what_is_found_in_it_by_cutting(
    lines: list[bytes], line_end: bytes, more: list[bytes], end: bytes
) -> None:
    chunk = line_end.join(lines) + b"\n".join(more) + end
    if data := plain(chunk):
        assert _cut(chunk) == ([chunk], b"")
        # With a byte order mark before it, an event is never plain.
        assert data == payload(chunk) == payload(b"\xef\xbb\xbf" + chunk)


@pytest.mark.parametrize(
    "chunk",
    [
        b"",
        b"data: \n\n",
        b"data: 1\n",
        b"data: 1\n\n\n",
        b"data: 1\n\ndata: 2\n\n",
        b"data: 1\rdata: 2\n\n",
        b"data: 1\r\n\r\n",
        b"event: a\n\ndata: 1\n\n",
        b"event: a\ndata\ndata: 1\n\n",
        b"event: a data: 1\n\n",
        b"data:1\ndata: 2\n\n",
        b": a\ndata: 1\n\n",
    ],
)
def test_what_is_not_one_event_with_one_line_of_data_is_not_plain(chunk: bytes) -> None:
    assert plain(chunk) == b""


def test_nearly_all_events_are_plain() -> None:
    assert plain(b"data: 1\n\n") == b"1"
    assert plain(b'event: ping\ndata: {"of": "data: 1"}\n\n') == b'{"of": "data: 1"}'


@pytest.mark.parametrize("piece", [1 << 16, LARGEST_EVENT * 2])
def test_an_event_without_end_is_given_up(piece: int) -> None:
    stream = b"data: ok\n\ndata: " + b"x" * LARGEST_EVENT + b"\n\ndata: late\n\n"
    splitter = Splitter()
    found = [each for at in range(0, len(stream), piece) for each in splitter.cut(stream[at : at + piece])]
    assert found == [b"data: ok\n\n"]
    assert splitter.broken
    assert not splitter.holding
    assert splitter.cut(b"data: more\n\n") == []
