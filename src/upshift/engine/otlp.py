"""How are spans and histograms written as OTLP in protocol buffers (opentelemetry-proto 1.x)?"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from upshift.engine.genai import CallSpan, Value
from upshift.sources.protobuf import bytes_field, fixed64_field, varint_field

SCOPE = "upshift"
_CLIENT = 3
_ERROR = 2
_CUMULATIVE = 2


class Distribution:
    """A histogram of one set of attributes, since a process began to count."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.least = self.most = 0.0

    def add(self, value: float) -> None:
        self.least = value if not self.count else min(self.least, value)
        self.most = max(self.most, value)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)


class Instrument:
    """A named histogram, with a distribution for each set of attributes."""

    def __init__(self, name: str, unit: str, what: str, bounds: Sequence[float]) -> None:
        self.name = name
        self.unit = unit
        self.what = what
        self._bounds = bounds
        self.points: dict[tuple[tuple[str, Value], ...], Distribution] = {}

    def add(self, attributes: Mapping[str, Value], value: float) -> None:
        key = tuple(sorted(attributes.items()))
        found = self.points.get(key)
        if found is None:
            found = self.points[key] = Distribution(self._bounds)
        found.add(value)


def traces(spans: Iterable[CallSpan], resource: Mapping[str, str], version: str) -> bytes:
    """An ExportTraceServiceRequest."""
    written = b"".join(bytes_field(2, _span(span)) for span in spans)
    return bytes_field(1, _resource(resource) + bytes_field(2, _scope(version) + written))


def metrics(
    instruments: Iterable[Instrument], since: int, now: int, resource: Mapping[str, str], version: str
) -> bytes:
    """An ExportMetricsServiceRequest: what was counted from `since` until `now`, nanoseconds since the epoch."""
    written = b"".join(bytes_field(2, _metric(each, since, now)) for each in instruments if each.points)
    return bytes_field(1, _resource(resource) + bytes_field(2, _scope(version) + written))


def _resource(attributes: Mapping[str, str]) -> bytes:
    return bytes_field(1, _pairs(1, attributes))


def _scope(version: str) -> bytes:
    return bytes_field(1, _text(1, SCOPE) + _text(2, version))


def _span(span: CallSpan) -> bytes:
    status = bytes_field(15, varint_field(3, _ERROR)) if span.error else b""
    return b"".join(
        (
            bytes_field(1, span.trace),
            bytes_field(2, span.id),
            _text(5, span.name),
            varint_field(6, _CLIENT),
            fixed64_field(7, span.start),
            fixed64_field(8, span.end),
            _pairs(9, span.attributes),
            status,
        )
    )


def _metric(instrument: Instrument, since: int, now: int) -> bytes:
    points = b"".join(bytes_field(1, _point(key, each, since, now)) for key, each in instrument.points.items())
    histogram = points + varint_field(2, _CUMULATIVE)
    return b"".join(
        (
            _text(1, instrument.name),
            _text(2, instrument.what),
            _text(3, instrument.unit),
            bytes_field(9, histogram),
        )
    )


def _point(key: tuple[tuple[str, Value], ...], found: Distribution, since: int, now: int) -> bytes:
    return b"".join(
        (
            fixed64_field(2, since),
            fixed64_field(3, now),
            fixed64_field(4, found.count),
            fixed64_field(5, _bits(found.sum)),
            bytes_field(6, struct.pack(f"<{len(found.counts)}Q", *found.counts)),
            bytes_field(7, struct.pack(f"<{len(found.bounds)}d", *found.bounds)),
            _pairs(9, dict(key)),
            fixed64_field(11, _bits(found.least)),
            fixed64_field(12, _bits(found.most)),
        )
    )


def _pairs(number: int, attributes: Mapping[str, Value]) -> bytes:
    """Repeated KeyValue."""
    return b"".join(
        bytes_field(number, _text(1, key) + bytes_field(2, _value(value))) for key, value in attributes.items()
    )


def _value(value: Value) -> bytes:
    """AnyValue."""
    match value:
        case bool():
            return varint_field(2, value)
        case int():
            return varint_field(3, value & 0xFFFF_FFFF_FFFF_FFFF)
        case float():
            return fixed64_field(4, _bits(value))
        case _:
            return _text(1, value)


def _text(number: int, text: str) -> bytes:
    return bytes_field(number, text.encode("utf-8", "replace"))


def _bits(value: float) -> int:
    return int.from_bytes(struct.pack("<d", value), "little")
