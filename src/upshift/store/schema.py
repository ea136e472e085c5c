"""Which tables hold the ledger and the journal in SQLite, and how is a connection to them opened?"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

VERSION = 4
COMPATIBLE_FROM = 1
"""The oldest program version that may use a file of ours: it does not miss what has been added since."""
BUSY_MS = 5_000
"""How long a writer waits for another process's transaction before it gives the attempt up."""

RECORD_COLUMNS = (
    "request", "started", "plan", "tenant", "user", "tier", "workload", "pod", "project", "session", "agent", "key",
    "dialect", "streamed", "requested_model", "served_model", "provider", "upstream_id", "outcome", "status", "bucket",
    "reason", "certainty", "input", "cached", "cache_write_5m", "cache_write_1h", "output", "reasoning", "cost",
    "counted", "counted_tokens", "latency_us", "first_byte_us", "overhead_us",
)  # fmt: skip

PROFILE_COLUMNS = (
    "id", "since", "kind", "keys", "plan", "tenant", "user", "tier", "workload", "pod", "project", "agent", "key",
    "dialect", "streamed", "requested_model", "served_model", "provider", "outcome", "status", "bucket", "reason",
    "certainty",
)  # fmt: skip

CALL_COLUMNS = (
    "seq", "request", "profile", "started", "at", "session", "upstream_id", "input", "cached", "cache_write_5m",
    "cache_write_1h", "output", "reasoning", "cost", "counted", "counted_tokens", "held_tokens", "held_nano",
    "latency_us", "first_byte_us", "overhead_us",
)  # fmt: skip

DEED_COLUMNS = ("seq", "kind", "id", "at", "plan", "topic", "keys", "tokens", "nano", "detail")

BUDGET_COLUMNS = ("id", "since", "tenant", "user", "workload", "bucket", "window", "period")

COUNTER_COLUMNS = (
    "budget", "settled_tokens", "settled_nano", "held_tokens", "held_nano", "granted_tokens", "granted_nano",
)  # fmt: skip

GROUP_COLUMNS = ("last_seq", "first_seq", "low", "digest")

_TEXT = {
    "request", "plan", "tenant", "user", "tier", "workload", "pod", "project", "session", "agent", "key", "dialect",
    "requested_model", "served_model", "provider", "upstream_id", "outcome", "bucket", "reason", "certainty", "kind",
    "keys", "topic", "detail", "window", "period",
}  # fmt: skip


FIGURES = (
    "input", "cached", "cache_write_5m", "cache_write_1h", "output", "reasoning", "cost", "unknown_cost", "counted",
    "counted_tokens",
)  # fmt: skip
SUMS = ("calls", *FIGURES, "latencies")
"""What totals have of many calls."""

OUTLINE = (
    "plan", "tenant", "tier", "workload", "pod", "project", "dialect", "requested_model", "served_model", "provider",
    "outcome", "bucket", "reason", "certainty",
)  # fmt: skip
"""What totals by hour and by day are kept by."""
FACET = (*OUTLINE, "user", "key", "agent")
"""What totals by day and by month are kept by as well. By hour there would be hardly fewer of them than calls."""


def _columns(names: Sequence[str], key: str) -> str:
    return ", ".join(_column(name, key) for name in names)


def _column(name: str, key: str) -> str:
    if name == key:
        return f'"{name}" INTEGER PRIMARY KEY'
    if name == "cost":
        return '"cost" INTEGER'
    return f'"{name}" {"TEXT" if name in _TEXT or name == "id" else "INTEGER"} NOT NULL'


def _origin(name: str) -> str:
    return f'{"calls" if name in CALL_COLUMNS else "profiles"}."{name}"'


