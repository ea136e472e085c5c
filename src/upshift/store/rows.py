"""How does an entry become rows, and how are entries and records read back from them?"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias, assert_never

import msgspec

from upshift.model.budget import Amount, Bucket, BudgetKey
from upshift.model.entry import Adjust, Alert, Decision, Entry, Grant, Hold, Note, Release, Settle
from upshift.model.fold import NO_EFFECT, Effect
from upshift.model.ids import KeyId, PlanHash, RequestId, TenantId, UserId, WorkloadId
from upshift.model.metered import Metered, Outcome
from upshift.model.span import Instant
from upshift.model.tokens import Certainty, Usage

Value: TypeAlias = int | str | None
Row: TypeAlias = tuple[Value, ...]

OPENS, CLOSES, ONCE = 0, 1, 2
"""The column `turn`."""

_LARGEST = 2**63 - 1


class Opening(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a hold's row says of its call beyond whose budget it is, so that a lost call's record can say it too."""

    started: Instant
    tenant: str = ""
    user: str = ""
    workload: str = ""
    tier: str = ""
    pod: str = ""
    project: str = ""
    session: str = ""
    agent: str = ""
    key: str = ""
    dialect: str = ""
    streamed: bool = False
    requested_model: str = ""
    served_model: str = ""
    provider: str = ""


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
_opening = msgspec.json.Decoder(Opening).decode
_alert = msgspec.json.Decoder(AlertDetail).decode
_deed = msgspec.json.Decoder(DeedDetail).decode
_keys = msgspec.json.Decoder(tuple[int, ...]).decode


def entry_row(seq: int, entry: Entry, keys: str, extends: bool) -> Row:
    """Values in the order of ENTRY_COLUMNS; `keys` is the JSON list of budget ids."""
    match entry:
        case Hold():
            kind, turn = ("extend", None) if extends else ("hold", OPENS)
            tokens, nano = entry.amount.tokens, entry.amount.nano
            detail = None if entry.opening is None else encode(_open(entry.opening)).decode()
            return (seq, kind, entry.request, turn, entry.at, entry.plan, "", keys, tokens, nano, 0, 0, detail)
        case Settle():
            # The plan that closed it is in the call's record.
            amount, held = entry.amount, entry.held
            figures = (amount.tokens, amount.nano, held.tokens, held.nano)
            return (seq, "settle", entry.request, CLOSES, entry.at, "", "", keys, *figures, None)
        case Release():
            held = entry.held
            figures = (0, 0, held.tokens, held.nano)
            return (seq, "release", entry.request, CLOSES, entry.at, "", "", keys, *figures, None)
        case Note():
            return (seq, "note", entry.request, CLOSES, entry.at, "", "", keys, 0, 0, 0, 0, None)
        case Adjust() | Grant():
            kind = "adjust" if isinstance(entry, Adjust) else "grant"
            tokens, nano = entry.amount.tokens, entry.amount.nano
            detail = encode(DeedDetail(by=entry.by, reason=entry.reason)).decode()
            return (seq, kind, entry.id, ONCE, entry.at, "", "", keys, tokens, nano, 0, 0, detail)
        case Alert():
            told = AlertDetail(entry.threshold, entry.measure, entry.used, entry.limit, entry.runs_out)
            detail = encode(told).decode()
            return (seq, "alert", entry.id, ONCE, entry.at, entry.plan, "", keys, 0, 0, 0, 0, detail)
        case Decision():
            deed = DeedDetail(by=entry.by, tenant=entry.tenant, subject=entry.subject, detail=entry.detail)
            detail = encode(deed).decode()
            return (seq, "decision", entry.id, ONCE, entry.at, "", entry.kind, keys, 0, 0, 0, 0, detail)
    assert_never(entry)


def _open(record: Metered) -> Opening:
    return Opening(
        started=record.started,
        tenant=record.tenant,
        user=record.user,
        workload=record.workload,
        tier=record.tier,
        pod=record.pod,
        project=record.project,
        session=record.session,
        agent=record.agent,
        key=record.key,
        dialect=record.dialect,
        streamed=record.streamed,
        requested_model=record.requested_model,
        served_model=record.served_model,
        provider=record.provider,
    )


