"""How is one decision appended to a ledger in PostgreSQL, beside whoever keeps it?"""

from upshift.model.entry import Decision
from upshift.store.draft import START, Tail, group_digest
from upshift.store.postgres import Connection
from upshift.store.postgres_groups import LOCK
from upshift.store.postgres_schema import names
from upshift.store.rows import deed_row
from upshift.store.schema import DEED_COLUMNS, GROUP_COLUMNS

_INSERT_DEED = f"INSERT INTO deeds ({names(DEED_COLUMNS)}) VALUES ({', '.join(['%s'] * len(DEED_COLUMNS))})"  # noqa: S608 - our own names
_INSERT_GROUP = f"INSERT INTO groups ({names(GROUP_COLUMNS)}) VALUES (%s, %s, %s, %s)"  # noqa: S608 - our own names


def tail_of(db: Connection) -> Tail:
    """Read after `LOCK`, since the keeper appends between any two of our transactions."""
    row = db.execute("SELECT last_seq, low, digest FROM groups ORDER BY last_seq DESC LIMIT 1").fetchone()
    return START if row is None else Tail(*row)


def append_decision(db: Connection, decision: Decision) -> bool:
    """Append one decision as a group of its own, inside the caller's transaction; False when its id is known.

    Whoever keeps the ledger waits for that transaction to end.
    """
    db.execute(LOCK)
    if db.execute("SELECT 1 FROM deeds WHERE id = %s", (decision.id,)).fetchone():
        return False
    tail = tail_of(db)
    seq = tail.last_seq + 1
    row = deed_row(seq, decision, "[]")
    low = seq + 1 if tail.low > tail.last_seq else tail.low
    db.execute(_INSERT_DEED, row)
    digest = group_digest(tail.digest, seq, seq, low, (), (), None, (), row)
    db.execute(_INSERT_GROUP, (seq, seq, low, digest))
    db.execute("UPDATE changes SET number = number + 1")
    return True
