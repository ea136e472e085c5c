"""Where in the ledger may the calls be that somebody looks for, so that not all of them are looked at?"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from upshift.store.journal import Dimension

FEW = 64
"""So many calls at most of a facet and day are told one by one; of more the first and the last are."""
MORE_OF_FACET = (
    "calls = facet_spans.calls + excluded.calls, seqs = CASE WHEN facet_spans.calls + excluded.calls > "
    f"{FEW} THEN '' ELSE facet_spans.seqs || ',' || excluded.seqs END"
)
"""What becomes of a facet's day when there are more calls of it, in any database's words."""
NEAR = 20_000
"""So many of the latest entries are looked at first: what is frequent is found there."""
NEAR_OF_ONE = 2_000
"""The same where one user or key is looked for, who is seldom frequent."""
_MOST = 1_000
"""So many spans are read at once."""
_ANYWHERE = -1
"""Below all entries."""

Read: TypeAlias = Callable[[str, Sequence[object]], list[Any]]
Part: TypeAlias = Callable[[int, int, int], list[Any]]
"""Rows that match of entries above the first number and below the second, the latest first, so many at most."""
Those: TypeAlias = Callable[[Sequence[int]], list[Any]]
"""Rows that match of these entries, the latest first."""

_SPANS = (
    "SELECT low, high, seqs FROM facet_spans WHERE facet IN (SELECT id FROM facet_labels WHERE true{}) "
    "AND low < ? AND high > ? ORDER BY high DESC LIMIT ?"
)
_SESSIONS = (
    "SELECT low, high, '' FROM session_spans WHERE session = ? AND low < ? AND high > ? ORDER BY high DESC LIMIT ?"
)


def latest(
    read: Read, part: Part, those: Those, where: Mapping[Dimension, str], before: int, limit: int,
    reach: Sequence[int], *, inside: Part | None = None, near: int = NEAR, most: int = _MOST,
) -> list[Any]:  # fmt: skip
    """The latest rows of calls that match, as `part` alone would find them; their first column is their number.

    What matches `where` (a session, or what profiles tell) lies in spans between the entries of `reach`: from after the
    first up to the second. Around them everything is looked at, and so are as many entries as are `near`. `inside` is
    `part`, but only for entries that spans tell of.
    """
    inside = inside or part
    since, rolled = reach
    sql = _SPANS.format("".join(f' AND "{each.value}" = ?' for each in where))
    if Dimension.SESSION in where:
        sql, where = _SESSIONS, {Dimension.SESSION: where[Dimension.SESSION]}
    edge = max(since, min(before, rolled) - near)
    found = part(edge, before, limit)
    ceiling = min(before, edge + 1)
    while len(found) < limit and ceiling > since + 1:
        spans = read(sql, (*where.values(), ceiling, since, most))
        # What more spans there are reaches no higher than the last that was read.
        floor = min(spans[-1][1], ceiling - 1) if len(spans) == most else since
        if floor == ceiling - 1:
            # A great many calls that took longer than the rest of them.
            return found + part(_ANYWHERE, ceiling, limit - len(found))
        found += _within(inside, those, _merged(_places(spans), floor + 1, ceiling - 1), limit - len(found))
        ceiling = floor + 1
    if len(found) < limit and since > 0:
        found += part(_ANYWHERE, min(before, since + 1), limit - len(found))
    return found


def _within(part: Part, those: Those, places: Iterable[tuple[int, int]], limit: int) -> list[Any]:
    """The latest rows in these places, which come with the last first."""
    found: list[Any] = []
    single: list[int] = []
    for low, high in places:
        if low == high:
            single.append(low)
            if len(found) + len(single) < limit:
                continue
        if single:
            found += those(single)
            single = []
        if low < high and len(found) < limit:
            found += part(low - 1, high + 1, limit - len(found))
        if len(found) >= limit:
            return found
    return found + those(single) if single else found


def _places(spans: Iterable[tuple[int, int, str]]) -> list[tuple[int, int]]:
    """Entries one by one where they are told, else from the first to the last of them; the largest ends first."""
    found: list[tuple[int, int]] = []
    for low, high, seqs in spans:
        found += [(seq, seq) for seq in map(int, seqs.split(","))] if seqs else [(low, high)]
    return sorted(found, key=lambda place: place[1], reverse=True)


def _merged(places: Iterable[tuple[int, int]], lowest: int, highest: int) -> Iterator[tuple[int, int]]:
    """What the places cover from `lowest` to `highest`, each entry once. They come with the largest ends first."""
    begin, end = 0, -1
    for one, other in places:
        low, high = max(one, lowest), min(other, highest)
        if low > high:
            continue
        if end >= begin and high >= begin:
            begin = min(begin, low)
            continue
        if end >= begin:
            yield begin, end
        begin, end = low, high
    if end >= begin:
        yield begin, end
