"""How does an entry become rows, and how are entries and records read back from them?"""

from collections.abc import Sequence, Set
from typing import TypeAlias, assert_never

import msgspec

from upshift.model.budget import Amount, Bucket, BudgetKey
from upshift.model.entry import Adjust, Alert, Decision, Entry, Grant, Hold
from upshift.model.ids import PlanHash, RequestId, TenantId, UserId, WorkloadId
from upshift.model.metered import Metered, Outcome
from upshift.model.span import Instant
from upshift.model.tokens import Certainty, Usage
from upshift.store.schema import PROFILE_COLUMNS, RECORD_COLUMNS

Value: TypeAlias = int | str | None
Row: TypeAlias = tuple[Value, ...]

HOLD, SETTLE, RELEASE, NOTE = "hold", "settle", "release", "note"
"""The column `kind` of a profile."""

_LARGEST = 2**63 - 1


class Held(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One hold, or the extension of one, as it is kept in the document of its group."""

    seq: int
    request: RequestId
    profile: int
    at: Instant
    extends: bool
    tokens: int
    nano: int
    started: Instant
    session: str


class AlertDetail(msgspec.Struct, frozen=True):
    """The fields of an Alert that have no column."""

    threshold: int
    measure: str
    used: int
    limit: int
    runs_out: Instant | None


class DeedDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of an Adjust, Grant or Decision that have no column."""

    by: str
    reason: str = ""
    tenant: str = ""
    subject: str = ""
    detail: dict[str, str | int | bool | None] = {}


encode = msgspec.json.Encoder().encode
pack = msgspec.msgpack.Encoder().encode
held_from = msgspec.msgpack.Decoder(list[Held]).decode
_alert = msgspec.json.Decoder(AlertDetail).decode
_deed = msgspec.json.Decoder(DeedDetail).decode
_keys = msgspec.json.Decoder(tuple[int, ...]).decode
decode_asked = msgspec.json.Decoder(Adjust | Grant).decode


def deed_row(seq: int, entry: Adjust | Grant | Alert | Decision, keys: str) -> Row:
    """Values in the order of DEED_COLUMNS; `keys` is the JSON list of budget ids."""
    match entry:
        case Adjust() | Grant():
            kind = "adjust" if isinstance(entry, Adjust) else "grant"
            detail = encode(DeedDetail(by=entry.by, reason=entry.reason)).decode()
            return (seq, kind, entry.id, entry.at, "", "", keys, entry.amount.tokens, entry.amount.nano, detail)
        case Alert():
            told = AlertDetail(entry.threshold, entry.measure, entry.used, entry.limit, entry.runs_out)
            return (seq, "alert", entry.id, entry.at, entry.plan, "", keys, 0, 0, encode(told).decode())
        case Decision():
            deed = DeedDetail(by=entry.by, tenant=entry.tenant, subject=entry.subject, detail=entry.detail)
            return (seq, "decision", entry.id, entry.at, "", entry.kind, keys, 0, 0, encode(deed).decode())
    assert_never(entry)


def repeated(entries: Sequence[Entry], requests: Set[str], ids: Set[str]) -> list[int]:
    """Positions of entries that happened before, when these requests were closed and these ids are known."""
    closed, done, found = set(requests), set(ids), []
    for position, entry in enumerate(entries):
        if isinstance(entry, Adjust | Grant | Alert | Decision):
            known = entry.id in done
            done.add(entry.id)
        else:
            known = entry.request in closed
            if not isinstance(entry, Hold):
                closed.add(entry.request)
        if known:
            found.append(position)
    return found


def budget_ids(keys: str) -> tuple[int, ...]:
    """The budget ids in the column `keys`."""
    return _keys(keys)


def stored(value: Value) -> Value:
    """A value as the store and the digest take it: enumerations are their text, truths are numbers."""
    if isinstance(value, str):
        return str.__str__(value)
    return value if value is None else int(value)


def record_from(row: Sequence[object]) -> Metered:
    """The record in a row of RECORD_COLUMNS."""
    return _record(dict(zip(RECORD_COLUMNS, row, strict=True)))


def opening_from(held: Held, profile: Sequence[object]) -> Metered:
    """What was known of a call when it was let in, from its hold and a row of PROFILE_COLUMNS."""
    fields = {name: value for name, value in zip(PROFILE_COLUMNS, profile, strict=True) if name in RECORD_COLUMNS}
    return _record({"request": held.request, "started": held.started, "session": held.session, **fields})


def _record(fields: dict[str, object]) -> Metered:
    # Without strictness 0 and 1 are truths, as SQLite has none.
    usage = {name: fields.pop(name) for name in Usage.__struct_fields__ if name in fields}
    return msgspec.convert({**fields, "usage": usage}, Metered, strict=False)


def decision_from(id_: str, at: int, topic: str, detail: str) -> Decision:
    """A Decision from its columns."""
    deed = _deed(detail)
    return Decision(id_, at, topic, deed.tenant, deed.subject, deed.by, deed.detail)


def alert_from(id_: str, at: int, plan: str, key: BudgetKey, detail: str) -> Alert:
    """An Alert from its columns and its counter's key."""
    told = _alert(detail)
    return Alert(id_, at, key, told.threshold, told.measure, told.used, told.limit, told.runs_out, PlanHash(plan))


def key_from(row: Sequence[str]) -> BudgetKey:
    """A BudgetKey from (tenant, user, workload, bucket, window, period)."""
    tenant, user, workload, bucket, window, period = row
    return BudgetKey(TenantId(tenant), UserId(user), WorkloadId(workload), Bucket(bucket), window, period)


def lost_record(
    request: RequestId,
    at: Instant,
    plan: PlanHash,
    keys: Sequence[BudgetKey],
    amount: Amount,
    opening: Metered | None,
) -> Metered:
    """The record of a call that nobody can tell the end of: counted at its hold, cost unknown."""
    key = next((each for each in keys if each.user != "*"), keys[0] if keys else None)
    known = Metered(request=request, started=at, plan=plan) if opening is None else opening
    return msgspec.structs.replace(
        known,
        request=request,
        plan=plan,
        tenant=known.tenant or (key.tenant if key else ""),
        user=known.user or (key.user if key else ""),
        workload=known.workload or (key.workload if key else ""),
        outcome=Outcome.LOST,
        bucket=key.bucket if key else Bucket.INCLUDED,
        reason="lost",
        certainty=Certainty.UNKNOWN,
        cost=None,
        counted=amount.nano,
        counted_tokens=amount.tokens,
    )


def storable(entry: Entry) -> Entry:
    """An entry that every store takes: text without NUL and what is not Unicode, numbers within 64 bits."""
    mended: Entry = msgspec.convert(_storable(msgspec.to_builtins(entry)), Entry)
    return mended


def _storable(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode().replace("\0", "?")
        case bool():
            return value
        case int():
            return max(-_LARGEST, min(_LARGEST, value))
        case dict():
            return {_storable(name): _storable(each) for name, each in value.items()}
        case list() | tuple():
            return [_storable(each) for each in value]
        case _:
            return value
