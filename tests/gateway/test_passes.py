"""Is what a pass remembers always what the rules would say again?"""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from tests.traffic import builders as make
from tests.traffic.builders import steady

from upshift.gateway.passes import Pass
from upshift.http import head
from upshift.model.budget import Bucket
from upshift.model.refusal import Reason, Refused
from upshift.traffic import disclose, route
from upshift.traffic.dispatch import Work
from upshift.traffic.outlook import Outlook
from upshift.traffic.route import Way, Ways
from upshift.traffic.snapshot import Ability, Overage
from upshift.traffic.wire.ask import Ask

NARROW = make.model("narrow", context=8_000, abilities=(Ability.TOOLS,))
PLAIN = make.model("plain", context=1_000, abilities=())
LADDERS = st.permutations([Overage.SOFT_CAP, Overage.PAY_AS_YOU_GO, Overage.HARD_CAP])
CALLS = st.tuples(
    st.frozensets(st.sampled_from(Ability)), st.sampled_from([0, 100, 999, 1_000, 7_999, 8_000, 199_999, 200_000])
)


def made(ladder: list[Overage], substitutes: int, consented: bool) -> Pass:
    rules = make.gate(ladder=tuple(ladder))
    work = Work(
        make.workload(substitutes=(PLAIN, NARROW, make.CLAUDE, make.SMALL)[:substitutes], rules=rules), make.BIG
    )
    plan = make.snapshot()
    consent = make.consent() if consented else None
    return Pass(make.in_force(plan), make.ask(model="big"), make.caller(plan), work, consent, Outlook())


def said(ways: Callable[[], Ways]) -> Ways | Reason:
    try:
        return ways()
    except Refused as refused:
        return refused.reason


@steady
@given(LADDERS, st.integers(0, 4), st.booleans(), st.lists(CALLS, min_size=1, max_size=6))
def test_ways_are_what_route_says_whatever_calls_came_before(
    ladder: list[Overage], substitutes: int, consented: bool, calls: list[tuple[frozenset[Ability], int]]
) -> None:
    let_in = made(ladder, substitutes, consented)
    for needs, tokens in calls:
        call: Ask = make.ask(needs=needs, text_bytes=tokens * 3)
        again = said(lambda: route.ways(call, let_in.work, tokens, let_in.consent))  # noqa: B023 - called at once
        assert said(lambda: let_in.ways(call)) == again  # noqa: B023


def test_the_disclosure_tells_ways_apart() -> None:
    let_in = made([Overage.SOFT_CAP], 4, True)
    plain, degraded = Way(Bucket.INCLUDED, make.BIG, ""), Way(Bucket.DEGRADED, make.SMALL, "soft-cap")
    for _ in range(2):
        assert let_in.shown(plain, make.BIG) == head.lines(
            [(disclose.REQUESTED, b"big"), (disclose.PLAN, b"0" * 16), (disclose.SERVED, b"big")]
        )
        assert let_in.shown(degraded, make.SMALL).endswith(
            head.lines([(disclose.SERVED, b"small"), (disclose.REASON, disclose.DEGRADED_BECAUSE.encode())])
        )


def test_the_opening_is_the_callers() -> None:
    opening = made([Overage.HARD_CAP], 0, False).opening
    assert (opening.tenant, opening.user, opening.tier, opening.key) == ("acme", "alice", "pro", "key-laptop")
    assert (opening.workload, opening.pod, opening.project) == ("support", "pod", "project")
    assert (opening.dialect, opening.requested_model, opening.plan) == ("openai", "big", "0" * 64)
