"""Does a plan become what was asked for, and does what cannot be done say what can?"""

from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.planning.outlines import CARD, plan, row

from upshift.model.ids import ModelName, ModelTierId, TierId
from upshift.model.quarter import Quarter
from upshift.planning.changes import ChangeError, apply_changes
from upshift.planning.figure_texts import Kind, parse_figure
from upshift.planning.outline import Audience, Estimate, Outline, Row, Share, Spread, Status, Turns, exactly

TURNS = Turns(turns=exactly(4.0), input=exactly(2000.0), output=exactly(300.0))
ONE = row("W-01", estimate=Estimate(sessions=exactly(18.0), turns=TURNS, minutes=exactly(12.0)))
TWO = row(
    "W-02",
    primary=ModelTierId("haiku"),
    mix=(Share(ModelName("claude-haiku"), 1.0, CARD),),
    audiences=(Audience(TierId("free"), exactly(300.0)), Audience(TierId("pro"), Spread(50.0, 100.0, 200.0))),
)
PLAN = plan(ONE, TWO, year=100_000 * 10**9)


def after(*changes: str) -> Outline:
    return apply_changes(PLAN, changes)


def one(*changes: str) -> Row:
    return after(*changes).rows[0]


def figures(of: Row) -> Estimate:
    assert of.estimate is not None
    return of.estimate


def turns(of: Row) -> Turns:
    found = figures(of).turns
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("change", "read", "value"),
    [
        ("W-01.users=6000", lambda of: of.audiences[0].users, exactly(6000.0)),
        ("W-01.users = 6,000", lambda of: of.audiences[0].users, exactly(6000.0)),
        ("W-01.users*1.5", lambda of: of.audiences[0].users, exactly(420.0)),
        ("W-01.users=4k..8k", lambda of: of.audiences[0].users, Spread(4000.0, (4000.0 * 8000.0) ** 0.5, 8000.0)),
        ("W-01.sessions=12..18..30", lambda of: figures(of).sessions, Spread(12.0, 18.0, 30.0)),
        ("W-01.estimate.sessions=18 +-50%", lambda of: figures(of).sessions, Spread(9.0, 18.0, 27.0)),
        ("W-01.session=1h", lambda of: figures(of).minutes, exactly(60.0)),
        ("W-01.session=15m", lambda of: figures(of).minutes, exactly(15.0)),
        ("W-01.ops=4h..6h..8h", lambda of: figures(of).ops_hours, Spread(4.0, 6.0, 8.0)),
        ("W-01.cached=60%", lambda of: figures(of).cached, exactly(0.6)),
        ("W-01.growth=-2%", lambda of: figures(of).growth, exactly(-0.02)),
        ("W-01.input=1.4M", lambda of: turns(of).input, exactly(1.4e6)),
        ("W-01.input*0.5", lambda of: turns(of).input, exactly(1000.0)),
        ("W-01.ships=Q3-2027", lambda of: of.ships, Quarter(2027, 3)),
        ("W-01.retires=Q4-2027", lambda of: of.retires, Quarter(2027, 4)),
        ("W-01.status=committed", lambda of: of.status, Status.COMMITTED),
        ("W-01.price*2", lambda of: of.mix[0].card.steps[0].output, 30 * 10**9),
        ("W-01.models.primary.price*2", lambda of: of.mix[0].card.steps[0].cached, 600_000_000),
        ("models.sonnet.price*0.5", lambda of: of.mix[0].card.steps[0].input, 1_500_000_000),
        ("models.claude-haiku.price*0.5", lambda of: of.mix[0].card.steps[0].input, 3 * 10**9),
        ("W-01.models.primary=haiku", lambda of: (of.primary, of.mix[0].model), ("haiku", "claude-haiku")),
        ("W-01.model=claude-haiku", lambda of: (of.primary, of.mix[0].model), (None, "claude-haiku")),
    ],
)
def test_a_workloads_figures(change: str, read: Callable[[Row], object], value: object) -> None:
    found = after(change)
    assert read(found.rows[0]) == value
    assert msgspec.structs.replace(found, rows=(ONE, *found.rows[1:])) == after(
        *([change] if change.startswith("models.claude") else [])
    )


def test_users_by_tier() -> None:
    def users(*changes: str) -> list[float]:
        return [each.users.mid for each in after(*changes).rows[1].audiences]

    assert users("W-02.users.pro=150") == [300, 150]
    assert users("W-02.users*2") == [600, 200]
    assert users("W-02.users=800") == [600, 200]
    nobody = msgspec.structs.replace(PLAN, rows=(msgspec.structs.replace(ONE, audiences=()),))
    assert apply_changes(nobody, ["W-01.users=5"]).rows[0].audiences == (Audience(None, exactly(5.0)),)


