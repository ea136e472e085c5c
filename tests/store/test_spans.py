"""A search that looks only where calls may be finds what a search through all of them finds."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from upshift.store import spans
from upshift.store.journal import Dimension

USERS = ("ann", "bob", "cy")
_CALLS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(USERS), st.integers(0, 3), st.booleans()), max_size=60)
"""How far from the call before, whose, of which day, and whether it has a session."""


_TABLES = """
CREATE TABLE calls (seq INTEGER PRIMARY KEY, user TEXT, day INTEGER, session TEXT);
CREATE TABLE facet_labels (id INTEGER PRIMARY KEY, user TEXT);
CREATE TABLE facet_spans (facet INTEGER, day INTEGER, low INTEGER, high INTEGER, seqs TEXT);
CREATE TABLE session_spans (session TEXT, low INTEGER, high INTEGER);
"""


def _fill(db: sqlite3.Connection, calls: Sequence[tuple[int, str, int, bool]], since: int, rolled: int) -> None:
    db.executescript(_TABLES)
    seq = 0
    for apart, user, day, session in calls:
        seq += apart
        db.execute("INSERT INTO calls VALUES (?, ?, ?, ?)", (seq, user, day, f"{user}-{day}" if session else ""))
    db.executemany("INSERT INTO facet_labels VALUES (?, ?)", enumerate(USERS))
    db.execute(
        "INSERT INTO facet_spans SELECT id, day, min(seq), max(seq), iif(count(*) <= 3, group_concat(seq), '')"
        " FROM calls JOIN facet_labels USING (user)"
        " WHERE seq > ? AND seq <= ? GROUP BY 1, 2",
        (since, rolled),
    )
    db.execute(
        "INSERT INTO session_spans SELECT session, min(seq), max(seq) FROM calls"
        " WHERE session <> '' AND seq > ? AND seq <= ? GROUP BY 1",
        (since, rolled),
    )


@settings(max_examples=80, deadline=None)
@given(
    calls=_CALLS,
    since=st.integers(0, 60),
    rolled=st.integers(0, 200),
    before=st.integers(1, 260),
    limit=st.integers(1, 12),
    near=st.integers(0, 30),
    most=st.integers(1, 6),
    user=st.sampled_from((*USERS, "nobody")),
    day=st.none() | st.integers(0, 3),
)
def test_the_same_is_found(
    calls: Sequence[tuple[int, str, int, bool]],
    since: int,
    rolled: int,
    before: int,
    limit: int,
    near: int,
    most: int,
    user: str,
    day: int | None,
) -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    where, condition, value = {Dimension.USER: user}, "user = ?", user
    if day is not None:
        where, condition, value = {Dimension.SESSION: f"{user}-{day}"}, "session = ?", f"{user}-{day}"

    def read(sql: str, values: Sequence[object]) -> list[Any]:
        return db.execute(sql, values).fetchall()

    def part(above: int, below: int, some: int) -> list[Any]:
        sql = f"SELECT seq FROM calls WHERE seq > ? AND seq < ? AND {condition} ORDER BY seq DESC LIMIT ?"
        return read(sql, (above, below, value, some))

    def those(seqs: Sequence[int]) -> list[Any]:
        marks = ", ".join("?" * len(seqs))
        return read(f"SELECT seq FROM calls WHERE seq IN ({marks}) AND {condition} ORDER BY seq DESC", (*seqs, value))

    reach = min(since, rolled), rolled
    _fill(db, calls, *reach)
    assert spans.latest(read, part, those, where, before, limit, reach, near=near, most=most) == part(-1, before, limit)
    db.close()
