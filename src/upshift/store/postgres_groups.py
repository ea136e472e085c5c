"""How does a group of entries reach PostgreSQL, once and only while this process keeps the ledger?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import psycopg
from psycopg import Cursor
from psycopg.rows import TupleRow

from upshift.model.budget import BudgetKey
from upshift.model.entry import Adjust, Alert, Decision, Entry, Grant, Hold, Note, Release, Settle
from upshift.model.ids import RequestId
from upshift.model.metered import Metered
from upshift.model.span import MICROS, Instant
from upshift.store.backend import FencedError, StoreTroubleError
from upshift.store.draft import START, Draft, Drafter, Tail
from upshift.store.postgres import ANSWER_SECONDS, WRITER, Connection, troubles
from upshift.store.postgres_schema import TEXTS, Month, names, partitions
from upshift.store.rows import (
    Held,
    Value,
    budget_ids,
    decode_asked,
    encode,
    held_from,
    key_from,
    opening_from,
    repeated,
)
from upshift.store.schema import (
    BUDGET_COLUMNS,
    CALL_COLUMNS,
    COUNTER_COLUMNS,
    DEED_COLUMNS,
    GROUP_COLUMNS,
    PROFILE_COLUMNS,
)

_LOCK = "pg_advisory_xact_lock(7301944601)"
LOCK = f"SELECT {_LOCK}"
"""Whoever appends a group takes this first in its transaction; the statements after it see all groups before."""
_FENCE = f'SELECT epoch, {_LOCK} FROM keeper WHERE "only" = 1 FOR SHARE'  # noqa: S608 - our own text
"""Held until the commit: whoever takes the seat over waits for it, and nothing of the old keeper comes after."""
_TAIL = "SELECT last_seq, low, digest FROM groups ORDER BY last_seq DESC LIMIT 1"
_STATE = (
    "SELECT coalesce((SELECT max(id) FROM profiles), 0), coalesce((SELECT max(id) FROM budgets), 0), tail.* "  # noqa: S608 - our own text
    f"FROM (VALUES (1)) AS one LEFT JOIN ({_TAIL}) AS tail ON true"
)
_BUDGET_NAME = names(BUDGET_COLUMNS[2:])
_FIND_BUDGETS = (
    f"SELECT id, {_BUDGET_NAME} FROM budgets JOIN unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], "  # noqa: S608 - our own names
    f"%s::text[]) AS asked ({_BUDGET_NAME}) USING ({_BUDGET_NAME})"
)
_REMEMBERED = 40 * 86_400 * MICROS
"""An id that comes again is refused within so long after it was closed; later, only with the same time of start."""
_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY(%s) AND application_name = %s "
    "AND datname = current_database()"
)
_STARTED, _HELD_STARTED = CALL_COLUMNS.index("started"), Held.__struct_fields__.index("started")
_SMALLEST, _LARGEST_NUMBER = -(2**63), 2**63 - 1


class _Insert:
    """Inserts any number of rows by one statement, which takes one array per column."""

    def __init__(self, table: str, columns: tuple[str, ...], texts: frozenset[str] = TEXTS, conflict: str = "") -> None:
        self._width = len(columns)
        self._texts = [name in texts for name in columns]
        arrays = ", ".join(f"%s::{'text' if text else 'bigint'}[]" for text in self._texts)
        self._sql = f"INSERT INTO {table} ({names(columns)}) SELECT * FROM unnest({arrays}) {conflict}"  # noqa: S608 - our own names

    def run(self, db: Connection, values: Sequence[Value]) -> None:
        """Insert rows whose values come one after another."""
        if values:
            columns = [values[at :: self._width] for at in range(self._width)]
            db.execute(
                self._sql,
                [_texts(each) if text else _numbers(each) for each, text in zip(columns, self._texts, strict=True)],
            )


def _numbers(values: Sequence[Value]) -> str:
    # The literal of an array is JSON but for its brackets, and nothing else writes it as fast.
    return "{" + encode(values)[1:-1].decode() + "}"


def _texts(values: Sequence[Value]) -> str:
    return "{" + ",".join(['"' + str(each).replace("\\", "\\\\").replace('"', '\\"') + '"' for each in values]) + "}"


_INSERT_CALLS = _Insert("calls", CALL_COLUMNS)
_INSERT_DEEDS = _Insert("deeds", DEED_COLUMNS, TEXTS | {"id"})
_INSERT_BUDGETS = _Insert("budgets", BUDGET_COLUMNS)
_INSERT_PROFILES = _Insert("profiles", PROFILE_COLUMNS)
_ADD_TO_COUNTERS = _Insert(
    "counters",
    COUNTER_COLUMNS,
    conflict="ON CONFLICT (budget) DO UPDATE SET "
    + ", ".join(f"{name} = counters.{name} + excluded.{name}" for name in COUNTER_COLUMNS[1:]),
)
_INSERT_GROUP = f"INSERT INTO groups ({names(GROUP_COLUMNS)}) VALUES (%s, %s, %s, %s)"  # noqa: S608 - our own names
_PROFILES = f"SELECT {names(PROFILE_COLUMNS)} FROM profiles WHERE id = ANY(%s)"  # noqa: S608 - our own names
_BUDGETS = f"SELECT id, {_BUDGET_NAME} FROM budgets WHERE id = ANY(%s)"  # noqa: S608 - our own names


class PostgresGroups:
    """The `Groups` of a PostgreSQL database, for as long as nobody takes the seat of `epoch` over."""

    def __init__(self, url: str, epoch: int, answer_seconds: float = ANSWER_SECONDS) -> None:
        """A server that does not answer for so long is trouble. Raises StoreTroubleError."""
        self._url = url
        self._answer_seconds = answer_seconds
        self._epoch = epoch
        self._drafter = Drafter(self._find_budget, self._largest_id)
        self._largest = {"profiles": 0, "budgets": 0}
        self._numbers = count(1)
        self._unsure: Draft | None = None
        """A group whose commit was not answered: whether it is there is looked up before anything else is written."""
        self._months: frozenset[str] = frozenset()
        self._month: Month | None = None
        """Where most calls go, and known to be there."""
        with troubles():
            self._db = self._connect()
            self._sessions = {self._db.info.backend_pid}
            """Of ours at the server, as far as it may not have heard that we are gone from there."""

    def close(self) -> None:
        self._db.close()

    def reconnect(self) -> None:
        """The old connection may be one that hangs, and the server may hold our own locks against us."""
        self._db.close()
        self._forget()
        with troubles():
            self._db = self._connect()
            own = self._db.info.backend_pid
            self._sessions.discard(own)
            self._db.execute(_END, (list(self._sessions), WRITER))
            self._sessions = {own}

    def _connect(self) -> Connection:
        return Connection.open(self._url, self._answer_seconds, WRITER)

    def _forget(self) -> None:
        self._drafter.drop()
        self._months, self._month = frozenset(), None

    def _largest_id(self, table: str) -> int:
        return self._largest[table]

    # Writing

    def write(self, entries: Sequence[Entry], *, durable: bool = True) -> None:
        """Durable even if it need not be: the server may lose what is not while this process lives on."""
        try:
            with troubles():
                self._write(entries)
        except BaseException:
            self._forget()
            self._roll_back()
            raise

    def sync(self) -> None:
        """Nothing to do: every group is durable."""

    def _roll_back(self) -> None:
        try:
            if not self._db.closed:
                self._db.execute("ROLLBACK")
        except psycopg.Error:
            # Then it is closed, and there is nothing left of the transaction.
            self._db.close()

    def _write(self, entries: Sequence[Entry]) -> None:
        tail = self._begin(entries)
        if self._unsure is not None:
            written = self._was_written(self._unsure)
            if written:
                self._db.execute("ROLLBACK")
                self._drafter.keep(self._unsure)
            self._unsure = None
            if written:
                return
        draft = self._drafter.draft(tail, entries)
        self._make_partitions(draft)
        self._unsure = draft
        with self._db.pipeline():
            self._insert(draft)
            self._db.execute("COMMIT")
        self._unsure = None
        self._drafter.keep(draft)

    def _begin(self, entries: Sequence[Entry]) -> Tail:
        """One round trip: everything that has to be known to make the draft."""
        db, knows = self._db, self._drafter.knows
        # Whoever closes a call has held for it, so its budgets are known but for a rare case, in which they are found
        # one at a time.
        unknown = {
            key
            for entry in entries
            if not isinstance(entry, Settle | Release)
            for key in _keys(entry)
            if not knows(key)
        }
        with db.pipeline():
            db.execute("BEGIN")
            fence = db.execute(_FENCE)
            state = db.execute(_STATE)
            budgets = self._find_budgets(unknown) if unknown else ()
        epoch, found = fence.fetchone(), state.fetchone()
        if epoch is None or epoch[0] != self._epoch:
            raise FencedError(f"another process keeps this ledger now (epoch {self._epoch} is over)")
        if found is None:
            raise StoreTroubleError("the database does not say where the ledger ends")
        for id_, *name in budgets:
            self._drafter.learn(key_from(name), id_)
        self._largest = {"profiles": found[0], "budgets": found[1]}
        return START if found[2] is None else Tail(*found[2:])

    def _find_budgets(self, keys: Iterable[BudgetKey]) -> Cursor[TupleRow]:
        rows = [(key.tenant, key.user, key.workload, key.bucket.value, key.window, key.period) for key in keys]
        return self._db.execute(_FIND_BUDGETS, [_texts(column) for column in zip(*rows, strict=True)])

    def _find_budget(self, key: BudgetKey) -> int | None:
        found = self._find_budgets([key]).fetchone()
        return None if found is None else int(found[0])

    def _was_written(self, draft: Draft) -> bool:
        # Whoever held the lock then does so no more, so this answer is final.
        row = self._db.execute("SELECT digest FROM groups WHERE last_seq = %s", (draft.last,)).fetchone()
        return row is not None and row[0] == draft.digest

    def _make_partitions(self, draft: Draft) -> None:
        """See to it that every call has a partition, and that the next month's is there before it begins."""
        started = draft.calls[_STARTED :: len(CALL_COLUMNS)]
        if self._month is not None and all(map(self._month.has, started)):
            return
        for month in {Month.of(at) for at in started if isinstance(at, int)}:
            for each in (month, month.next()):
                self._make_partition(each)
            self._month = month

    def _make_partition(self, month: Month) -> None:
        if month.table not in self._months:
            self._months = partitions(self._db)
        if month.table not in self._months:
            for statement in month.statements():
                self._db.execute(statement)
            self._months |= {month.table}

    def _insert(self, draft: Draft) -> None:
        db = self._db
        unheard = self._drafter.unheard(draft)
        if unheard:
            db.execute("SELECT upshift_refuse_closed(%s::text[], %s)", (_texts(unheard), _since(_starts(draft))))
        _INSERT_BUDGETS.run(db, draft.budgets)
        _INSERT_PROFILES.run(db, draft.profiles)
        if draft.document is not None:
            db.execute("INSERT INTO holds (last_seq, document) VALUES (%s, %s)", (draft.last, draft.document))
        _INSERT_CALLS.run(db, draft.calls)
        _INSERT_DEEDS.run(db, draft.deeds)
        _ADD_TO_COUNTERS.run(db, draft.counters())
        db.execute(_INSERT_GROUP, (draft.last, draft.first, draft.low, draft.digest))
        for seq, id_ in draft.asked:
            db.execute("UPDATE requests_in SET taken = %s WHERE id = %s", (seq, id_))
        if draft.decided:
            db.execute("UPDATE changes SET number = number + 1")

    def refused(self, entries: Sequence[Entry]) -> list[int]:
        calls = [entry for entry in entries if not isinstance(entry, Adjust | Grant | Alert | Decision)]
        deeds = [entry.id for entry in entries if isinstance(entry, Adjust | Grant | Alert | Decision)]
        since = _since([_started(entry) for entry in calls])
        with troubles():
            requests = self._db.execute(
                "SELECT request FROM calls WHERE request = ANY(%s::text[]) AND started >= %s",
                (_texts([entry.request for entry in calls]), since),
            ).fetchall()
            ids = self._db.execute("SELECT id FROM deeds WHERE id = ANY(%s::text[])", (_texts(deeds),)).fetchall()
        return repeated(entries, {request for (request,) in requests}, {id_ for (id_,) in ids})

    def inbox(self) -> list[Adjust | Grant]:
        with troubles():
            rows = self._db.execute(
                "SELECT document FROM requests_in WHERE taken IS NULL AND NOT EXISTS "
                "(SELECT 1 FROM deeds WHERE deeds.id = requests_in.id) ORDER BY number"
            ).fetchall()
        return [decode_asked(document) for (document,) in rows]

    # What a start reads

    def tail(self) -> Tail:
        with troubles():
            found = self._db.execute(_TAIL).fetchone()
        return START if found is None else Tail(*found)

    def held_since(self, low: int) -> Iterator[Held]:
        for (document,) in self._stream("SELECT document FROM holds WHERE last_seq >= %s ORDER BY last_seq", low):
            yield from (held for held in held_from(document) if held.seq >= low)

    def closed_since(self, low: int) -> Iterator[tuple[int, str]]:
        yield from self._stream("SELECT seq, request FROM calls WHERE seq >= %s ORDER BY seq", low)

    def _stream(self, sql: str, *parameters: Any) -> Iterator[TupleRow]:
        with troubles(), self._db.cursor(f"stream_{next(self._numbers)}", withhold=True) as cursor:
            yield from cursor.execute(sql, parameters)

    def openings(self, held: Sequence[Held]) -> Sequence[tuple[tuple[BudgetKey, ...], Metered]]:
        at = PROFILE_COLUMNS.index("keys")
        with troubles():
            wanted = {each.profile for each in held}
            profiles = {row[0]: row for row in self._db.execute(_PROFILES, (list(wanted),))}
            ids = {budget for row in profiles.values() for budget in budget_ids(row[at])}
            keys = {id_: key_from(name) for id_, *name in self._db.execute(_BUDGETS, (list(ids),))}
        try:
            return [
                (
                    tuple(keys[id_] for id_ in budget_ids(profiles[each.profile][at])),
                    opening_from(each, profiles[each.profile]),
                )
                for each in held
            ]
        except KeyError as error:
            raise StoreTroubleError(f"a profile or a budget of an open hold is missing: {error}") from error

    def resume(self, opened: Mapping[RequestId, int]) -> None:
        self._drafter.resume(opened)


def _keys(entry: Entry) -> tuple[BudgetKey, ...]:
    match entry:
        case Note() | Decision():
            return ()
        case Alert():
            return (entry.key,)
        case _:
            return entry.keys


def _started(entry: Entry) -> Instant:
    match entry:
        case Hold():
            return entry.at if entry.opening is None else entry.opening.started
        case Adjust() | Grant() | Alert() | Decision():
            return entry.at
        case _:
            return entry.record.started


def _starts(draft: Draft) -> list[Instant]:
    started = [held[_HELD_STARTED] for held in draft.holds] + draft.calls[_STARTED :: len(CALL_COLUMNS)]
    return [at for at in started if isinstance(at, int)]


def _since(started: Sequence[Instant]) -> Instant:
    """From when on a call is looked for that may have had the id of one of those that started then."""
    return max(_SMALLEST, min(min(started, default=0), _LARGEST_NUMBER) - _REMEMBERED)
