"""What does the ledger hold, entry by entry: holds, settlements, grants, corrections, alerts, decisions?"""

from collections.abc import Callable, Collection, Iterator, Sequence
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

from upshift.model.span import Instant
from upshift.store.rows import Held, budget_ids, held_from

Read: TypeAlias = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
"""Asks the database; question marks stand for values."""


class EntryKind(StrEnum):
    """Kinds of entries, as they are listed."""

    HOLD = "hold"
    SETTLE = "settle"
    RELEASE = "release"
    NOTE = "note"
    ADJUST = "adjust"
    GRANT = "grant"
    ALERT = "alert"
    DECISION = "decision"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as listed. `tokens` and `nano` are what it moved: held, spent, corrected or granted."""

    seq: int
    kind: EntryKind
    at: Instant
    id: str
    """Of the request, or the entry's own."""
    tenant: str = ""
    user: str = ""
    workload: str = ""
    what: str = ""
    """How a call ended, what was decided."""
    about: str = ""
    """Whom or what a decision is about, which model a call is for."""
    by: str = ""
    reason: str = ""
    """And what else is known."""
    tokens: int = 0
    nano: int = 0


CALLS = frozenset((EntryKind.SETTLE, EntryKind.RELEASE, EntryKind.NOTE))
DEEDS = frozenset((EntryKind.ADJUST, EntryKind.GRANT, EntryKind.ALERT, EntryKind.DECISION))

_PAGE = 500
_GROUPS = 50
_ALL = 2**62


class _Deed(msgspec.Struct, frozen=True):
    """What of a deed's detail is listed."""

    by: str = ""
    reason: str = ""
    tenant: str = ""
    subject: str = ""
    detail: dict[str, str | int | bool | None] = {}
    threshold: int = 0
    measure: str = ""


_deed = msgspec.json.Decoder(_Deed).decode


def listed(
    read: Read, kinds: Collection[EntryKind], limit: int, before: int | None, until: Instant | None, tenant: str
) -> list[Kept]:
    """At most `limit` entries of these kinds (all, if none are named), the latest first."""
    wanted = frozenset(kinds) or frozenset(EntryKind)
    top = _ALL if before is None else before
    if until is not None:
        top = min(top, _place(read, until))
    found: list[Kept] = []
    if wanted & CALLS:
        found += _calls(read, wanted & CALLS, limit, top, tenant)
    if wanted & DEEDS:
        found += _first(_deeds(read, wanted & DEEDS, top), limit, tenant)
    if EntryKind.HOLD in wanted:
        # Where the page begins is told by what closed calls; a few holds before it may be of later.
        held = (each for each in _holds(read, top) if until is None or each.at < until)
        found += _first(held, limit, tenant)
    found.sort(key=lambda each: -each.seq)
    return found[:limit]


def _first(entries: Iterator[Kept], limit: int, tenant: str) -> Iterator[Kept]:
    for each in entries:
        if limit <= 0:
            return
        if tenant in ("", each.tenant):
            limit -= 1
            yield each


def _calls(read: Read, kinds: Collection[EntryKind], limit: int, top: int, tenant: str) -> Iterator[Kept]:
    only = f" AND p.kind IN ({', '.join('?' * len(kinds))})" if len(kinds) < len(CALLS) else ""
    values = [kind.value for kind in kinds] if only else []
    if tenant:
        only, values = f"{only} AND p.tenant = ?", [*values, tenant]
    # A left join keeps calls the outer loop, in their order.
    rows = read(
        'SELECT c.seq, p.kind, c.at, c.request, p.tenant, p."user", p.workload, p.outcome, p.served_model, p.reason,'  # noqa: S608
        " c.counted_tokens, c.counted FROM calls c LEFT JOIN profiles p ON p.id = c.profile"
        f" WHERE c.seq < ?{only} ORDER BY c.seq DESC LIMIT ?",
        (top, *values, limit),
    )
    for seq, kind, at, request, of_tenant, user, workload, outcome, model, reason, tokens, nano in rows:
        yield Kept(
            seq=seq, kind=EntryKind(kind), at=at, id=request, tenant=of_tenant, user=user, workload=workload,
            what=outcome, about=model, reason=reason, tokens=tokens, nano=nano,
        )  # fmt: skip


