"""Is every caller told what happened, to which budget, whose, until when and whom to ask?"""

from typing import get_args

import pytest
from tests.traffic.builders import DAY, NOW, balance, budget_key, claim, period

from upshift.model.budget import Bucket
from upshift.model.pool import Scarce, Shortage
from upshift.model.refusal import (
    BadKey,
    BadRequest,
    Busy,
    CannotServe,
    ContractBroken,
    InterfaceClosed,
    LedgerDown,
    NoKey,
    NoneOpen,
    NoRoute,
    NotAllowed,
    OverBudget,
    PoolFull,
    Reason,
    Stopping,
    TooLarge,
    UnknownModel,
)
from upshift.model.span import Window
from upshift.traffic import disclose
from upshift.traffic.disclose import deny, reason_for, show_use


def over(
    *,
    bucket: Bucket = Bucket.INCLUDED,
    user: str = "alice",
    measure: str = "tokens",
    used: int = 99_900,
    held: int = 0,
    limit: int = 100_000,
    needed: int = 416,
    why: str = "pay-as-you-go is not switched on",
    still_open: tuple[str, ...] = (),
    how_to_ask: str = "",
) -> OverBudget:
    return OverBudget(
        key=budget_key(user, bucket=bucket),
        measure=measure,
        used=used,
        held=held,
        limit=limit,
        needed=needed,
        resets_at=period(zone="Europe/Berlin").end,
        zone="Europe/Berlin",
        owner="owner@acme.example",
        why=why,
        still_open=still_open,
        how_to_ask=how_to_ask,
    )


REASONS: list[tuple[Reason, int, str, int | None, str]] = [
    (BadRequest("$.model", "found 3, expected text"), 400, "invalid_request", None, "$.model: found 3, expected text"),
    (NoneOpen("big", "openai, azure", 7), 503, "no_route_open", 7, "no route to big is open: openai, azure failed"),
    (TooLarge(1_048_576), 413, "request_too_large", None, "larger than the 1,048,576 bytes"),
    (NoRoute("GET", "/v2", ("/v1/models", "/v1/messages")), 404, "not_found", None, "/v1/models, /v1/messages"),
    (NoKey(), 401, "invalid_key", None, "Authorization: Bearer"),
    (BadKey("unknown", "up-wro"), 401, "invalid_key", None, "the key up-wro… is unknown; ask"),
    (BadKey("revoked", "up-key", NOW), 401, "invalid_key", None, "is revoked since 2026-11-16T12:00:00+00:00;"),
    (NotAllowed("workload 'x'", ("a", "b")), 403, "not_allowed", None, "workload 'x'; open to this key: a, b"),
    (NotAllowed("that", ()), 403, "not_allowed", None, "this key does not allow that"),
    (UnknownModel("gpt-9", ("big",)), 404, "unknown_model", None, "no model 'gpt-9'; this workload serves big"),
    (UnknownModel("gpt-9", ()), 404, "unknown_model", None, "no model 'gpt-9'"),
    (CannotServe("big", ("tools", "images"), "ask for b"), 400, "cannot_serve", None, "tools and images; ask for b"),
    (over(), 402, "over_budget", None, "Budget reached"),
    (Busy(budget_key(), 30.2, 5), 429, "budget_busy", 5, "none of them ended in 30 s. Try again in 5 s"),
    (
        PoolFull("batch", "nightly", Shortage(Scarce.CONCURRENT, "user", "4 calls at once", 10.0, 3)),
        429,
        "pool_full",
        3,
        "The capacity pool batch of workload nightly is full: it takes 4 calls at once for one user; this call waited"
        " 10.0 s. No budget is used up. Try again in 3 s.",
    ),
    (
        InterfaceClosed("a", "b", "a-b", "it is not active"),
        403,
        "interface_closed",
        None,
        "agent a may not speak to b over interface a-b: it is not active",
    ),
    (InterfaceClosed("a", "b", "", "there is none"), 403, "interface_closed", None, "speak to b: there is none"),
    (
        ContractBroken("a-b", "1.2.0", (("message.parts[0].data.q", "3 is no text"),)),
        422,
        "contract_violation",
        None,
        "the message breaks contract a-b 1.2.0: message.parts[0].data.q: 3 is no text",
    ),
    (LedgerDown(7), 503, "ledger_unavailable", 7, "nothing may be spent"),
    (Stopping(2), 503, "stopping", 2, "restarting"),
]


def test_every_reason_is_tried_below() -> None:
    assert {type(each[0]) for each in REASONS} == set(get_args(Reason))


