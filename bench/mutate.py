"""What do damaged, strange and hostile versions of a recorded body or stream look like?"""

import copy
import json
from random import Random
from typing import Any

SIZES = (1, 17, 17, 200, 200, 1 << 20, 1 << 20)
"""Bytes of a chunk. One byte each is slow, and seldom says more than seventeen."""
_LARGEST = 8_000
"""Bytes; what doubles again and again says nothing new."""
_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, 2**63, -(2**64), 10**40, "", " ", "\x00", "\ud800", "é" * 50, "data:,", "[DONE]",
    "data:image/png;base64,AA==", [], {}, [[]], [None], [{}], {"type": "text"}, {"type": None}, {"": ""}, [1, "a", {}],
)  # fmt: skip
_ODD_BYTES = (
    b"\x00", b"\xff", b'"', b"\\", b"{", b"}", b"[", b"]", b"\n", b"\r", b"\n\n", b"data:", b"event:", b":", b",",
    b"null", b"1e999", b"\\ud800", b"\xf0\x9f",
)  # fmt: skip


def body(draw: Random, seeds: list[bytes]) -> bytes:
    """A JSON body that is not quite one of `seeds`: wrong within its values, or within its bytes."""
    seed = draw.choice(seeds)
    if draw.random() < 0.7:
        value = json.loads(seed)
        for _ in range(draw.choice((1, 1, 1, 2, 4, 8))):
            value = _changed(draw, value, seeds)
        seed = json.dumps(value, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")
    return damaged(draw, seed, seeds) if draw.random() < 0.4 else seed


def stream(draw: Random, seeds: list[bytes]) -> bytes:
    """A stream of events that is not quite one of `seeds`: in another order, with wrong data, or with wrong bytes."""
    events = draw.choice(seeds).split(b"\n\n")
    if draw.random() < 0.3:
        events += draw.choice(seeds).split(b"\n\n")
    for _ in range(draw.choice((0, 1, 1, 2, 4))):
        at = draw.randrange(len(events))
        match draw.randrange(5):
            case 0:
                del events[at]
                events = events or [b""]
            case 1:
                events.insert(at, draw.choice(events))
            case 2:
                draw.shuffle(events)
            case _:
                events[at] = _event(draw, events[at], seeds)
    found = draw.choice((b"\n\n", b"\n\n", b"\n\n", b"\r\n\r\n", b"\r\r")).join(events)
    return damaged(draw, found, seeds) if draw.random() < 0.3 else found


def pieces(draw: Random, data: bytes) -> list[bytes]:
    """The same bytes as they may arrive."""
    size = draw.choice(SIZES)
    return [data[at : at + size] for at in range(0, len(data), size)]


def damaged(draw: Random, data: bytes, seeds: list[bytes]) -> bytes:
    """Bytes lost, doubled, changed, or put in from elsewhere."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(len(found) + 1)
        to = min(len(found), at + draw.choice((1, 1, 4, 50)))
        match draw.randrange(5):
            case 0:
                del found[at:to]
            case 1:
                found[at:at] = found[at:to]
            case 2:
                found[at:to] = draw.randbytes(to - at)
            case 3:
                found[at:at] = draw.choice(_ODD_BYTES)
            case _:
                other = draw.choice(seeds)
                start = draw.randrange(len(other))
                found[at:to] = other[start : start + 60]
    return bytes(found)


def _event(draw: Random, event: bytes, seeds: list[bytes]) -> bytes:
    head, found, data = event.partition(b"data: ")
    try:
        value = json.loads(data)
    except ValueError:
        return damaged(draw, event, seeds)
    return head + found + json.dumps(_changed(draw, value, [])).encode()


def _changed(draw: Random, value: Any, seeds: list[bytes]) -> Any:
    """The value with one place in it changed."""
    places = list(_places(value))
    if not places:
        return copy.deepcopy(draw.choice(_ODD))
    holder, key = draw.choice(places)
    # The odd values are shared, and lists among them could be put into themselves.
    odd = copy.deepcopy(draw.choice(_ODD))
    match draw.randrange(7):
        case 0:
            del holder[key]
        case 1:
            copied = json.dumps(draw.choice(places)[0])
            if len(copied) < _LARGEST:
                holder[key] = json.loads(copied)
        case 2 if isinstance(holder, list):
            holder.insert(draw.randrange(len(holder) + 1), odd)
        case 2:
            holder[draw.choice(("type", "id", "extra", "", "content", "text", "name"))] = odd
        case 3 if seeds:
            other = list(_places(json.loads(draw.choice(seeds))))
            if other:
                there, name = draw.choice(other)
                holder[key] = there[name]
        case 4:
            holder[key] = [holder[key]]
        case 5:
            holder[key] = {draw.choice(("type", "text", "a")): holder[key]}
        case _:
            holder[key] = odd
    return value


def _places(value: Any) -> Any:
    if isinstance(value, dict):
        for name, each in value.items():
            yield value, name
            yield from _places(each)
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield value, at
            yield from _places(each)
