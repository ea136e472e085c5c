"""Does a message repeat the head of an earlier one on its connection, so that it need not be parsed again?"""

import re

from upshift.http.exchange import Headers

_LONGEST = 8 * 1024
_PATIENCE = 4
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)


class _Known:
    """A head that the parser has accepted, split around the digits of its content-length."""

    __slots__ = ("after", "before", "begin", "digits", "place", "skip")

    def __init__(self, before: bytes, digits: bytes, after: bytes, place: int) -> None:
        self.before = before
        self.begin = len(before)
        self.digits = digits
        self.after = after
        self.skip = len(after)
        self.place = place


class Repeats:
    """What one connection remembers of its last head. Saves the parser, and a callback for each header.

    A keep-alive client sends the same head with every request, but for the length; so do servers of models. Nothing is
    judged here that the parser has not judged: all bytes must be equal but the digits, and must be exactly one message.
    """

    __slots__ = ("_known", "_last", "_last_size", "_patience", "fields", "headers")

    def __init__(self) -> None:
        self.headers: Headers = []
        """Those of the last message that `body_of` found. Whoever hands them out hands out a copy."""
        self.fields: dict[bytes, bytes] = {}
        """The first value of each of them."""
        self._known: _Known | None = None
        # The last head as it was, and the size of its whole message: what has both is the same but for its body.
        self._last = b""
        self._last_size = -1
        self._patience = _PATIENCE

    def body_of(self, data: bytes) -> bytes | None:
        """The body when `data` is one message with the head that is remembered; None for the parser to decide."""
        if len(data) == self._last_size and data.startswith(self._last):
            self._patience = _PATIENCE
            return data[len(self._last) :]
        known = self._known
        if known is None or not data.startswith(known.before):
            return None
        begin = known.begin
        if known.place < 0:
            return b"" if len(data) == begin else None
        # Ten digits are more than any limit, and few enough to count without a doubt.
        end = data.find(b"\r", begin, begin + 11)
        digits = data[begin:end]
        if end < 0 or not digits.isdigit() or not data.startswith(known.after, end):
            return None
        end += known.skip
        if len(data) - end != int(digits):
            return None
        if digits != known.digits:
            known.digits = digits
            self.headers[known.place] = (b"content-length", digits)
            # Not in place: exchanges hold on to the one before.
            self.fields = {**self.fields, b"content-length": digits}
        self._patience = _PATIENCE
        self._last, self._last_size = data[:end], len(data)
        return data[end:]

    @property
    def willing(self) -> bool:
        """Whether to `learn`; not from a peer that never repeats itself."""
        return self._patience > 0

    def learn(self, data: bytes, headers: Headers, length: int, longest: int) -> None:
        """Remember the head of `data`, of which the parser has just made a message with `length` bytes of body.

        Only for a message of HTTP/1.1 whose content-length, if any, says how long it is, and that leaves the
        connection open. Not remembered are heads near `longest`, and odd ones.
        """
        self._patience -= 1
        self._known = _split(data, headers, length, longest) if self._patience else None
        self._last_size = -1
        self.headers = headers.copy()
        # Reversed so that the first value of a repeated header is the one found.
        self.fields = dict(reversed(headers))


def _split(data: bytes, headers: Headers, length: int, longest: int) -> _Known | None:
    size = len(data) - length
    # A repetition may have ten digits. The first empty line ends the head: more bytes than head and body mean that
    # there was more than this message, down to a line break that parsers skip.
    if size > min(_LONGEST, longest - 10) or data.find(b"\r\n\r\n") != size - 4 or data[0] in b"\r\n":
        return None
    head = data[:size]
    place = next((at for at, (name, _) in enumerate(headers) if name == b"content-length"), -1)
    if place < 0:
        return None if length else _Known(head, b"", b"", place)
    found = _LENGTH.search(head)
    if found is None or int(found[1]) != length:
        return None
    return _Known(head[: found.start(1)], found[1], head[found.end(1) :], place)