# An entry has a sequence number and is kept in one of three places. `holds` has one row per group that opened or
# extended holds, since nothing but a start after a crash and a verification reads them: a msgpack list of
# rows.Held. `calls` has what closed a request, with its record; one unique index keeps a request from being closed
# twice, and a hold is only written for a request that it does not have. `deeds` has all the others, once by their id.
# What many calls have in common is kept once, as a profile: whose they were, what was asked, how it ended, and the ids
# of the budgets they counted against (`keys`). `records` puts it together again; its join is CROSS so that calls are
# always the outer loop. `since` is the first entry of the group that brought a profile or a budget.
# Groups: one row per commit. `low` is a sequence number below which no hold was open, so that a start after a crash
# reads the tail only.
DDL = f"""
CREATE TABLE holds (last_seq INTEGER PRIMARY KEY, document BLOB NOT NULL);
CREATE TABLE calls ({_columns(CALL_COLUMNS, "seq")});
CREATE UNIQUE INDEX calls_once ON calls (request);
CREATE INDEX calls_started ON calls (started);
CREATE TABLE profiles ({_columns(PROFILE_COLUMNS, "id")});
CREATE INDEX profiles_since ON profiles (since);
CREATE VIEW records AS SELECT calls.seq, {", ".join(map(_origin, RECORD_COLUMNS))}
  FROM calls CROSS JOIN profiles ON profiles.id = calls.profile;
CREATE TABLE deeds ({_columns(DEED_COLUMNS, "seq")});
CREATE UNIQUE INDEX deeds_once ON deeds (id);
CREATE INDEX deeds_decisions ON deeds (topic, seq) WHERE kind = 'decision';
CREATE INDEX deeds_alerts ON deeds (seq) WHERE kind = 'alert';
CREATE TABLE budgets ({_columns(BUDGET_COLUMNS, "id")});
CREATE UNIQUE INDEX budgets_name ON budgets (tenant, user, workload, bucket, window, period);
CREATE INDEX budgets_since ON budgets (since);
CREATE TABLE counters (
  budget INTEGER PRIMARY KEY REFERENCES budgets (id),
  settled_tokens INTEGER NOT NULL, settled_nano INTEGER NOT NULL, held_tokens INTEGER NOT NULL,
  held_nano INTEGER NOT NULL, granted_tokens INTEGER NOT NULL, granted_nano INTEGER NOT NULL
);
CREATE TABLE groups (
  last_seq INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, low INTEGER NOT NULL, digest BLOB NOT NULL
);
CREATE TABLE plans (
  seq INTEGER PRIMARY KEY, hash TEXT NOT NULL, document BLOB NOT NULL, name TEXT NOT NULL, by TEXT NOT NULL,
  at INTEGER NOT NULL
);
CREATE TABLE keys (
  id TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, document BLOB NOT NULL
);
CREATE TABLE requests_in (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, document BLOB NOT NULL, taken INTEGER
);
CREATE INDEX requests_in_waiting ON requests_in (number) WHERE taken IS NULL;
CREATE TABLE deliveries (
  alert TEXT NOT NULL, channel TEXT NOT NULL, attempts INTEGER NOT NULL, claimed INTEGER NOT NULL, done INTEGER,
  failed INTEGER, why TEXT NOT NULL, PRIMARY KEY (alert, channel)
) WITHOUT ROWID;
CREATE TABLE changes (only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL);
INSERT INTO changes VALUES (1, 0);
"""  # noqa: S608 - put together from the names above

# What version 2 added: what is reported of finished work, told about in feedback_rows.py.
FEEDBACK_DDL = """
CREATE TABLE feedback (
  number INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, received INTEGER NOT NULL,
  tenant TEXT NOT NULL, agent TEXT NOT NULL, interface TEXT NOT NULL, workload TEXT NOT NULL, pod TEXT NOT NULL,
  session TEXT NOT NULL, request TEXT NOT NULL, task TEXT NOT NULL, source TEXT NOT NULL, by TEXT NOT NULL,
  document BLOB NOT NULL
);
CREATE UNIQUE INDEX feedback_once ON feedback (kind, id);
CREATE INDEX feedback_at ON feedback (at, number);
"""

_SUMS = ", ".join(f'"{name}" INTEGER NOT NULL' for name in SUMS[:-1]) + ", latencies TEXT NOT NULL"
_LABELS = ", ".join(f'"{name}" TEXT NOT NULL' for name in FACET)