@pytest.mark.parametrize(("reason", "status", "code", "retry", "says"), REASONS, ids=lambda value: type(value).__name__)
def test_a_refusal_has_a_status_a_code_a_text_and_says_whether_to_retry(
    reason: Reason, status: int, code: str, retry: int | None, says: str
) -> None:
    denial = deny(reason, "up_1")
    assert (denial.status, denial.code) == (status, code)
    assert says in denial.message
    sent = dict(denial.headers)
    assert len(sent) == len(denial.headers)
    assert sent[b"x-upshift-request"] == b"up_1"
    assert sent[b"x-upshift-reason"] == code.encode()
    assert sent[b"x-should-retry"] == (b"false" if retry is None else b"true")
    assert sent.get(b"retry-after") == (None if retry is None else str(retry).encode())


def test_who_is_over_budget_learns_everything_that_is_needed_to_go_on() -> None:
    denial = deny(
        over(
            used=99_900,
            held=1_500,
            why="pay-as-you-go is not switched on: an admin has to opt in",
            still_open=("workload coding", "the budget view"),
            how_to_ask="Ask in #budgets.",
        ),
        "up_1",
    )
    assert denial.message == (
        "Budget reached: the month budget of alice for workload support (acme) stands at 99.9k tokens of 100k tokens"
        " (1.5k tokens of it held by calls in flight), and this call needs at least 416 tokens."
        " It resets on 2026-12-01 00:00 (Europe/Berlin)."
        " Pay-as-you-go is not switched on: an admin has to opt in."
        " Still open: workload coding, the budget view. Owner: owner@acme.example. Ask in #budgets."
    )
    sent = dict(denial.headers)
    assert sent[b"x-upshift-budget"] == b"acme/alice/support/included/month/2026-11 99.9k tokens/100k tokens"
    assert sent[b"x-upshift-resets-at"] == b"2026-12-01T00:00:00+01:00"


def test_and_nothing_that_is_not_there() -> None:
    message = deny(over(), "up_1").message
    assert "in flight" not in message
    assert "Still open" not in message
    assert message.endswith(" Owner: owner@acme.example.")


def test_money_is_shown_as_money() -> None:
    denial = deny(over(measure="money", used=1_999_000_000, limit=2_000_000_000, needed=3_500_000), "up_1")
    assert "stands at $2.00 of $2.00, and this call needs at least $0.003500" in denial.message
    assert dict(denial.headers)[b"x-upshift-budget"].endswith(b" $2.00/$2.00")


@pytest.mark.parametrize(
    ("bucket", "user", "whose"),
    [
        (Bucket.INCLUDED, "alice", "the month budget of alice for workload support (acme)"),
        (Bucket.DEGRADED, "alice", "the after-ceiling month budget of alice for"),
        (Bucket.OVERAGE, "*", "the pay-as-you-go month budget of everybody for"),
    ],
)
def test_a_budget_is_named_by_what_it_is_and_whose(bucket: Bucket, user: str, whose: str) -> None:
    assert whose in deny(over(bucket=bucket, user=user), "up_1").message
    assert whose in deny(Busy(budget_key(user, bucket=bucket), 1.0, 5), "up_1").message


def test_who_has_to_wait_learns_for_which_budget() -> None:
    sent = dict(deny(Busy(budget_key("zoë"), 1.0, 5), "up_1").headers)
    assert sent[b"x-upshift-budget"] == "acme/zoë/support/included/month/2026-11".encode()


def test_why_a_call_was_not_served_plainly() -> None:
    assert reason_for(Bucket.INCLUDED) == ""
    assert reason_for(Bucket.DEGRADED) == disclose.DEGRADED_BECAUSE
    assert reason_for(Bucket.OVERAGE) == disclose.OVERAGE_BECAUSE


def test_use_is_shown_with_what_is_held_and_granted() -> None:
    state = balance(settled=(900, 200_000_000), held=(100, 50_000_000), granted=(500, 1_000_000_000))
    both = claim(tokens=2_000, nano=2_000_000_000)
    assert show_use(both, state) == "month tokens=1000/2500 money=$0.25/$3.00"
    assert show_use(claim(tokens=2_000, window=Window.DAY), state) == "day tokens=1000/2500"
    assert show_use(claim(nano=2_000_000_000), state) == "month money=$0.25/$3.00"
    assert show_use(claim(), state) == "month unlimited"


def test_the_reset_of_a_day_is_told_in_its_zone() -> None:
    assert "It resets on 2026-12-01 00:00 (Europe/Berlin)." in deny(over(), "up_1").message
    assert period(Window.DAY).end - period(Window.DAY).start == DAY