def row_effect(kind: str, tokens: int, nano: int, held_tokens: int, held_nano: int) -> Effect:
    """What an entry's row does to the counters it names."""
    match kind:
        case "hold" | "extend":
            return Effect(held=Amount(tokens, nano))
        case "settle" | "release":
            return Effect(settled=Amount(tokens, nano), held=Amount(-held_tokens, -held_nano))
        case "adjust":
            return Effect(settled=Amount(tokens, nano))
        case "grant":
            return Effect(granted=Amount(tokens, nano))
        case _:
            return NO_EFFECT


def budget_ids(keys: str) -> tuple[int, ...]:
    """The budget ids in the column `keys`."""
    return _keys(keys)


def call_row(seq: int, record: Metered) -> Row:
    """Values in the order of `seq` and CALL_COLUMNS."""
    usage = record.usage
    return (
        seq, record.request, record.started, record.plan, record.tenant, record.user, record.tier, record.workload,
        record.pod, record.project, record.session, record.agent, record.key, record.dialect, int(record.streamed),
        record.requested_model, record.served_model, record.provider, record.upstream_id, record.outcome.value,
        record.status, record.bucket.value, record.reason, record.certainty.value, usage.input, usage.cached,
        usage.cache_write_5m, usage.cache_write_1h, usage.output, usage.reasoning, record.cost, record.counted,
        record.counted_tokens, record.latency_us, record.first_byte_us, record.overhead_us,
    )  # fmt: skip


class _Call(msgspec.Struct, array_like=True):
    """A row of calls; SQLite has no booleans, hence the int."""

    request: RequestId
    started: Instant
    plan: PlanHash
    tenant: str
    user: str
    tier: str
    workload: str
    pod: str
    project: str
    session: str
    agent: str
    key: KeyId
    dialect: str
    streamed: int
    requested_model: str
    served_model: str
    provider: str
    upstream_id: str
    outcome: Outcome
    status: int
    bucket: Bucket
    reason: str
    certainty: Certainty
    input: int
    cached: int
    cache_write_5m: int
    cache_write_1h: int
    output: int
    reasoning: int
    cost: int | None
    counted: int
    counted_tokens: int
    latency_us: int
    first_byte_us: int
    overhead_us: int


def record_from(row: Sequence[object]) -> Metered:
    """The record in a row of CALL_COLUMNS."""
    call = msgspec.convert(row, _Call)
    fields = {
        name: getattr(call, name)
        for name in _Call.__struct_fields__
        if name not in Usage.__struct_fields__ and name != "streamed"
    }
    usage = Usage(call.input, call.cached, call.cache_write_5m, call.cache_write_1h, call.output, call.reasoning)
    return Metered(**fields, usage=usage, streamed=bool(call.streamed))


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
    detail: str | None,
) -> Metered:
    """The record of a call that nobody can tell the end of: counted at its hold, cost unknown."""
    key = next((each for each in keys if each.user != "*"), keys[0] if keys else None)
    known = Opening(started=at) if detail is None else _opening(detail)
    return Metered(
        request=request,
        started=known.started,
        plan=plan,
        tenant=known.tenant or (key.tenant if key else ""),
        user=known.user or (key.user if key else ""),
        tier=known.tier,
        workload=known.workload or (key.workload if key else ""),
        pod=known.pod,
        project=known.project,
        session=known.session,
        agent=known.agent,
        key=KeyId(known.key),
        dialect=known.dialect,
        streamed=known.streamed,
        requested_model=known.requested_model,
        served_model=known.served_model,
        provider=known.provider,
        outcome=Outcome.LOST,
        bucket=key.bucket if key else Bucket.INCLUDED,
        reason="lost",
        certainty=Certainty.UNKNOWN,
        cost=None,
        counted=amount.nano,
        counted_tokens=amount.tokens,
    )


def storable(entry: Entry) -> Entry:
    """An entry that SQLite takes: text that is not Unicode is mended, numbers are brought within 64 bits."""
    mended: Entry = msgspec.convert(_storable(msgspec.to_builtins(entry)), Entry)
    return mended


def _storable(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
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


def flat(rows: Iterable[Row]) -> list[Value]:
    """All values of rows, for one statement with many rows."""
    return [value for row in rows for value in row]
