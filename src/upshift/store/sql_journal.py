"""What do plans, keys, consents, decisions and alerts come to in SQL, whatever database keeps them?"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol, TypeAlias

import msgspec

from upshift.model.budget import Amount, Balance
from upshift.model.contract import Activation, Standing
from upshift.model.entry import Adjust, Decision, Grant
from upshift.model.feedback import About, Reported
from upshift.model.ids import AgentId, KeyId, PlanHash, RequestId, TenantId, WorkloadId
from upshift.model.key import Key
from upshift.model.metered import Metered
from upshift.model.money import Nano
from upshift.model.span import MICROS, Instant, Window, period_of
from upshift.store import spans
from upshift.store.entries import EntryKind, Kept, listed
from upshift.store.feedback_rows import AT_ONCE, insertion, reported_from, row_of, selection
from upshift.store.journal import (
    Account,
    Applied,
    Bounds,
    Call,
    Delivery,
    DeliveryState,
    Dimension,
    OptIn,
    Raised,
    Tally,
    UnknownKeyError,
    Used,
)
from upshift.store.reports import COLUMNS, conditions
from upshift.store.rows import alert_from, budget_ids, decision_from, encode, key_from, record_from
from upshift.store.tallies import tally_from, tally_query

OPT_IN, OPT_OUT = "payg-opt-in", "payg-opt-out"

ACTIVATED, DEACTIVATED, SHARED = STANDING_KINDS = ("interface-activated", "interface-deactivated", "traffic-share")
_STANDING = "SELECT id, at, topic, detail FROM deeds WHERE kind = 'decision' AND topic IN (?, ?, ?) ORDER BY seq"

_FARTHEST_ZONE = 14 * 3600 * MICROS
_ALL = 2**62
"""More rows than there are."""

_NO_SESSION = (Dimension.SESSION, "")
_SPANNED = frozenset(Dimension) - {Dimension.HOUR, Dimension.DAY, Dimension.MONTH}

_OF_ONE = (Dimension.USER, Dimension.KEY)
# That a call's profile is one of few is quicker found among these than by a look at the profile of each call. In a
# CASE, since else PostgreSQL would make it a join, which is just that.
_OF_FEW = (
    "CASE WHEN calls.profile IN (SELECT profile FROM facets WHERE facet IN "
    "(SELECT id FROM facet_labels WHERE true{})) THEN true ELSE false END"
)

_BUDGET = 'tenant, "user", workload, bucket, "window", period'

_CLAIM = """
INSERT INTO deliveries (alert, channel, attempts, claimed, done, failed, why) VALUES (?, ?, 1, ?, NULL, NULL, '')
ON CONFLICT (alert, channel) DO UPDATE
SET attempts = deliveries.attempts + 1, claimed = excluded.claimed, failed = NULL
WHERE deliveries.done IS NULL AND (deliveries.failed IS NOT NULL OR deliveries.claimed <= ?)
"""

# A lease is a delivery that is never done: `why` is its holder and `claimed` when it ends. A table of its own would be
# a version of the store more, for one row. One that ends too far ahead is of a clock that has been set back since.
_LEASE = """
INSERT INTO deliveries (alert, channel, attempts, claimed, done, failed, why) VALUES (?, 'lease', 1, ?, NULL, NULL, ?)
ON CONFLICT (alert, channel) DO UPDATE SET claimed = excluded.claimed, why = excluded.why
WHERE deliveries.why = excluded.why OR deliveries.claimed <= ? OR deliveries.claimed > ?
"""

_decode_key = msgspec.json.Decoder(Key).decode

Fields: TypeAlias = tuple[Any, ...]


class Session(Protocol):
    """An open transaction that sees every group and lets nobody append another. Question marks stand for values."""

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Fields]: ...

    def append(self, decision: Decision) -> bool:
        """Append a decision as a group of its own; False when its id is known."""


class SqlJournal(ABC):
    """All of a `Journal` but the connection, and what reports ask. Everything raises StoreTroubleError."""

    _REACH: ClassVar[str]
    """Asks after and up to which entries spans tell where calls are; no row where they do not."""
    near = spans.NEAR
    """How many of the latest entries a search looks through before it asks where calls are."""

    @abstractmethod
    def _read(self, sql: str, values: Sequence[object] = ()) -> list[Fields]: ...

    @abstractmethod
    def _change(self, sql: str, values: Sequence[object]) -> int:
        """One statement, and how many rows it changed."""

    @abstractmethod
    def _write(self) -> AbstractContextManager[Session]: ...

    @abstractmethod
    def _keys(self) -> list[Fields]:
        """The documents of all keys, oldest first."""

    @abstractmethod
    def usage(
        self,
        by: Sequence[Dimension],
        since: Instant,
        until: Instant,
        where: Mapping[Dimension, str] | None = None,
        *,
        latencies: bool = True,
    ) -> Sequence[Used]: ...

    @abstractmethod
    def close(self) -> None: ...

    def version(self) -> int:
        return int(self._read("SELECT number FROM changes")[0][0])

    # Plans

    def apply_plan(
        self, hash_: PlanHash, document: bytes, name: str, by: str, at: Instant, *, restores: int | None = None
    ) -> None:
        with self._write() as session:
            last = session.read("SELECT seq, hash FROM plans ORDER BY seq DESC LIMIT 1")
            if last and last[0][1] == hash_:
                return
            number = last[0][0] + 1 if last else 1
            session.read(
                'INSERT INTO plans (seq, hash, document, name, "by", at) VALUES (?, ?, ?, ?, ?, ?)',
                (number, hash_, document, name, by, at),
            )
            detail: dict[str, str | int | bool | None] = {"name": name, "number": number}
            if restores is not None:
                detail["restores"] = restores
            session.append(Decision(f"plan-applied/{number}", at, "plan-applied", "", hash_, by, detail))

    def plan_in_force(self) -> Applied | None:
        found = self._plans(limit=1)
        return found[0] if found else None

    def plans(self) -> Sequence[Applied]:
        return self._plans(limit=_ALL)

    def _plans(self, limit: int) -> list[Applied]:
        rows = self._read('SELECT seq, hash, document, name, "by", at FROM plans ORDER BY seq DESC LIMIT ?', (limit,))
        return [Applied(*row) for row in rows]

    # Keys

    def add_key(self, key: Key) -> None:
        with self._write() as session:
            if session.read("SELECT 1 FROM keys WHERE id = ? OR digest = ?", (key.id, key.digest)):
                raise ValueError(f"key {key.id} is known already")
            session.read("INSERT INTO keys (id, digest, document) VALUES (?, ?, ?)", (key.id, key.digest, encode(key)))
            detail: dict[str, str | int | bool | None] = {
                "role": key.role.value,
                "name": key.name,
                "user": key.user,
                "expires": key.expires,
                "replaces": key.replaces,
            }
            session.append(
                Decision(f"key-issued/{key.id}", key.created, "key-issued", key.tenant, key.id, key.by, detail)
            )

    def revoke_key(self, id_: KeyId, at: Instant, by: str) -> None:
        with self._write() as session:
            key = _key_of(session, id_)
            if key.revoked is not None:
                return
            _keep_key(session, msgspec.structs.replace(key, revoked=at))
            session.append(Decision(f"key-revoked/{id_}", at, "key-revoked", key.tenant, id_, by, {}))

    def expire_key(self, id_: KeyId, at: Instant, by: str, now: Instant) -> None:
        with self._write() as session:
            key = _key_of(session, id_)
            if key.expires is not None and key.expires <= at:
                return
            _keep_key(session, msgspec.structs.replace(key, expires=at))
            id_of_decision = f"key-expires/{id_}/{at}"
            session.append(Decision(id_of_decision, now, "key-expires", key.tenant, id_, by, {"expires": at}))

    def keys(self) -> Sequence[Key]:
        return [_decode_key(document) for (document,) in self._keys()]

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
            decision = decision_from(*row)
            tenant, workload = TenantId(decision.tenant), WorkloadId(decision.subject)
            found.pop((tenant, workload), None)
            if decision.kind == OPT_IN:
                limit = decision.detail.get("limit")
                nano = limit if isinstance(limit, int) else None
                found[tenant, workload] = OptIn(tenant, workload, nano, decision.by, decision.at)
        return list(found.values())

    def activate_interface(self, activation: Activation) -> bool:
        with self._write() as session:
            rows = session.read(_STANDING, STANDING_KINDS)
            known = _standing(rows).active.get(activation.interface)
            if known is not None and _same(known, activation):
                return False
            return session.append(
                Decision(
                    # Counted, for the same may be decided, taken back and decided again at one reading of the clock.
                    id=f"{ACTIVATED}/{activation.interface}/{activation.at}/{len(rows)}",
                    at=activation.at,
                    kind=ACTIVATED,
                    tenant="",
                    subject=activation.interface,
                    by=activation.by,
                    detail={"from": activation.caller, "to": activation.callee, "major": activation.major},
                )
            )

    def deactivate_interface(self, interface: str, by: str, at: Instant) -> bool:
        with self._write() as session:
            rows = session.read(_STANDING, STANDING_KINDS)
            if interface not in _standing(rows).active:
                return False
            id_of_decision = f"{DEACTIVATED}/{interface}/{at}/{len(rows)}"
            return session.append(Decision(id_of_decision, at, DEACTIVATED, "", interface, by, {}))

    def share_traffic(self, agent: AgentId, share: float, by: str, at: Instant) -> bool:
        if not 0 <= share <= 1:
            raise ValueError(f"a share of the sessions is from 0 to 1, not {share:g}")
        with self._write() as session:
            rows = session.read(_STANDING, STANDING_KINDS)
            if _standing(rows).shares.get(agent, 1.0) == share:
                return False
            # Text keeps every digit, and a detail has no floats.
            detail: dict[str, str | int | bool | None] = {"share": repr(float(share))}
            return session.append(Decision(f"{SHARED}/{agent}/{at}/{len(rows)}", at, SHARED, "", agent, by, detail))

    def standing(self) -> Standing:
        return _standing(self._read(_STANDING, STANDING_KINDS))

    def decide(self, decision: Decision) -> bool:
        with self._write() as session:
            return session.append(decision)

    def decisions(self, kinds: Sequence[str] = (), limit: int = 100) -> Sequence[Decision]:
        only = f" AND topic IN ({', '.join('?' * len(kinds))})" if kinds else ""
        rows = self._read(
            f"SELECT id, at, topic, detail FROM deeds WHERE kind = 'decision'{only} "  # noqa: S608
            "ORDER BY seq DESC LIMIT ?",
            (*kinds, limit),
        )
        return [decision_from(*row) for row in rows]

    def entries(
        self,
        kinds: Collection[EntryKind] = (),
        limit: int = 100,
        before: int | None = None,
        until: Instant | None = None,
        tenant: str = "",
    ) -> Sequence[Kept]:
        return listed(self._read, kinds, limit, before, until, tenant)

    def ask(self, entry: Adjust | Grant) -> bool:
        changed = self._change(
            "INSERT INTO requests_in (id, document) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM deeds WHERE id = ?) "
            "ON CONFLICT DO NOTHING",
            (entry.id, encode(entry), entry.id),
        )
        return changed == 1

    # Reports

    def tallies(
        self, by: Sequence[Dimension], after: int, until: int, bounds: Bounds, since: Instant = 0
    ) -> Sequence[Tally]:
        rows = self._read(tally_query(by, bounds), (after, until, since))
        return [tally_from(row, by, bounds) for row in rows]

    def calls(
        self, where: Mapping[Dimension, str] | None = None, limit: int = 100, before: int | None = None
    ) -> Sequence[Call]:
        asked = where or {}

        def matching(place: str, *more: object, only: Mapping[Dimension, str] = asked) -> list[Fields]:
            condition, values = self._conditions(only)
            # A left join keeps calls the outer loop, in their order, where nothing is asked of profiles.
            return self._read(
                f"SELECT seq, {COLUMNS} FROM calls LEFT JOIN profiles ON profiles.id = calls.profile "  # noqa: S608
                f"WHERE {place}{condition} ORDER BY seq DESC LIMIT ?",
                (*more[:-1], *values, more[-1]),
            )

        def part(above: int, below: int, most: int) -> list[Fields]:
            return matching("seq > ? AND seq < ?", above, below, most)

        def of_few(above: int, below: int, most: int) -> list[Fields]:
            labels = "".join(f' AND "{each.value}" = ?' for each in mine)
            place = f"seq > ? AND seq < ? AND {_OF_FEW.format(labels)}"
            # Asked of each profile once more, databases would begin with all of those.
            others = {each: asked[each] for each in asked.keys() - mine.keys()}
            return matching(place, above, below, *mine.values(), most, only=others)

        def those(seqs: Sequence[int]) -> list[Fields]:
            return matching(f"seq IN ({', '.join('?' * len(seqs))})", *seqs, len(seqs))

        top = _ALL if before is None else before
        # Of calls without a session no span tells.
        mine = {each: asked[each] for each in _SPANNED & asked.keys() if (each, asked[each]) != _NO_SESSION}
        reach = self._read(self._REACH) if mine else []
        of_one = Dimension.SESSION not in mine and not mine.keys().isdisjoint(_OF_ONE)
        near = min(self.near, spans.NEAR_OF_ONE) if of_one else self.near
        inside = of_few if of_one else part
        rows = (
            spans.latest(self._read, part, those, mine, top, limit, reach[0], inside=inside, near=near)
            if reach
            else part(-1, top, limit)
        )
        return [Call(row[0], record_from(row[1:])) for row in rows]

    def _conditions(self, where: Mapping[Dimension, str]) -> tuple[str, list[str]]:
        return conditions(where)

    def call(self, request: RequestId) -> Call | None:
        rows = self._read(f"SELECT seq, {COLUMNS} FROM records WHERE request = ?", (request,))  # noqa: S608
        return Call(rows[0][0], record_from(rows[0][1:])) if rows else None

    def known_calls(self, requests: Sequence[RequestId]) -> Mapping[RequestId, Metered]:
        found: dict[RequestId, Metered] = {}
        for first in range(0, len(requests), AT_ONCE):
            part = requests[first : first + AT_ONCE]
            rows = self._read(
                f"SELECT {COLUMNS} FROM records WHERE request IN ({', '.join('?' * len(part))})",  # noqa: S608
                part,
            )
            found |= {record.request: record for record in map(record_from, rows)}
        return found

    # Feedback

    def add_feedback(self, reports: Sequence[Reported]) -> int:
        rows = list(map(row_of, reports))
        parts = [rows[first : first + AT_ONCE] for first in range(0, len(rows), AT_ONCE)]
        return sum(self._change(insertion(len(part)), [value for row in part for value in row]) for part in parts)

    def feedback(
        self,
        where: Mapping[About, str] | None = None,
        since: Instant = 0,
        until: Instant | None = None,
        limit: int | None = None,
    ) -> Sequence[Reported]:
        most = _ALL if limit is None else limit
        sql, values = selection(where or {}, since, _ALL if until is None else until, most)
        return [reported_from(*row) for row in reversed(self._read(sql, values))]

    def balances(
        self,
        tenant: str | None = None,
        user: str | None = None,
        workload: str | None = None,
        now: Instant | None = None,
    ) -> Sequence[Account]:
        asked = [(name, value) for name, value in (("tenant", tenant), ("user", user), ("workload", workload)) if value]
        where = "".join(f' AND "{name}" = ?' for name, _ in asked)
        values = [value for _, value in asked]
        if now is not None:
            current = _current(now)
            # By the period first: of pairs an index is of no use to SQLite.
            where += f" AND period IN ({', '.join('?' * len(current))})"
            where += f' AND ("window", period) IN (VALUES {", ".join(["(?, ?)"] * len(current))})'
            values += [period for _, period in current] + [part for pair in current for part in pair]
        rows = self._read(
            f"SELECT {_BUDGET}, settled_tokens, settled_nano, held_tokens, held_nano, granted_tokens, "  # noqa: S608
            f"granted_nano FROM counters JOIN budgets ON id = budget WHERE true{where}",
            values,
        )
        # Sorted here, since databases differ in what they take for the order of texts.
        return [_account(row) for row in sorted(rows, key=lambda row: row[:6])]

    # Alerts

    def alerts(self, limit: int = 100) -> Sequence[Raised]:
        deeds = self._read(
            "SELECT seq, id, at, plan, keys, detail FROM deeds WHERE kind = 'alert' ORDER BY seq DESC LIMIT ?", (limit,)
        )
        if not deeds:
            return []
        lowest = deeds[-1][0]
        since = "FROM deeds WHERE kind = 'alert' AND seq >= ?"
        wanted = sorted({budget_ids(keys)[0] for _, _, _, _, keys, _ in deeds})
        budgets = {
            id_: key_from(name)
            for first in range(0, len(wanted), AT_ONCE)
            for id_, *name in self._read(
                f"SELECT id, {_BUDGET} FROM budgets WHERE id IN "  # noqa: S608
                f"({', '.join('?' * len(wanted[first : first + AT_ONCE]))})",
                wanted[first : first + AT_ONCE],
            )
        }
        deliveries: dict[str, list[Delivery]] = {}
        for alert, *told in self._read(
            "SELECT alert, channel, attempts, claimed, done, failed, why FROM deliveries "  # noqa: S608
            f"WHERE alert IN (SELECT id {since})",
            (lowest,),
        ):
            deliveries.setdefault(alert, []).append(_delivery(*told))
        return [
            Raised(
                seq,
                alert_from(id_, at, plan, budgets[budget_ids(keys)[0]], detail),
                tuple(sorted(deliveries.get(id_, ()), key=lambda each: each.channel)),
            )
            for seq, id_, at, plan, keys, detail in deeds
        ]

    def claim_delivery(self, alert: str, channel: str, at: Instant, stale_seconds: float = 600.0) -> bool:
        return self._change(_CLAIM, (alert, channel, at, at - int(stale_seconds * MICROS))) == 1

    def delivery_done(self, alert: str, channel: str, at: Instant) -> None:
        self._change(
            "UPDATE deliveries SET done = ?, failed = NULL WHERE alert = ? AND channel = ?", (at, alert, channel)
        )

    def delivery_failed(self, alert: str, channel: str, at: Instant, why: str) -> None:
        self._change(
            "UPDATE deliveries SET failed = ?, why = ? WHERE alert = ? AND channel = ? AND done IS NULL",
            (at, why, alert, channel),
        )

    def lease(self, name: str, holder: str, at: Instant, seconds: float) -> bool:
        until = at + int(seconds * MICROS)
        return self._change(_LEASE, (f"lease/{name}", until, holder, at, until + int(seconds * MICROS))) == 1


def _account(row: Sequence[Any]) -> Account:
    figures = row[6:]
    return Account(key_from(row[:6]), Balance(Amount(*figures[0:2]), Amount(*figures[2:4]), Amount(*figures[4:6])))


def _delivery(
    channel: str, attempts: int, claimed: Instant, done: Instant | None, failed: Instant | None, why: str
) -> Delivery:
    if done is not None:
        return Delivery(channel, DeliveryState.DONE, attempts, done, why)
    if failed is not None:
        return Delivery(channel, DeliveryState.FAILED, attempts, failed, why)
    return Delivery(channel, DeliveryState.CLAIMED, attempts, claimed, why)


def _key_of(session: Session, id_: KeyId) -> Key:
    rows = session.read("SELECT document FROM keys WHERE id = ?", (id_,))
    if not rows:
        raise UnknownKeyError(id_)
    return _decode_key(rows[0][0])


def _keep_key(session: Session, key: Key) -> None:
    session.read("UPDATE keys SET document = ? WHERE id = ?", (encode(key), key.id))


def _current(now: Instant) -> list[tuple[str, str]]:
    """(window, period) pairs that contain `now` in one time zone or another."""
    moments = (now - _FARTHEST_ZONE, now, now + _FARTHEST_ZONE)
    pairs = {(window.value, period_of(window, "UTC", moment).label) for window in Window for moment in moments}
    return sorted(pairs)


def _standing(rows: Sequence[Fields]) -> Standing:
    """What holds by the decisions of these rows, in the order of the ledger."""
    active: dict[str, Activation] = {}
    shares: dict[AgentId, float] = {}
    for decision in (decision_from(*row) for row in rows):
        said = decision.detail
        if decision.kind == ACTIVATED:
            caller, callee, major = said.get("from"), said.get("to"), said.get("major")
            active[decision.subject] = Activation(
                interface=decision.subject,
                caller=AgentId(caller) if isinstance(caller, str) else None,
                callee=AgentId(callee) if isinstance(callee, str) else None,
                major=major if isinstance(major, int) else None,
                by=decision.by,
                at=decision.at,
            )
        elif decision.kind == DEACTIVATED:
            active.pop(decision.subject, None)
        else:
            share = said.get("share")
            shares[AgentId(decision.subject)] = float(share) if isinstance(share, str) else 1.0
    return Standing(active, {agent: share for agent, share in shares.items() if share < 1.0})


def _same(one: Activation, other: Activation) -> bool:
    return (one.caller, one.callee, one.major) == (other.caller, other.callee, other.major)
