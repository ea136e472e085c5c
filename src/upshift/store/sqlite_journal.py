"""How do plans, keys, consents, decisions, reports and alerts live in the ledger's SQLite file?"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from upshift.model.budget import Amount, Balance
from upshift.model.entry import Adjust, Decision, Grant
from upshift.model.ids import KeyId, PlanHash, RequestId, TenantId, WorkloadId
from upshift.model.key import Key
from upshift.model.money import Nano
from upshift.model.span import MICROS, Instant, Window, period_of
from upshift.store.group import KNOWN_DEED, append_decision
from upshift.store.journal import (
    Account,
    Applied,
    Call,
    Delivery,
    DeliveryState,
    Dimension,
    OptIn,
    Raised,
    UnknownKeyError,
    Used,
)
from upshift.store.reports import COLUMNS, conditions, usage_query, used_from
from upshift.store.rows import Value, alert_from, budget_ids, decision_from, encode, key_from, record_from
from upshift.store.schema import connect, prepare

OPT_IN, OPT_OUT = "payg-opt-in", "payg-opt-out"

_FARTHEST_ZONE = 14 * 3600 * MICROS

_BUDGET = "tenant, user, workload, bucket, window, period"

_CLAIM = """
INSERT INTO deliveries VALUES (?1, ?2, 1, ?3, NULL, NULL, '')
ON CONFLICT (alert, channel) DO UPDATE SET attempts = attempts + 1, claimed = ?3, failed = NULL
WHERE done IS NULL AND (failed IS NOT NULL OR claimed <= ?4)
"""

_decode_key = msgspec.json.Decoder(Key).decode


class SqliteJournal:
    """A connection of its own, for one process; its threads take turns."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises StoreVersionError, or sqlite3.Error when it cannot be read."""
        prepare(path)
        self._db = connect(path, any_thread=True)
        self._turn = threading.Lock()

    def close(self) -> None:
        with self._turn:
            self._db.close()

    def _read(self, sql: str, values: Sequence[Value] = ()) -> list[tuple[Value, ...]]:
        with self._turn:
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._turn:
            db = self._db
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def version(self) -> int:
        return _whole(self._read("SELECT number FROM changes")[0][0])

    # Plans

    def apply_plan(self, hash_: PlanHash, document: bytes, name: str, by: str, at: Instant) -> None:
        with self._write() as db:
            last = db.execute("SELECT seq, hash FROM plans ORDER BY seq DESC LIMIT 1").fetchone()
            if last is not None and last[1] == hash_:
                return
            number = 1 if last is None else last[0] + 1
            db.execute("INSERT INTO plans VALUES (?, ?, ?, ?, ?, ?)", (number, hash_, document, name, by, at))
            detail: dict[str, str | int | bool | None] = {"name": name, "number": number}
            append_decision(db, Decision(f"plan-applied/{number}", at, "plan-applied", "", hash_, by, detail))

    def plan_in_force(self) -> Applied | None:
        found = self._plans(limit=1)
        return found[0] if found else None

    def plans(self) -> Sequence[Applied]:
        return self._plans(limit=-1)

    def _plans(self, limit: int) -> list[Applied]:
        with self._turn:
            rows = self._db.execute("SELECT * FROM plans ORDER BY seq DESC LIMIT ?", (limit,)).fetchall()
        return [Applied(*row) for row in rows]

    # Keys

    def add_key(self, key: Key) -> None:
        with self._write() as db:
            if db.execute("SELECT 1 FROM keys WHERE id = ? OR digest = ?", (key.id, key.digest)).fetchone():
                raise ValueError(f"key {key.id} is known already")
            db.execute("INSERT INTO keys VALUES (?, ?, ?)", (key.id, key.digest, encode(key)))
            detail: dict[str, str | int | bool | None] = {
                "role": key.role.value,
                "name": key.name,
                "user": key.user,
                "expires": key.expires,
                "replaces": key.replaces,
            }
            append_decision(
                db, Decision(f"key-issued/{key.id}", key.created, "key-issued", key.tenant, key.id, key.by, detail)
            )

    def revoke_key(self, id_: KeyId, at: Instant, by: str) -> None:
        with self._write() as db:
            key = _key_of(db, id_)
            if key.revoked is not None:
                return
            _keep_key(db, msgspec.structs.replace(key, revoked=at))
            append_decision(db, Decision(f"key-revoked/{id_}", at, "key-revoked", key.tenant, id_, by, {}))

    def expire_key(self, id_: KeyId, at: Instant, by: str, now: Instant) -> None:
        with self._write() as db:
            key = _key_of(db, id_)
            if key.expires is not None and key.expires <= at:
                return
            _keep_key(db, msgspec.structs.replace(key, expires=at))
            id_of_decision = f"key-expires/{id_}/{at}"
            append_decision(db, Decision(id_of_decision, now, "key-expires", key.tenant, id_, by, {"expires": at}))

    def keys(self) -> Sequence[Key]:
        with self._turn:
            rows = self._db.execute("SELECT document FROM keys ORDER BY rowid").fetchall()
        return [_decode_key(document) for (document,) in rows]

    # Decisions

    def opt_in(self, tenant: TenantId, workload: WorkloadId, limit: Nano | None, by: str, at: Instant) -> None:
        self.decide(Decision(f"{OPT_IN}/{tenant}/{workload}/{at}", at, OPT_IN, tenant, workload, by, {"limit": limit}))

    def opt_out(self, tenant: TenantId, workload: WorkloadId, by: str, at: Instant) -> None:
        self.decide(Decision(f"{OPT_OUT}/{tenant}/{workload}/{at}", at, OPT_OUT, tenant, workload, by, {}))

    def consents(self) -> Sequence[OptIn]:
        rows = self._read(
            "SELECT id, at, topic, detail FROM deeds WHERE kind = 'decision' AND topic IN (?, ?) ORDER BY seq",
            (OPT_IN, OPT_OUT),
        )
        found: dict[tuple[str, str], OptIn] = {}
        for row in rows:
            decision = _decision(row)
            tenant, workload = TenantId(decision.tenant), WorkloadId(decision.subject)
            found.pop((tenant, workload), None)
            if decision.kind == OPT_IN:
                limit = decision.detail.get("limit")
                nano = limit if isinstance(limit, int) else None
                found[tenant, workload] = OptIn(tenant, workload, nano, decision.by, decision.at)
        return list(found.values())

    def decide(self, decision: Decision) -> bool:
        with self._write() as db:
            return append_decision(db, decision)

    def decisions(self, kinds: Sequence[str] = (), limit: int = 100) -> Sequence[Decision]:
        only = f" AND topic IN ({', '.join('?' * len(kinds))})" if kinds else ""
        rows = self._read(
            f"SELECT id, at, topic, detail FROM deeds WHERE kind = 'decision'{only} "  # noqa: S608
            "ORDER BY seq DESC LIMIT ?",
            (*kinds, limit),
        )
        return [_decision(row) for row in rows]

    def ask(self, entry: Adjust | Grant) -> bool:
        with self._write() as db:
            if db.execute(KNOWN_DEED, (entry.id,)).fetchone():
                return False
            done = db.execute(
                "INSERT INTO requests_in (id, document) VALUES (?, ?) ON CONFLICT DO NOTHING", (entry.id, encode(entry))
            )
            return done.rowcount == 1

    # Reports

    def usage(
        self,
        by: Sequence[Dimension],
        since: Instant,
        until: Instant,
        where: Mapping[Dimension, str] | None = None,
    ) -> Sequence[Used]:
        sql, values = usage_query(by, since, until, where or {})
        return [used_from(row, len(by)) for row in self._read(sql, values)]

    def calls(
        self, where: Mapping[Dimension, str] | None = None, limit: int = 100, before: int | None = None
    ) -> Sequence[Call]:
        condition, values = conditions(where or {})
        rows = self._read(
            f"SELECT seq, {COLUMNS} FROM records WHERE seq < ?{condition} ORDER BY seq DESC LIMIT ?",  # noqa: S608
            (2**62 if before is None else before, *values, limit),
        )
        return [Call(_whole(row[0]), record_from(row[1:])) for row in rows]

    def call(self, request: RequestId) -> Call | None:
        rows = self._read(
            f"SELECT seq, {COLUMNS} FROM records WHERE request = ?",  # noqa: S608
            (request,),
        )
        return Call(_whole(rows[0][0]), record_from(rows[0][1:])) if rows else None

    def balances(
        self,
        tenant: str | None = None,
        user: str | None = None,
        workload: str | None = None,
        now: Instant | None = None,
    ) -> Sequence[Account]:
        asked = [(name, value) for name, value in (("tenant", tenant), ("user", user), ("workload", workload)) if value]
        where = "".join(f" AND {name} = ?" for name, _ in asked)
        values: list[Value] = [value for _, value in asked]
        if now is not None:
            current = _current(now)
            where += f" AND (window, period) IN (VALUES {', '.join(['(?, ?)'] * len(current))})"
            values += [part for pair in current for part in pair]
        rows = self._read(
            f"SELECT {_BUDGET}, settled_tokens, settled_nano, held_tokens, held_nano, granted_tokens, "  # noqa: S608
            f"granted_nano FROM counters JOIN budgets ON id = budget WHERE true{where} ORDER BY {_BUDGET}",
            values,
        )
        return [_account(row) for row in rows]

    # Alerts

    def alerts(self, limit: int = 100) -> Sequence[Raised]:
        with self._turn:
            rows = self._db.execute(
                "SELECT seq, id, at, plan, keys, detail FROM deeds WHERE kind = 'alert' ORDER BY seq DESC LIMIT ?",
                (limit,),
            ).fetchall()
            return [self._raised(*row) for row in rows]

    def _raised(self, seq: int, id_: str, at: Instant, plan: str, keys: str, detail: str) -> Raised:
        (budget,) = budget_ids(keys)
        name = self._db.execute(f"SELECT {_BUDGET} FROM budgets WHERE id = ?", (budget,)).fetchone()  # noqa: S608
        deliveries = self._db.execute(
            "SELECT channel, attempts, claimed, done, failed, why FROM deliveries WHERE alert = ? ORDER BY channel",
            (id_,),
        ).fetchall()
        return Raised(
            seq, alert_from(id_, at, plan, key_from(name), detail), tuple(_delivery(*row) for row in deliveries)
        )

    def claim_delivery(self, alert: str, channel: str, at: Instant, stale_seconds: float = 600.0) -> bool:
        with self._write() as db:
            return db.execute(_CLAIM, (alert, channel, at, at - int(stale_seconds * MICROS))).rowcount == 1

    def delivery_done(self, alert: str, channel: str, at: Instant) -> None:
        with self._write() as db:
            db.execute(
                "UPDATE deliveries SET done = ?, failed = NULL WHERE alert = ? AND channel = ?", (at, alert, channel)
            )

    def delivery_failed(self, alert: str, channel: str, at: Instant, why: str) -> None:
        with self._write() as db:
            db.execute(
                "UPDATE deliveries SET failed = ?, why = ? WHERE alert = ? AND channel = ? AND done IS NULL",
                (at, why, alert, channel),
            )