# What version 3 added: totals, told about in sqlite_rollup.py, and retention. Calls that began before `kept_from` may
# be deleted up to entry `dropped`, and what calls held up to there, since a decision says what they came to.
TOTALS_DDL = f"""
CREATE TABLE facets (profile INTEGER PRIMARY KEY, facet INTEGER NOT NULL, outline INTEGER NOT NULL);
CREATE TABLE facet_names (name BLOB PRIMARY KEY, profile INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE facet_labels (id INTEGER PRIMARY KEY, {_LABELS});
CREATE INDEX facet_labels_user ON facet_labels (user);
CREATE TABLE facet_days (day INTEGER, facet INTEGER, {_SUMS}, PRIMARY KEY (day, facet)) WITHOUT ROWID;
CREATE INDEX facet_days_of ON facet_days (facet, day);
CREATE TABLE facet_spans (
  facet INTEGER, day INTEGER, low INTEGER NOT NULL, high INTEGER NOT NULL, calls INTEGER NOT NULL, seqs TEXT NOT NULL,
  PRIMARY KEY (facet, day)
) WITHOUT ROWID;
CREATE TABLE session_spans (session TEXT PRIMARY KEY, low INTEGER NOT NULL, high INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE facet_months (month INTEGER, facet INTEGER, {_SUMS}, PRIMARY KEY (month, facet)) WITHOUT ROWID;
CREATE TABLE outline_days (day INTEGER, outline INTEGER, {_SUMS}, PRIMARY KEY (day, outline)) WITHOUT ROWID;
CREATE TABLE outline_hours (hour INTEGER, outline INTEGER, {_SUMS}, PRIMARY KEY (hour, outline)) WITHOUT ROWID;
CREATE TABLE rollup_state (
  only INTEGER PRIMARY KEY CHECK (only = 1), last_seq INTEGER NOT NULL, kept_from INTEGER NOT NULL,
  dropped INTEGER NOT NULL
);
INSERT INTO rollup_state VALUES (1, 0, 0, 0);
DROP TRIGGER calls_no_delete;
DROP TRIGGER holds_no_delete;
"""  # noqa: S608 - put together from the names above

# What version 4 added: budgets of the current periods are found among those of all that were, and the profiles of a
# user among those of all.
CURRENT_DDL = """
CREATE INDEX budgets_current ON budgets (period, window);
CREATE INDEX facets_of ON facets (facet);
"""
_DROPPED = (
    ("calls", "OLD.seq > (SELECT dropped FROM rollup_state) OR OLD.started >= (SELECT kept_from FROM rollup_state)"),
    ("holds", "OLD.last_seq > (SELECT dropped FROM rollup_state)"),
)

APPEND_ONLY = ("holds", "calls", "profiles", "deeds", "budgets", "groups", "plans")


class StoreVersionError(Exception):
    """The file was written by another version of this program, or is no store at all."""


def connect(path: Path, *, any_thread: bool = False) -> sqlite3.Connection:
    """A connection with autocommit (transactions are explicit), made ready for the store's promises."""
    db = sqlite3.connect(
        path,
        timeout=BUSY_MS / 1000,
        isolation_level=None,
        check_same_thread=not any_thread,
        # A group of entries is inserted by statements of its own size.
        cached_statements=256,
    )
    db.execute("PRAGMA synchronous = FULL")
    # Fewer, larger checkpoints: each one writes its pages again and waits for the disk.
    db.execute("PRAGMA wal_autocheckpoint = 4000")
    db.execute("PRAGMA cache_size = -32768")
    return db


def prepare(path: Path) -> None:
    """Create the tables that are not there yet: all in a new file, what has been added since in an older one.

    Raises StoreVersionError for a file that this program must not use.
    """
    db = connect(path)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        if check_version(db) < VERSION:
            db.execute("BEGIN IMMEDIATE")
            found = check_version(db)
            if found == 0:
                _create(db, DDL, APPEND_ONLY)
            if found < VERSION:
                if found < 2:
                    _create(db, FEEDBACK_DDL, ("feedback",))
                if found < 3:
                    _create(db, TOTALS_DDL, ())
                    for table, kept in _DROPPED:
                        _refuse(db, table, "DELETE", f" WHEN {kept}")
                _create(db, CURRENT_DDL, ())
                db.execute(f"PRAGMA user_version = {COMPATIBLE_FROM << 16 | VERSION}")
            db.execute("COMMIT")
    finally:
        db.close()


def check_version(db: sqlite3.Connection) -> int:
    """0 for an empty file, else its version, which may be newer than ours when that is harmless.

    Raises StoreVersionError for a file that this program must not use.
    """
    stamp = int(db.execute("PRAGMA user_version").fetchone()[0])
    # The upper half is the oldest program version that may use the file; without one, no older than the file.
    found, compatible_from = stamp & 0xFFFF, stamp >> 16 or stamp & 0xFFFF
    if compatible_from > VERSION:
        raise StoreVersionError(
            f"the store has schema version {found} and asks for a program that knows {compatible_from}; "
            f"this one knows {VERSION}"
        )
    if found == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreVersionError("the file is an SQLite database of something else")
    return found


def _create(db: sqlite3.Connection, ddl: str, append_only: Sequence[str]) -> None:
    for statement in ddl.split(";"):
        if statement.strip():
            db.execute(statement)
    for table in append_only:
        for verb in ("UPDATE", "DELETE"):
            _refuse(db, table, verb, "")


def _refuse(db: sqlite3.Connection, table: str, verb: str, when: str) -> None:
    db.execute(
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}{when} "
        f"BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
    )
