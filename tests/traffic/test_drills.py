"""Is the second route of every affected model found, once, and what has none named?"""

import msgspec
from tests.traffic.builders import BIG, CLAUDE, SMALL, provider, snapshot, workload

from upshift.model.ids import ProviderId
from upshift.traffic.drills import INPUT_TOKENS, Outcome, Second, Sent, Stranded, affected, cost, most
from upshift.traffic.snapshot import Routing

EAST = msgspec.structs.replace(BIG, provider=provider("east"), aliases=())
TWICE = msgspec.structs.replace(BIG, offers=(EAST,))
OPENAI = ProviderId("openai-provider")


def test_each_model_is_drilled_on_its_next_route_once() -> None:
    plan = snapshot(
        workloads=[
            workload("one", primary=(TWICE, CLAUDE), substitutes=(SMALL,)),
            workload("two", primary=(TWICE,), substitutes=()),
            workload("three", primary=(SMALL, CLAUDE), substitutes=(), routing=Routing(same_tier=True)),
        ]
    )
    seconds, stranded = affected(plan, OPENAI)
    assert seconds == (Second("big", EAST, ("one", "two")), Second("small", CLAUDE, ("three",)))
    assert stranded == (Stranded("small", ("one",)),)
    assert affected(plan, ProviderId("east")) == ((Second("big", TWICE, ("one", "two")),), ())
    assert affected(plan, ProviderId("nobody")) == ((), ())


def test_a_drill_costs_at_most_what_its_bounds_say() -> None:
    assert BIG.card is not None
    rates = BIG.card.steps[0]
    seconds = [Second("big", EAST, ("one",))] * 2
    assert most(seconds, 32) == 2 * (INPUT_TOKENS * rates.input + 32 * rates.output) // 1_000_000
    assert most([Second("big", msgspec.structs.replace(EAST, card=None), ())], 32) is None


def test_it_has_passed_when_everything_is_served() -> None:
    good, bad = (Sent(Second("big", EAST, ()), problem, 0, 0.5, cost=7) for problem in ("", "status 500"))
    assert Outcome((good,), ()).passed
    assert not Outcome((good, bad), ()).passed
    assert not Outcome((good,), (Stranded("small", ()),)).passed
    assert not Outcome((), ()).passed
    assert Outcome((good, bad), ()).failed == (bad,)
    assert Outcome((bad,), ()).slowest == 0.0
    assert cost([good, bad, Sent(Second("big", EAST, ()), "", 0, 0.5, cost=None)]) == 14
