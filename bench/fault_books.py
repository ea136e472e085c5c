"""Do three books agree after a round of faults: what clients saw, what the provider billed, what the ledger says?"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import psycopg
from tests.end_to_end.callers import Heard


class Findings(msgspec.Struct, kw_only=True):
    """What a round came to. `refused_early`, `missing` and `doubled` have to be 0, and `overshoot` within the
    bounds that are stated."""

    seed: int
    on_store_trouble: str
    calls: int
    served: int
    refused: int
    unavailable: int
    """Told to come again (503): no keeper or no database for longer than a call waits."""
    broken: int
    """The connection ended before the answer did."""
    faults: dict[str, int]
    billed: int
    recorded: int
    lost: int
    """In flight when their gateway died: counted at what they held."""
    late: int
    """Calls counted as lost whose end came to light afterwards."""
    unrecorded: int
    """Billed, and neither recorded nor counted as lost: sent before the hold's commit by a process that was killed."""
    overshoot: int
    """Tokens settled past a ceiling, over all users."""
    told_late: int
    """Tokens told by a log whose keeper was not back in time, so that another decided without it: the stated bound."""
    adopted_late: int
    """Tokens of calls that were in flight and came to light after others had been let in, as the keepers' logs say: the
    bound of docs/decisions/0010."""
    refused_early: int
    """Refused as over budget, though what had been settled by then (by the time of the entries), and what was in flight
    and lost afterwards, left room for it."""
    missing: int
    """Answers that a client had whole, without a record, or whose record says something else. One whose gateway woke up
    too late is recorded as lost, and its true figures in a decision: those are `late`."""
    doubled: int
    """Provider's answers that were recorded twice."""
    away: int
    """Times without the database that were served on, or told by a log afterwards."""
    away_entries: int
    """Entries that were acknowledged by such logs."""
    disclosed: int
    """Answers that said that they are recorded in such a log."""
    verified: bool
    seconds: float

    @property
    def ok(self) -> bool:
        return self.verified and not (
            self.overshoot > self.told_late + self.adopted_late or self.refused_early or self.missing or self.doubled
        )


@dataclass
class Saw:
    """What the clients saw."""

    outcomes: Counter[str] = field(default_factory=Counter)
    whole: list[Heard] = field(default_factory=list)
    needed: dict[str, int] = field(default_factory=dict)
    """Tokens that each refused call needed at least, as its refusal says."""
    replica: dict[str, int] = field(default_factory=dict)
    """Which replica answered each call."""


Row = tuple[int, str, str, str, str, int, int, int]
"""Moment, request, user, outcome, the provider's id, tokens counted, in and out."""


@dataclass(frozen=True)
class Books:
    """The ledger as it is at the end."""

    rows: list[Row]
    late: set[str]
    """Calls whose closing came after they had been counted as lost."""
    away: list[int]
    """For each time without the database, how many entries were acknowledged meanwhile."""
    told_late: int


def read(url: str) -> Books:
    with psycopg.connect(url) as db:
        rows: list[Row] = db.execute(
            # What was lost was in flight since it started, and may have ended by then in a keeper's memory.
            "SELECT CASE outcome WHEN 'lost' THEN started ELSE at END AS moment, request, \"user\", outcome, "
            "upstream_id, counted_tokens, input, output "
            "FROM calls JOIN profiles ON profiles.id = calls.profile ORDER BY seq"
        ).fetchall()
        told = db.execute("SELECT id FROM deeds WHERE topic = 'late-closing'").fetchall()
        away = [
            json.loads(row[0])["detail"] for row in db.execute("SELECT detail FROM deeds WHERE topic = 'store-away'")
        ]
    return Books(
        rows,
        {id_.removeprefix("late-closing/") for (id_,) in told},
        [detail["entries"] for detail in away],
        sum(detail["tokens"] for detail in away if detail.get("others_decided_meanwhile")),
    )


def _in_order(rows: Sequence[Row], replica: Mapping[str, int], skews: Sequence[int]) -> list[Row]:
    """By true time: a moment is what the clock of its gateway said.

    Where nobody knows which gateway it was, the earliest that it can have been, so that nothing is called refused too
    early for a call that may have come before.
    """
    most = max(skews, default=0)

    def moment(row: Row) -> int:
        number = replica.get(row[1])
        return row[0] - 1_000_000 * (most if number is None else skews[number])

    return sorted(rows, key=moment)


def compare(
    books: Books,
    saw: Saw,
    bills: Sequence[dict[str, object]],
    limit: int,
    skews: Sequence[int],
    *,
    verified: bool,
    seed: int,
    calls: int,
    on_store_trouble: str,
    faults: dict[str, int],
    adopted_late: int,
    seconds: float,
) -> Findings:
    """Clients against provider against ledger; everything has ended by now. `limit` is tokens per user."""
    settled: Counter[str] = Counter()
    early = 0
    for _, request, user, outcome, _, counted, _, _ in _in_order(books.rows, saw.replica, skews):
        # A refusal that nobody saw does not say what it needed, nor by whose clock it was.
        needed = saw.needed.get(request)
        if outcome == "refused" and needed is not None and settled[user] + needed <= limit:
            early += 1
        settled[user] += counted
    known = {row[1]: row for row in books.rows}
    recorded = Counter(row[4] for row in books.rows if row[4])
    lost = sum(row[3] == "lost" for row in books.rows)
    unmatched = sum(bill["request_id"] not in recorded for bill in bills)
    return Findings(
        seed=seed,
        on_store_trouble=on_store_trouble,
        calls=calls,
        served=saw.outcomes["served"],
        refused=saw.outcomes["refused"],
        unavailable=saw.outcomes["unavailable"],
        broken=saw.outcomes["broken"],
        faults=faults,
        billed=len(bills),
        recorded=len(books.rows),
        lost=lost,
        late=len(books.late),
        unrecorded=max(0, unmatched - lost),
        overshoot=sum(max(0, spent - limit) for spent in settled.values()),
        told_late=books.told_late,
        adopted_late=adopted_late,
        refused_early=early,
        missing=sum(
            heard.request not in books.late and not _agrees(known.get(heard.request), heard) for heard in saw.whole
        ),
        doubled=sum(count - 1 for count in recorded.values()),
        away=len(books.away),
        away_entries=sum(books.away),
        disclosed=sum(heard.headers.get("x-upshift-ledger") == "away-log" for heard in saw.whole),
        verified=verified,
        seconds=round(seconds, 1),
    )


def _agrees(row: Row | None, heard: Heard) -> bool:
    # An answer that its ceiling has ended is whole too: it says so itself.
    return row is not None and row[3] in ("served", "cut") and (row[6], row[7]) == heard.used()
