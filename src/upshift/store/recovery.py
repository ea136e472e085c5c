"""What was in flight when the last process died, and how are its books closed?"""

import sqlite3

from upshift.model.budget import NOTHING, Amount, BudgetKey
from upshift.model.entry import Decision, Entry, Settle
from upshift.model.ids import RequestId
from upshift.model.metered import Metered
from upshift.model.span import Instant
from upshift.store.group import GroupWriter, tail_of
from upshift.store.ledger import Recovered
from upshift.store.rows import Held, budget_ids, held_from, key_from, lost_record, opening_from
from upshift.store.schema import PROFILE_COLUMNS

_PROFILE = f"SELECT {', '.join(PROFILE_COLUMNS)} FROM profiles WHERE id = ?"  # noqa: S608 - our own names


def recover(groups: GroupWriter, at: Instant) -> Recovered:
    """Settle every open hold at what it held and mark it LOST, with one decision that says so.

    A hold that never reached the disk was never acknowledged, so there is nothing to close.
    """
    tail = tail_of(groups.db)
    entries: list[Entry] = []
    total = NOTHING
    for first, held in _open(groups.db, tail.low).values():
        keys, opening = _opening(groups.db, first)
        record = lost_record(first.request, first.at, opening.plan, keys, held, opening)
        entries.append(Settle(first.request, at, keys, held, held, record))
        total = total + held
    requests = tuple(entry.request for entry in entries if isinstance(entry, Settle))
    if entries:
        entries.append(
            Decision(
                id=f"recovery/{tail.last_seq}",
                at=at,
                kind="recovery",
                tenant="",
                subject="",
                by="system",
                detail={"calls": len(requests), "tokens": total.tokens, "nano": total.nano},
            )
        )
        groups.write(entries)
    return Recovered(requests, total)


def _open(db: sqlite3.Connection, low: int) -> dict[RequestId, tuple[Held, Amount]]:
    """What opened each request that nothing closed, and what it holds with its extensions, in the order of opening."""
    closed = {request for (request,) in db.execute("SELECT request FROM calls WHERE seq >= ?", (low,))}
    found: dict[RequestId, tuple[Held, Amount]] = {}
    for (document,) in db.execute("SELECT document FROM holds WHERE last_seq >= ? ORDER BY last_seq", (low,)):
        for held in held_from(document):
            if held.seq < low or held.request in closed:
                continue
            first, amount = found.get(held.request, (held, NOTHING))
            found[held.request] = first, amount + Amount(held.tokens, held.nano)
    return found


def _opening(db: sqlite3.Connection, held: Held) -> tuple[tuple[BudgetKey, ...], Metered]:
    profile = db.execute(_PROFILE, (held.profile,)).fetchone()
    keys = tuple(_key(db, budget) for budget in budget_ids(profile[PROFILE_COLUMNS.index("keys")]))
    return keys, opening_from(held, profile)


def _key(db: sqlite3.Connection, budget: int) -> BudgetKey:
    found = db.execute(
        "SELECT tenant, user, workload, bucket, window, period FROM budgets WHERE id = ?", (budget,)
    ).fetchone()
    return key_from(found)
