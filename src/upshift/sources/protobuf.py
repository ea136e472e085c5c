"""Which fields has a message of protocol buffers (protobuf.dev/programming-guides/encoding), and how is one written?

The few messages of OpenTelemetry's traces do not need the library, which every worker would have to load: 6 MB and
a tenth of a second.
"""

from collections.abc import Iterator

Value = int | bytes
"""A number as its bits (varint, fixed), or bytes: text, bytes or a message within."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_SHIFT = 63


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of each field, in the order of the message. Raises ValueError where it is not one."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise ValueError(f"a field without a number at byte {at}")
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"field {number} has the wire type {wire}, which is none")
        if at + size > end:
            raise ValueError(f"field {number} ends after its message, at byte {at + size} of {end}")
        part = data[at : at + size]
        yield number, part if wire == _BYTES else int.from_bytes(part, "little")
        at += size


def signed(value: int) -> int:
    """The int64 of a varint."""
    return value - (1 << 64) if value >> 63 else value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("the message ends within a number")
        if shift > _MOST_SHIFT:
            raise ValueError(f"a number has more than 10 bytes, before byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7


def varint_field(number: int, value: int) -> bytes:
    """A field with a number of 0 or more."""
    return _encoded(number << 3 | _VARINT) + _encoded(value)


def fixed64_field(number: int, bits: int) -> bytes:
    """A field with 64 bits: a time, or a double as its bits."""
    return _encoded(number << 3 | _FIXED64) + bits.to_bytes(8, "little")


def bytes_field(number: int, value: bytes) -> bytes:
    """A field with bytes, a text or a message."""
    return _encoded(number << 3 | _BYTES) + _encoded(len(value)) + value


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