def test_what_all_share() -> None:
    assert after("buffer=15%").buffer == 0.15
    assert after("year=$80k").year == 80_000 * 10**9
    assert after("year*2").year == 200_000 * 10**9
    assert after("compute.headroom=40%").machines.headroom == 0.4
    assert after("compute.unit=$180").machines.unit == 180 * 10**9
    assert after("ops.incident=$300").staffing.incident == 300 * 10**9
    assert after("ops.fte=38h").staffing.fte_hours == 38
    assert after("ops.platform=4..6").staffing.platform == Spread(4.0, 24.0**0.5, 6.0)


def test_workloads_come_and_go() -> None:
    more = after("+W-06 like W-02", "W-06.users=10", "-W-01")
    assert [each.id for each in more.rows] == ["W-02", "W-06"]
    assert [each.users.mid for each in more.rows[1].audiences] == [7.5, 2.5]
    assert more.rows[0] == TWO


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("W-01.usrs=5", "'usrs' is no figure of W-01. Did you mean users?"),
        ("W-1.users=5", "Did you mean W-01?"),
        ("W-01=5", "needs a field, as in W-01.users"),
        ("W-01.users", "is no change; write it like"),
        ("W-01.users=many", "'many' is not a figure here; write it like 18"),
        ("W-01.users=30..10", "does not rise"),
        ("W-01.users=1..2..3..4", "is not a range"),
        ("W-01.users=-5", "out of bounds"),
        ("W-01.users.gold=5", "'gold' is no tier of users of W-01"),
        ("W-02.users.prp=5", "Did you mean pro?"),
        ("W-01.cached=160%", "out of bounds"),
        ("W-01.output_share*9", "would be 180%, and a share is at most 100%"),
        ("W-01.users*1..2", "is not a factor"),
        ("W-01.tokens=5", "are derived from its turns"),
        ("W-02.turns=5", "states its tokens, so it has no turns"),
        ("W-02.ops*nan", "is not a figure here"),
        ("W-01.ops*2", "says nothing that could be multiplied; set it with 'W-01.ops=...'"),
        ("W-01.price=5", "so it is multiplied: 'W-01.price*1.2'"),
        ("W-01.ships=Q5-2027", "is not a quarter"),
        ("W-01.ships*2", "cannot be multiplied"),
        ("W-01.status=commited", "Did you mean committed?"),
        ("W-01.model=haikoo", "Did you mean haiku?"),
        ("models.sonnett.price*2", "Did you mean sonnet?"),
        ("ops.platfrm=4", "Did you mean platform?"),
        ("compute.headroom=30%..40%", "has to be exact"),
        ("ops.fte=0h", "ops.fte has to be more than 0"),
        ("compute.sessions_per_unit=0", "has to be more than 0"),
        ("compute.headroom=-20%", "has to be at least 0"),
        ("buffer=500%", "out of bounds"),
        ("buffer=-10%", "out of bounds"),
        ("year=much", "is not an amount of money"),
        ("+W-06 as W-02", "is no addition"),
        ("+W-01 like W-02", "there is a workload W-01 already"),
        ("-W-09", "'W-09' is not a workload"),
        ("", "is no change"),
    ],
)
def test_what_cannot_be_done_says_what_can(change: str, says: str) -> None:
    with pytest.raises(ChangeError) as error:
        after(change)
    (problem,) = error.value.problems
    assert problem.startswith(repr(change))
    assert says in problem


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ChangeError) as error:
        after("W-01.usrs=5", "W-02.users=10", "bufer.x=1")
    assert len(error.value.problems) == 2


def test_an_unknown_price_cannot_be_multiplied() -> None:
    unpriced = plan(row(mix=(Share(ModelName("new"), 1.0, None),)))
    with pytest.raises(ChangeError, match="not known"):
        apply_changes(unpriced, ["W-01.price*2"])


@given(st.text(max_size=40))
def test_any_text_is_a_change_or_is_refused_in_words(text: str) -> None:
    with suppress(ChangeError):
        assert isinstance(apply_changes(PLAN, [text]), Outline)


@given(st.text(alphabet="0123456789.,+-%kMhms ±", max_size=16), st.sampled_from(Kind))
def test_any_figure_is_in_order_and_within_bounds_or_refused(text: str, kind: Kind) -> None:
    with suppress(ValueError):
        found = parse_figure(text, kind)
        assert kind.least <= found.low <= found.mid <= found.high <= kind.most
