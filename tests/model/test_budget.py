"""Are counters named apart from one another, and amounts added in both measures?"""

from upshift.model.budget import EMPTY, NOTHING, Amount, Balance, Bucket, BudgetKey
from upshift.model.ids import TenantId, UserId, WorkloadId


def test_a_key_is_shown_as_a_path() -> None:
    key = BudgetKey(TenantId("acme"), UserId("alice"), WorkloadId("chat"), Bucket.INCLUDED, "month", "2026-11")
    assert key.path() == "acme/alice/chat/included/month/2026-11"


def test_every_bucket_has_a_counter_of_its_own() -> None:
    keys = {
        BudgetKey(TenantId("acme"), UserId("alice"), WorkloadId("chat"), bucket, "month", "2026-11")
        for bucket in Bucket
    }
    assert len(keys) == len({key.path() for key in keys}) == len(Bucket)


def test_amounts_add_and_subtract_in_both_measures() -> None:
    assert Amount(3, 40) + Amount(2, 5) == Amount(5, 45)
    assert Amount(3, 40) - Amount(5, 5) == Amount(-2, 35)
    assert Amount(3, 40) - Amount(3, 40) == NOTHING


def test_a_new_counter_is_empty() -> None:
    assert Balance(NOTHING, NOTHING, NOTHING) == EMPTY