def _deeds(read: Read, kinds: Collection[EntryKind], top: int) -> Iterator[Kept]:
    marks = ", ".join("?" * len(kinds))
    while True:
        rows = read(
            f"SELECT seq, kind, id, at, topic, keys, tokens, nano, detail FROM deeds WHERE seq < ? AND kind IN ({marks})"  # noqa: S608, E501
            " ORDER BY seq DESC LIMIT ?",
            (top, *(kind.value for kind in kinds), _PAGE),
        )
        names = _budgets(read, {id_ for row in rows for id_ in budget_ids(row[5])[:1]})
        for seq, kind, id_, at, topic, keys, tokens, nano, detail in rows:
            deed = _deed(detail)
            tenant, user, workload = next((names[each] for each in budget_ids(keys)[:1]), (deed.tenant, "", ""))
            what = f"{deed.threshold}% of {deed.measure}" if kind == EntryKind.ALERT else topic
            known = ", ".join(f"{name} {value}" for name, value in deed.detail.items() if value not in (None, ""))
            yield Kept(
                seq=seq, kind=EntryKind(kind), at=at, id=id_, tenant=tenant, user=user, workload=workload,
                what=what, about=deed.subject, by=deed.by, reason=deed.reason or known, tokens=tokens, nano=nano,
            )  # fmt: skip
        if len(rows) < _PAGE:
            return
        top = rows[-1][0]


def _budgets(read: Read, ids: Collection[int]) -> dict[int, tuple[str, str, str]]:
    if not ids:
        return {}
    marks = ", ".join("?" * len(ids))
    rows = read(f'SELECT id, tenant, "user", workload FROM budgets WHERE id IN ({marks})', tuple(ids))  # noqa: S608
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def _holds(read: Read, top: int) -> Iterator[Kept]:
    """Holds are kept by the group, in its order."""
    across = read("SELECT last_seq, document FROM holds WHERE last_seq >= ? ORDER BY last_seq LIMIT 1", (top,))
    documents, last = across, top
    while True:
        held = [each for row in documents for each in held_from(row[1]) if each.seq < top]
        held.sort(key=lambda each: -each.seq)
        yield from _opened(read, held)
        documents = read(
            "SELECT last_seq, document FROM holds WHERE last_seq < ? ORDER BY last_seq DESC LIMIT ?", (last, _GROUPS)
        )
        if not documents:
            return
        last = documents[-1][0]


def _opened(read: Read, held: Sequence[Held]) -> Iterator[Kept]:
    ids = {each.profile for each in held}
    marks = ", ".join("?" * len(ids))
    rows = (
        read(f'SELECT id, tenant, "user", workload, requested_model FROM profiles WHERE id IN ({marks})', tuple(ids))  # noqa: S608
        if ids
        else []
    )
    profiles = {row[0]: row[1:] for row in rows}
    for each in held:
        tenant, user, workload, model = profiles.get(each.profile, ("", "", "", ""))
        yield Kept(
            seq=each.seq, kind=EntryKind.HOLD, at=each.at, id=each.request, tenant=tenant, user=user,
            workload=workload, what="more" if each.extends else "", about=model, tokens=each.tokens, nano=each.nano,
        )  # fmt: skip


def _place(read: Read, until: Instant) -> int:
    """The first entry of `until` or later, as far as entries are in the order of their times."""
    low, high = 0, int(read("SELECT coalesce(max(last_seq), 0) FROM groups", ())[0][0]) + 1
    while low < high:
        middle = (low + high) // 2
        rows = read(
            "SELECT seq, at FROM (SELECT * FROM (SELECT seq, at FROM calls WHERE seq <= ? ORDER BY seq DESC LIMIT 1) c"
            " UNION ALL SELECT * FROM (SELECT seq, at FROM deeds WHERE seq <= ? ORDER BY seq DESC LIMIT 1) d) both_"
            " ORDER BY seq DESC LIMIT 1",
            (middle, middle),
        )
        if rows and rows[0][1] >= until:
            high = min(middle, rows[0][0])
        else:
            low = middle + 1
    return low
