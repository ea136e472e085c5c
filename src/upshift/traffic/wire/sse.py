"""Where does one server-sent event end and the next begin, however its bytes are split?"""

import re

LARGEST_EVENT = 16 * 1024 * 1024
"""Bytes of one event; what is larger is not taken for an event."""

_CR = 13
"""A number: bytes that are looked for with `in` are first taken for one, which raises inside."""
_BOM = b"\xef\xbb\xbf"
_BLANK = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")
"""A line end and an empty line (WHATWG HTML, 9.2.5: a line ends with CRLF, LF or CR)."""


class Splitter:
    """Cuts a byte stream into events. Push machine: no event depends on how the stream was split into chunks."""

    __slots__ = ("_held", "broken", "holding")

    def __init__(self) -> None:
        self._held = bytearray()
        self.holding = False
        """The beginning of an event is held back."""
        self.broken = False
        """An event larger than LARGEST_EVENT was met; everything from its start on is dropped."""

    def cut(self, chunk: bytes) -> list[bytes]:
        """Events that are whole now, each with the empty line that ends it."""
        held = self._held
        if self.broken:
            return []
        if not held and len(chunk) <= LARGEST_EVENT and _CR not in chunk:
            # What nearly all others are: whole lines from the first byte on, and perhaps the beginning of an event.
            events = chunk.split(b"\n\n")
            if rest := events.pop():
                held += rest
                self.holding = True
            return [event + b"\n\n" for event in events]
        # The longest line end and empty line is four bytes, so three of those searched before may begin it.
        searched = max(0, len(held) - 3)
        held += chunk
        events = []
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
        self.holding = bool(held)
        return events

    def rest(self) -> bytes:
        """Take what is held back: an event whose empty line has not come."""
        rest = bytes(self._held)
        self._held = bytearray()
        self.holding = False
        return rest

    def _give_up(self, events: list[bytes]) -> list[bytes]:
        self.broken = True
        self._held = bytearray()
        self.holding = False
        return events


def plain(chunk: bytes) -> bytes:
    """The data of bytes that are one event as nearly all are: a line of data, perhaps after one with the event's name.
    Empty for all other bytes, which are for a Splitter to cut and for `payload` to read."""
    head, _, rest = chunk.partition(b"data: ")
    data, _, end = rest.partition(b"\n")
    if end != b"\n" or _CR in chunk:
        return b""
    if head and (head[:7] != b"event: " or head.find(b"\n") != len(head) - 1):
        return b""
    return data


def payload(event: bytes) -> bytes:
    """The data of an event; empty for comments and events without any."""
    if data := plain(event):
        return data
    lines = [
        line[6:] if line.startswith(b"data: ") else line[5:]
        for line in event.removeprefix(_BOM).splitlines()
        if line.startswith(b"data:") or line == b"data"
    ]
    return lines[0] if len(lines) == 1 else b"\n".join(lines)


def event(data: bytes, name: bytes = b"") -> bytes:
    """An event as it goes out; `data` is one line."""
    return b"event: " + name + b"\ndata: " + data + b"\n\n" if name else b"data: " + data + b"\n\n"
