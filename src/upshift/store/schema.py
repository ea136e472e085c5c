"""Which tables hold the ledger and the journal in SQLite, and how is a connection to them opened?"""

import sqlite3
from pathlib import Path

VERSION = 1
BUSY_MS = 5_000
"""How long a writer waits for another process's transaction before it gives the attempt up."""

CALL_COLUMNS = (
    "request", "started", "plan", "tenant", "user", "tier", "workload", "pod", "project", "session", "agent", "key",
    "dialect", "streamed", "requested_model", "served_model", "provider", "upstream_id", "outcome", "status", "bucket",
    "reason", "certainty", "input", "cached", "cache_write_5m", "cache_write_1h", "output", "reasoning", "cost",
    "counted", "counted_tokens", "latency_us", "first_byte_us", "overhead_us",
)  # fmt: skip

ENTRY_COLUMNS = (
    "seq", "kind", "id", "turn", "at", "plan", "topic", "keys", "tokens", "nano", "held_tokens", "held_nano", "detail",
)  # fmt: skip

_NUMBERS = {
    "started", "streamed", "status", "input", "cached", "cache_write_5m", "cache_write_1h", "output", "reasoning",
    "counted", "counted_tokens", "latency_us", "first_byte_us", "overhead_us",
}  # fmt: skip


def _call_column(name: str) -> str:
    if name == "cost":
        return '"cost" INTEGER'
    return f'"{name}" {"INTEGER" if name in _NUMBERS else "TEXT"} NOT NULL'


# Entries: `turn` is 0 for what opens a request, 1 for what closes it, 2 for what happens once by its id, and NULL for
# extensions; with it one unique index keeps a request from being opened or closed twice. `keys` lists budget ids.
# Groups: one row per commit. `low` is a sequence number below which no hold was open, so that a start after a crash
# reads the tail only. Budgets: `since` is the first entry of the group that brought the row.
DDL = f"""
CREATE TABLE entries (
  seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, turn INTEGER, at INTEGER NOT NULL,
  plan TEXT NOT NULL, topic TEXT NOT NULL, keys TEXT NOT NULL, tokens INTEGER NOT NULL, nano INTEGER NOT NULL,
  held_tokens INTEGER NOT NULL, held_nano INTEGER NOT NULL, detail TEXT
);
CREATE UNIQUE INDEX entries_once ON entries (id, turn);
CREATE INDEX entries_decisions ON entries (topic, seq) WHERE kind = 'decision';
CREATE INDEX entries_alerts ON entries (seq) WHERE kind = 'alert';
CREATE TABLE calls (seq INTEGER PRIMARY KEY, {", ".join(map(_call_column, CALL_COLUMNS))});
CREATE INDEX calls_started ON calls (started);
CREATE INDEX calls_whose ON calls (tenant, user, workload, started);
CREATE TABLE budgets (
  id INTEGER PRIMARY KEY, since INTEGER NOT NULL, tenant TEXT NOT NULL, user TEXT NOT NULL, workload TEXT NOT NULL,
  bucket TEXT NOT NULL, window TEXT NOT NULL, period TEXT NOT NULL
);
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

APPEND_ONLY = ("entries", "calls", "budgets", "groups", "plans")


class StoreVersionError(Exception):
    """The file was written by another version of this program, or is no store at all."""


def connect(path: Path, *, any_thread: bool = False) -> sqlite3.Connection:
    """A connection with autocommit (transactions are explicit), made ready for the store's promises."""
    db = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=not any_thread)
    db.execute("PRAGMA synchronous = FULL")
    # Fewer, larger checkpoints: each one writes its pages again and waits for the disk.
    db.execute("PRAGMA wal_autocheckpoint = 4000")
    db.execute("PRAGMA cache_size = -32768")
    return db


def prepare(path: Path) -> None:
    """Create the tables if the file is new. Raises StoreVersionError for a file of another version."""
    db = connect(path)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        if check_version(db) == 0:
            db.execute("BEGIN IMMEDIATE")
            if check_version(db) == 0:
                _create(db)
            db.execute("COMMIT")
    finally:
        db.close()


def check_version(db: sqlite3.Connection) -> int:
    """0 for an empty file, else VERSION. Raises StoreVersionError for anything else."""
    found = int(db.execute("PRAGMA user_version").fetchone()[0])
    if found not in (0, VERSION):
        raise StoreVersionError(f"the store has schema version {found}; this program reads version {VERSION}")
    if found == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreVersionError("the file is an SQLite database of something else")
    return found


def _create(db: sqlite3.Connection) -> None:
    for statement in DDL.split(";"):
        if statement.strip():
            db.execute(statement)
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            db.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
            )
    db.execute(f"PRAGMA user_version = {VERSION}")
