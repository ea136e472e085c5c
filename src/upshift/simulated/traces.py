"""When did real conversations arrive, and how long were their prompts and answers?"""

import gzip
from bisect import bisect_left
from collections.abc import Iterable
from importlib.resources import files
from typing import NamedTuple


class Arrival(NamedTuple):
    """One request of a trace: seconds since the trace began, and its sizes in tokens."""

    t_seconds: float
    input_tokens: int
    output_tokens: int


def conversation() -> list[Arrival]:
    """The shipped trace of 19,366 conversation requests in one hour, in order of arrival. Reads the file on each call.

    Source and licence: traces/NOTICE.txt beside this module (Azure Public Dataset, CC-BY-4.0).
    """
    packed = files("upshift.simulated").joinpath("traces", "azure2023_conv.csv.gz").read_bytes()
    rows = gzip.decompress(packed).decode().splitlines()[1:]
    cells = (row.split(",") for row in rows)
    return [Arrival(float(at), int(asked), int(answered)) for at, asked, answered in cells]


class Lengths:
    """How long answers are, given how long the prompt was: the trace's own distribution in buckets of prompt length."""

    def __init__(self, arrivals: Iterable[Arrival]) -> None:
        buckets: dict[int, list[int]] = {}
        for arrival in arrivals:
            buckets.setdefault(arrival.input_tokens.bit_length(), []).append(arrival.output_tokens)
        # A bucket of a handful of requests would repeat the same few lengths, so thin ones are left out.
        self._buckets = {size: sorted(seen) for size, seen in buckets.items() if len(seen) >= 50}
        self._sizes = sorted(self._buckets)
        if not self._sizes:
            raise ValueError("a trace needs at least 50 requests of similar prompt length")

    def draw(self, input_tokens: int, chance: float) -> int:
        """Output tokens at quantile `chance` (0 <= chance < 1) of the requests whose prompts were about this long."""
        at = bisect_left(self._sizes, input_tokens.bit_length())
        seen = self._buckets[self._sizes[min(at, len(self._sizes) - 1)]]
        return seen[int(chance * len(seen))]
