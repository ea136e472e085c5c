"""Where does one server-sent event end and the next begin, however its bytes are split?"""

import re

LARGEST_EVENT = 16 * 1024 * 1024
"""Bytes of one event; what is larger is not taken for an event."""

_CR = 13
_BOM = b"\xef\xbb\xbf"
_BLANK = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")
"""A line end and an empty line (WHATWG HTML, 9.2.5: a line ends with CRLF, LF or CR)."""


class Splitter:
    """Cuts a byte stream into events. Push machine: no event depends on how the stream was split into chunks."""

    __slots__ = ("_held", "broken")

    def __init__(self) -> None:
        self._held = bytearray()
        self.broken = False
        """An event larger than LARGEST_EVENT was met; everything from its start on is dropped."""

    @property
    def holding(self) -> bool:
        """Whether the beginning of an event is held back."""
        return bool(self._held)

    def cut(self, chunk: bytes) -> list[bytes]:
        """Events that are whole now, each with the empty line that ends it."""
        held = self._held
        if self.broken:
            return []
        if not held and chunk.endswith(b"\n\n") and chunk.find(b"\n\n") == len(chunk) - 2 and b"\r" not in chunk:
            return [chunk] if len(chunk) <= LARGEST_EVENT else self._give_up([])
        # The longest line end and empty line is four bytes, so three of those searched before may begin it.
        searched = max(0, len(held) - 3)
        held += chunk
        events: list[bytes] = []
        start = 0
        for blank in _BLANK.finditer(held, searched):
            end = blank.end()
            if end == len(held) and held[end - 1] == _CR:
                # Whether this CR is a line end or half of one is told by the next byte.
                break
            if end - start > LARGEST_EVENT:
                return self._give_up(events)
            events.append(bytes(held[start:end]))
            start = end
        if len(held) - start > LARGEST_EVENT:
            return self._give_up(events)
        del held[:start]
        return events

    def rest(self) -> bytes:
        """Take what is held back: an event whose empty line has not come."""
        rest = bytes(self._held)
        self._held = bytearray()
        return rest

    def _give_up(self, events: list[bytes]) -> list[bytes]:
        self.broken = True
        self._held = bytearray()
        return events


def payload(event: bytes) -> bytes:
    """The data of an event; empty for comments and events without any."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2 and b"\r" not in event:
        # What nearly all events are: one line.
        return event[6:-2]
    lines = [
        line[6:] if line.startswith(b"data: ") else line[5:]
        for line in event.removeprefix(_BOM).splitlines()
        if line.startswith(b"data:") or line == b"data"
    ]
    return lines[0] if len(lines) == 1 else b"\n".join(lines)


def event(data: bytes, name: bytes = b"") -> bytes:
    """An event as it goes out; `data` is one line."""
    return b"event: " + name + b"\ndata: " + data + b"\n\n" if name else b"data: " + data + b"\n\n"
