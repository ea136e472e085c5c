"""How is a CSV export with a header taken apart into lines with names?"""

import csv
import io
from collections.abc import Collection, Iterator, Sequence

from upshift.sources.fields import Faults, Fields

_MOST_NAMED = 12


def columns(text: str) -> tuple[str, ...]:
    """The names in the first line; empty where it is no CSV."""
    try:
        return tuple(name.strip() for name in next(csv.reader(io.StringIO(text, newline="")), []))
    except csv.Error:
        return ()


def lines(name: str, text: str, faults: Faults) -> Iterator[Fields]:
    """Each line by the names of the header. `where` is 'file:line'. Lines of another length are faults."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [each.strip() for each in next(reader, [])]
        for repeated in sorted({each for each in header if header.count(each) > 1}):
            faults.add(f"{name}:1", repeated, "a column's name that is there once")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                faults.add(f"{name}:{reader.line_num}", f"{len(cells)} cells", f"a line of {len(header)} cells")
                continue
            yield Fields(dict(zip(header, cells, strict=True)), f"{name}:{reader.line_num}", faults)
    except csv.Error as error:
        faults.add(f"{name}:{reader.line_num}", str(error), "CSV")


def unknown(name: str, found: Collection[str], known: Collection[str]) -> tuple[str, ...]:
    """A warning that lists what was not read, if there is anything."""
    others = sorted({each for each in found if each} - set(known))
    if not others:
        return ()
    return (f"{name}: columns that are not known were not read: {named(others)}",)


def named(names: Sequence[str]) -> str:
    """'a, b, c and 3 more'."""
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