def _whole(value: Value) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _decision(row: Sequence[Value]) -> Decision:
    id_, at, topic, detail = row
    return decision_from(str(id_), _whole(at), str(topic), str(detail))


def _account(row: Sequence[Value]) -> Account:
    figures = [_whole(value) for value in row[6:]]
    return Account(
        key_from([str(part) for part in row[:6]]),
        Balance(Amount(*figures[0:2]), Amount(*figures[2:4]), Amount(*figures[4:6])),
    )


def _delivery(
    channel: str, attempts: int, claimed: Instant, done: Instant | None, failed: Instant | None, why: str
) -> Delivery:
    if done is not None:
        return Delivery(channel, DeliveryState.DONE, attempts, done, why)
    if failed is not None:
        return Delivery(channel, DeliveryState.FAILED, attempts, failed, why)
    return Delivery(channel, DeliveryState.CLAIMED, attempts, claimed, why)


def _key_of(db: sqlite3.Connection, id_: KeyId) -> Key:
    row = db.execute("SELECT document FROM keys WHERE id = ?", (id_,)).fetchone()
    if row is None:
        raise UnknownKeyError(id_)
    return _decode_key(row[0])


def _keep_key(db: sqlite3.Connection, key: Key) -> None:
    db.execute("UPDATE keys SET document = ? WHERE id = ?", (encode(key), key.id))


def _current(now: Instant) -> list[tuple[str, str]]:
    """(window, period) pairs that contain `now` in one time zone or another."""
    moments = (now - _FARTHEST_ZONE, now, now + _FARTHEST_ZONE)
    pairs = {(window.value, period_of(window, "UTC", moment).label) for window in Window for moment in moments}
    return sorted(pairs)
