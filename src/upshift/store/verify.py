"""Is the ledger on disk sound: nothing lost, changed, counted twice or left out?"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from upshift.model.budget import EMPTY, NOTHING, Amount, Balance
from upshift.model.fold import Effect, fold
from upshift.store.draft import NO_DIGEST, group_digest
from upshift.store.retained import TOPIC
from upshift.store.rows import HOLD, NOTE, RELEASE, Held, Row, Value, budget_ids, held_from
from upshift.store.schema import (
    BUDGET_COLUMNS,
    CALL_COLUMNS,
    COUNTER_COLUMNS,
    DEED_COLUMNS,
    PROFILE_COLUMNS,
    check_version,
)

_SHOWN = 100
_ASKED = 500
_SINCE = 1
"""Where profiles and budgets have the first entry of their group."""
_AMOUNTS = ("counted_tokens", "counted", "held_tokens", "held_nano")


class Problem(msgspec.Struct, frozen=True):
    """What is wrong, at which entry (0: in the file as a whole)."""

    seq: int
    what: str


class Verification(msgspec.Struct, frozen=True):
    """What was read and what was wrong with it; at most the first hundred problems are kept.

    `digest` (hex) stands for everything up to the last entry: compare it with one that was noted elsewhere to learn
    whether the end was cut off.
    """

    ok: bool
    entries: int
    calls: int
    groups: int
    open_holds: int
    digest: str
    problems: tuple[Problem, ...]
    retained: int = 0
    """Up to this entry only the chain of commits could be read, since months of calls were dropped."""


def verify(path: Path) -> Verification:
    """Read the whole file as of now, a group at a time; a gateway may go on writing meanwhile.

    Raises sqlite3.Error when the file cannot be read and StoreVersionError when it is not ours.
    """
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        check_version(db)
        db.execute("BEGIN")
        return check(lambda sql: iter(db.execute(sql)), retained_from(db))
    finally:
        db.close()


def retained_from(db: sqlite3.Connection) -> int:
    """Up to which entry calls of a file may have been dropped, so that digests cannot be recomputed; 0 for none."""
    row = db.execute(
        "SELECT max(detail ->> '$.detail.last_seq') FROM deeds WHERE kind = 'decision' AND topic = ?", (TOPIC,)
    ).fetchone()
    return int(row[0] or 0)


Source: TypeAlias = Callable[[str], Iterator[Any]]
"""Gives the rows of a query piece by piece. All queries see the store as it was at one moment."""


def check(source: Source, retained: int = 0) -> Verification:
    """Read a whole store that has our tables, in whatever database; calls up to entry `retained` may be missing."""
    return _Check(source, retained).run()


class _Stream:
    """Rows in the order of one of their columns, taken piece by piece."""

    def __init__(self, source: Source, table: str, columns: Sequence[str], by: int = 0) -> None:
        picked = ", ".join(f'"{name}"' for name in columns)
        sql = f'SELECT {picked} FROM {table} ORDER BY "{columns[by]}", "{columns[0]}"'  # noqa: S608 - our own names
        self._rows: Iterator[Row] = source(sql)
        self._by = by
        self._next = next(self._rows, None)

    def until(self, last: int) -> list[Row]:
        """The rows up to `last`."""
        found: list[Row] = []
        while self._next is not None and _whole(self._next[self._by]) <= last:
            found.append(self._next)
            self._next = next(self._rows, None)
        return found

    def beyond(self) -> Iterator[int]:
        """Where all that is left belongs."""
        while self._next is not None:
            yield _whole(self._next[self._by])
            self._next = next(self._rows, None)


class _Check:
    def __init__(self, source: Source, retained: int) -> None:
        self._source = source
        self._retained = retained
        self._problems: list[Problem] = []
        self._balances: dict[int, Balance] = {}
        self._profiles: dict[int, tuple[str, tuple[int, ...]]] = {}
        """Kind and budgets of each profile so far."""
        self._open: dict[str, Amount] = {}
        self._partial: set[int] = set()
        """Budgets whose first entries may be missing."""
        self._entries = 0
        self._calls = 0
        self._groups = 0
        self._digest = NO_DIGEST
        self._hold_stream = source("SELECT last_seq, document FROM holds ORDER BY last_seq")
        self._next_holds: tuple[int, bytes] | None = next(self._hold_stream, None)
        self._call_stream = _Stream(source, "calls", CALL_COLUMNS)
        self._deed_stream = _Stream(source, "deeds", DEED_COLUMNS)
        self._profile_stream = _Stream(source, "profiles", PROFILE_COLUMNS, _SINCE)
        self._budget_stream = _Stream(source, "budgets", BUDGET_COLUMNS, _SINCE)

    def run(self) -> Verification:
        last = 0
        for first, last_of_group, low, digest in self._source(
            "SELECT first_seq, last_seq, low, digest FROM groups ORDER BY last_seq"
        ):
            if first != last + 1:
                self._say(first, f"the group before it ends at entry {last}")
            self._group(first, last_of_group, low, digest)
            last = last_of_group
        while self._next_holds is not None:
            self._say(self._next_holds[0], "holds that no group covers")
            self._next_holds = next(self._hold_stream, None)
        for name, stream in (
            ("call", self._call_stream),
            ("deed", self._deed_stream),
            ("profile", self._profile_stream),
            ("budget", self._budget_stream),
        ):
            for seq in stream.beyond():
                self._say(seq, f"{name} that no group covers")
        self._requests()
        self._counters()
        return Verification(
            ok=not self._problems,
            entries=self._entries,
            calls=self._calls,
            groups=self._groups,
            open_holds=len(self._open),
            digest=self._digest.hex(),
            problems=tuple(self._problems),
            retained=self._retained,
        )

    def _say(self, seq: int, what: str) -> None:
        if len(self._problems) < _SHOWN:
            self._problems.append(Problem(seq, what))

    def _group(self, first: int, last: int, low: int, digest: bytes) -> None:
        document = self._holds_of(last)
        calls, deeds = self._call_stream.until(last), self._deed_stream.until(last)
        profiles, budgets = self._profile_stream.until(last), self._budget_stream.until(last)
        found = group_digest(
            self._digest, first, last, low, _flat(budgets), _flat(profiles), document, _flat(calls), _flat(deeds)
        )
        if found != digest and last > self._retained:
            self._say(first, f"entries {first} to {last} are not what was written (the digest differs)")
        # Go on from what the file says, so that one change is one problem and not one per later group.
        self._digest = digest
        self._groups += 1
        self._calls += len(calls)
        for profile in profiles:
            known = dict(zip(PROFILE_COLUMNS, profile, strict=True))
            self._profiles[_whole(known["id"])] = str(known["kind"]), budget_ids(str(known["keys"]))
        if last <= self._retained:
            self._partial.update(_whole(budget[0]) for budget in budgets)
            return
        entries: list[tuple[int, Held | Row]] = [(held.seq, held) for held in self._helds(first, document)]
        entries += [(_whole(row[0]), row) for row in chain(calls, deeds)]
        entries.sort(key=lambda entry: entry[0])
        self._entries += len(entries)
        if [seq for seq, _ in entries] != list(range(first, last + 1)):
            self._say(first, f"entries {first} to {last} of one group are not all there")
        for seq, entry in entries:
            if isinstance(entry, Held):
                self._held(entry)
            elif len(entry) == len(CALL_COLUMNS):
                self._call(seq, dict(zip(CALL_COLUMNS, entry, strict=True)))
            else:
                self._deed(dict(zip(DEED_COLUMNS, entry, strict=True)))

    def _holds_of(self, last: int) -> bytes | None:
        found = None
        while self._next_holds is not None and self._next_holds[0] <= last:
            seq, document = self._next_holds
            if seq == last:
                found = document
            else:
                self._say(seq, "holds that no group covers")
            self._next_holds = next(self._hold_stream, None)
        return found

    def _helds(self, first: int, document: bytes | None) -> list[Held]:
        if document is None:
            return []
        try:
            return held_from(document)
        except msgspec.DecodeError:
            self._say(first, "the holds of a group cannot be read")
            return []

    def _held(self, held: Held) -> None:
        kind, budgets = self._profiles.get(held.profile, ("", ()))
        if kind != HOLD:
            self._say(held.seq, f"hold of {held.request} has no profile of a hold")
        if held.extends and held.request not in self._open:
            self._say(held.seq, f"request {held.request} held more but was not open")
        if not held.extends and held.request in self._open:
            self._say(held.seq, f"request {held.request} was opened more than once")
        more = Amount(held.tokens, held.nano)
        self._open[held.request] = self._open.get(held.request, NOTHING) + more
        self._add(budgets, Effect(held=more))

    def _call(self, seq: int, call: Mapping[str, Value]) -> None:
        request, amounts = str(call["request"]), [call[name] for name in _AMOUNTS]
        figures = [figure for figure in amounts if isinstance(figure, int)]
        if len(figures) < len(amounts):
            self._say(seq, "an amount is not a number")
            return
        kind, budgets = self._profiles.get(_whole(call["profile"]), ("", ()))
        spent, held = Amount(*figures[:2]), Amount(*figures[2:])
        opened = self._open.pop(request, None)
        if kind in {"", HOLD}:
            self._say(seq, f"request {request} has no profile of a call")
        elif kind == NOTE:
            if opened is not None:
                self._say(seq, f"request {request} was noted though it held")
        elif opened is None and not self._retained:
            self._say(seq, f"request {request} was closed without a hold before it")
        elif opened is not None and opened != held:
            self._say(seq, f"request {request} returned another amount than was held")
        if kind in {NOTE, RELEASE} and spent != NOTHING:
            self._say(seq, f"{kind} of {request} counts")
        self._add(budgets, Effect(settled=spent, held=NOTHING - held))

    def _deed(self, deed: Mapping[str, Value]) -> None:
        tokens, nano = deed["tokens"], deed["nano"]
        if not (isinstance(tokens, int) and isinstance(nano, int)):
            self._say(_whole(deed["seq"]), "an amount is not a number")
            return
        amount = Amount(tokens, nano)
        effect = Effect(settled=amount) if deed["kind"] == "adjust" else Effect(granted=amount)
        self._add(budget_ids(str(deed["keys"])), effect)

    def _add(self, budgets: tuple[int, ...], effect: Effect) -> None:
        for budget in budgets:
            self._balances[budget] = fold(self._balances.get(budget, EMPTY), effect)

    def _requests(self) -> None:
        twice = "SELECT max(seq), request FROM calls GROUP BY request HAVING count(*) > 1"
        for seq, request in islice(self._source(twice), _SHOWN):
            self._say(seq, f"request {request} was closed more than once")
        # One that was opened again and closed again was closed twice, so only those still open are left to look for.
        still = iter(self._open)
        while some := list(islice(still, _ASKED)):
            again = f"SELECT seq, request FROM calls WHERE request IN ({_listed(some)})"  # noqa: S608 - quoted
            for seq, request in self._source(again):
                self._say(seq, f"request {request} held after it was closed")

    def _counters(self) -> None:
        counters = f"SELECT {', '.join(COUNTER_COLUMNS)} FROM counters ORDER BY budget"  # noqa: S608 - our own names
        for budget, *figures in self._source(counters):
            stored = Balance(Amount(*figures[0:2]), Amount(*figures[2:4]), Amount(*figures[4:6]))
            replayed = self._balances.pop(budget, EMPTY)
            if stored != replayed and budget not in self._partial:
                self._say(0, f"counter {budget} says {_show(stored)}, its entries say {_show(replayed)}")
        for budget, balance in self._balances.items():
            if balance != EMPTY and budget not in self._partial:
                self._say(0, f"counter {budget} is missing; its entries say {_show(balance)}")


def _listed(texts: Iterable[str]) -> str:
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)


def _flat(rows: Sequence[Row]) -> list[Value]:
    return list(chain.from_iterable(rows))


def _whole(value: Value) -> int:
    return value if isinstance(value, int) else 0


def _show(balance: Balance) -> str:
    return ", ".join(
        f"{name} {amount.tokens} tokens and {amount.nano} nano-dollars"
        for name, amount in (("settled", balance.settled), ("held", balance.held), ("granted", balance.granted))
    )
