"""Do entries survive being written and read, each as what it was?"""

import msgspec
import pytest

from upshift.model.budget import Amount, Bucket, BudgetKey
from upshift.model.entry import Adjust, Alert, Decision, Entry, Grant, Hold, Note, Release, Settle
from upshift.model.ids import PlanHash, RequestId, TenantId, UserId, WorkloadId
from upshift.model.metered import Metered, Outcome
from upshift.model.tokens import Usage

REQUEST = RequestId("up_1")
KEYS = (BudgetKey(TenantId("acme"), UserId("zoë"), WorkloadId("chat"), Bucket.OVERAGE, "day", "2026-11-16"),)
RECORD = Metered(
    request=REQUEST, started=5, plan=PlanHash("0"), outcome=Outcome.CUT, usage=Usage(input=7, output=3), cost=None
)

ENTRIES: list[Entry] = [
    Hold(REQUEST, 1, PlanHash("0"), KEYS, Amount(10, 20)),
    Settle(REQUEST, 2, KEYS, Amount(10, 20), Amount(9, 18), RECORD),
    Release(REQUEST, 2, KEYS, Amount(10, 20), RECORD),
    Note(REQUEST, 2, RECORD),
    Adjust("a1", 3, KEYS, Amount(-5, -6), "finance", "credit note"),
    Grant("g1", 3, KEYS, Amount(5, 6), "owner", "launch week"),
    Alert("chat/70", 4, KEYS[0], 70, "tokens", 70, 100, None, PlanHash("0")),
    Decision("d1", 5, "plan", "acme", "chat", "owner", {"on": True, "limit": None, "size": 3, "why": "x"}),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_an_entry_is_read_as_it_was_written(entry: Entry) -> None:
    assert msgspec.json.decode(msgspec.json.encode(entry), type=Entry) == entry
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(entry), type=Entry) == entry


def test_entries_cannot_be_edited() -> None:
    with pytest.raises(AttributeError):
        ENTRIES[0].at = 9  # type: ignore[misc]  # that is the point
