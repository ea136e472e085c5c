"""What was in flight when the last process died, and how are its books closed?"""

import sqlite3

from upshift.model.budget import NOTHING, Amount, BudgetKey
from upshift.model.entry import Decision, Entry, Settle
from upshift.model.ids import PlanHash, RequestId
from upshift.model.span import Instant
from upshift.store.group import GroupWriter, tail_of
from upshift.store.ledger import Recovered
from upshift.store.rows import budget_ids, key_from, lost_record

_OPEN = (
    "SELECT id, at, plan, keys, detail FROM entries AS opened WHERE seq >= ? AND turn = 0 AND NOT EXISTS "
    "(SELECT 1 FROM entries AS closed WHERE closed.id = opened.id AND closed.turn = 1) ORDER BY seq"
)
_HELD = "SELECT sum(tokens), sum(nano) FROM entries WHERE id = ? AND (turn = 0 OR turn IS NULL)"


def recover(groups: GroupWriter, at: Instant) -> Recovered:
    """Settle every open hold at what it held and mark it LOST, with one decision that says so.

    A hold that never reached the disk was never acknowledged, so there is nothing to close.
    """
    db = groups.db
    tail = tail_of(db)
    entries: list[Entry] = []
    requests: list[RequestId] = []
    total = NOTHING
    for id_, opened, plan, keys_text, detail in db.execute(_OPEN, (tail.low,)).fetchall():
        request, held = RequestId(id_), Amount(*db.execute(_HELD, (id_,)).fetchone())
        keys = tuple(_key(db, budget) for budget in budget_ids(keys_text))
        record = lost_record(request, opened, PlanHash(plan), keys, held, detail)
        entries.append(Settle(request, at, keys, held, held, record))
        requests.append(request)
        total = total + held
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
    return Recovered(tuple(requests), total)


def _key(db: sqlite3.Connection, budget: int) -> BudgetKey:
    found = db.execute(
        "SELECT tenant, user, workload, bucket, window, period FROM budgets WHERE id = ?", (budget,)
    ).fetchone()
    return key_from(found)
