"""Does no workload move without its six sign-offs, and does every edit lose exactly those that covered it?"""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.planning.outlines import CANDIDATE, CARD, COMMITTED, NOW, PLANNED, plan, row

from upshift.model.ids import GateId, ModelName, ModelTierId, PodId, TierId
from upshift.model.key import Role
from upshift.model.quarter import Quarter
from upshift.planning.outline import (
    Audience,
    BudgetLine,
    Compute,
    Estimate,
    Ops,
    Outline,
    Row,
    Share,
    Spread,
    Status,
    Turns,
    exactly,
)
from upshift.planning.portfolio import (
    Answer,
    BeyondCeiling,
    Expired,
    Incomplete,
    Lost,
    NoGate,
    NoOwner,
    NoShipQuarter,
    OneHand,
    Standing,
    Unsigned,
    approvable,
    judge,
    moves,
    refusals,
    say,
)
from upshift.planning.sign_offs import (
    SIGNERS,
    SignOff,
    canonical,
    changes,
    content,
    fingerprint,
    same_hand,
)

TOKENS, COMPUTE, OPS = BudgetLine
PEOPLE = {Role.ENGINEERING: "Edith Engineer", Role.FINANCE: "Fay Finance"}


def signed(
    outline: Outline,
    one: Row,
    budgets: Iterable[BudgetLine] = BudgetLine,
    roles: Iterable[Role] = SIGNERS,
    by: str = "",
    **more: Any,
) -> list[SignOff]:
    return [
        SignOff(
            workload=one.id,
            budget=budget,
            role=role,
            by=by or PEOPLE[role],
            at=1,
            content=content(outline, one, budget),
            **more,
        )
        for budget in budgets
        for role in roles
    ]


def changed(one: Row, **fields: Any) -> Row:
    return msgspec.structs.replace(one, **fields)


def estimated(one: Row, **fields: Any) -> Row:
    return changed(one, estimate=msgspec.structs.replace(one.estimate or Estimate(), **fields))


def standing(outline: Outline, sign_offs: Iterable[SignOff] = (), now: Quarter = NOW) -> Standing:
    (found,) = judge(outline, list(sign_offs), now)
    return found


# from candidate to committed ------------------------------------------------------------------------------------------


def test_a_candidate_needs_six_sign_offs_of_two_people() -> None:
    outline = plan(row(status=CANDIDATE))
    nobody = standing(outline)
    assert (nobody.covered, nobody.next, approvable(nobody)) == (True, PLANNED, Answer.TO_SIGN)
    assert nobody.missing == tuple(Unsigned(budget, role) for budget in BudgetLine for role in SIGNERS)
    all_six = signed(outline, outline.rows[0])
    assert approvable(standing(outline, all_six)) is Answer.MAY_MOVE
    for left_out in range(6):
        found = standing(outline, all_six[:left_out] + all_six[left_out + 1 :])
        assert found.missing == (nobody.missing[left_out],)
        assert approvable(found) is Answer.TO_SIGN


def test_a_candidate_with_nothing_said_is_not_approvable_and_says_why() -> None:
    found = standing(plan(row(audiences=(), estimate=None, gate=None)))
    assert approvable(found) is Answer.NOT_YET
    assert [reason for reason in found.missing if not isinstance(reason, Unsigned)] == [
        NoGate(),
        Incomplete(("users", "estimate.sessions", "estimate.tokens", "estimate.ops")),
    ]


def test_a_planned_workload_needs_an_owner_and_a_quarter_besides() -> None:
    one = row(status=PLANNED, owner=" ", ships=None)
    outline = plan(one)
    found = standing(outline, signed(outline, one))
    assert (found.covered, found.next, found.missing) == (True, COMMITTED, (NoOwner(), NoShipQuarter()))
    full = changed(one, owner="Priya", ships=Quarter(2027, 1))
    assert approvable(standing(plan(full), signed(outline, one))) is Answer.MAY_MOVE


@pytest.mark.parametrize("status", [PLANNED, COMMITTED])
def test_what_is_not_covered_is_refused_with_every_reason(status: Status) -> None:
    one = row(status=status, gate=None, owner="", ships=None)
    outline = plan(one)
    found = [each.reason for each in refusals(outline, judge(outline, [], NOW), NOW)]
    assert len([reason for reason in found if isinstance(reason, Unsigned)]) == 6
    beside = [NoGate(), NoOwner(), NoShipQuarter()] if status is COMMITTED else [NoGate()]
    assert [reason for reason in found if not isinstance(reason, Unsigned)] == beside
    waived = msgspec.structs.replace(outline, sign_offs=False)
    assert refusals(waived, judge(waived, [], NOW), NOW) == ()


def test_nothing_is_left_for_what_is_committed_and_signed() -> None:
    one = row(status=COMMITTED)
    outline = plan(one)
    sign_offs = signed(outline, one)
    found = standing(outline, sign_offs)
    assert (found.covered, found.next, approvable(found)) == (True, None, Answer.NOTHING_LEFT)
    assert refusals(outline, (found,), NOW) == ()


# what an edit loses ---------------------------------------------------------------------------------------------------

ALL = set(BudgetLine)
TURNS = Turns(turns=exactly(4.0), input=exactly(2000.0), output=exactly(300.0))
EDITS: list[tuple[str, Row, set[BudgetLine]]] = [
    ("users 280 -> 400", changed(row(), audiences=(Audience(None, exactly(400.0)),)), {TOKENS, COMPUTE}),
    (
        "users 280 -> 200..280..400",
        changed(row(), audiences=(Audience(None, Spread(200, 280, 400)),)),
        {TOKENS, COMPUTE},
    ),
    ("weight 1 -> 2", changed(row(), audiences=(Audience(None, exactly(280.0), exactly(2.0)),)), {TOKENS, COMPUTE}),
    ("sessions 60 -> 70", estimated(row(), sessions=exactly(70.0)), {TOKENS, COMPUTE}),
    ("tokens 1400000 -> 1400001", estimated(row(), tokens=exactly(1_400_001.0)), {TOKENS}),
    ("cached 0 -> 0.6", estimated(row(), cached=exactly(0.6)), {TOKENS}),
    ("cache_written 0 -> 0.1", estimated(row(), cache_written=exactly(0.1)), {TOKENS}),
    ("long 0 -> 0.1", estimated(row(), long=exactly(0.1)), {TOKENS}),
    ("growth 0 -> 0.03", estimated(row(), growth=exactly(0.03)), {TOKENS, COMPUTE}),
    ("minutes 12 -> 15", estimated(row(), minutes=exactly(15.0)), {COMPUTE}),
    ("busy 1 -> 3", estimated(row(), busy=exactly(3.0)), {COMPUTE}),
    ("burst 1 -> 2.5", estimated(row(), burst=exactly(2.5)), {COMPUTE}),
    ("ops_hours 2 -> 3", estimated(row(), ops_hours=exactly(3.0)), {OPS}),
    ("stakeholder sales -> support", changed(row(), stakeholder="support"), {OPS}),
    ("sla not said -> 99.5% within 8s", changed(row(), sla="99.5% within 8s"), {OPS}),
    ("shape not said -> batch", changed(row(), shape="batch"), {OPS}),
    ("gate soft -> hard", changed(row(), gate=GateId("hard")), {TOKENS}),
    ("overage soft-cap -> pay-as-you-go", changed(row(), overage=("pay-as-you-go",)), {TOKENS}),
    (
        "ceiling of pro in tokens 2000000 -> 3000000",
        changed(row(), ceilings=((TierId("pro"), 3_000_000, None),)),
        {TOKENS},
    ),
    (
        "ceiling of pro in money not said -> $20.5",
        changed(row(), ceilings=((TierId("pro"), 2_000_000, 20_500_000_000),)),
        {TOKENS},
    ),
    ("primary sonnet -> opus", changed(row(), primary=ModelTierId("opus")), {TOKENS}),
    ("degrade_to not said -> haiku", changed(row(), degrade_to=ModelTierId("haiku")), {TOKENS}),
    (
        "price of sonnet: input $3 -> $3.5",
        changed(
            row(),
            mix=(
                Share(
                    ModelName("sonnet"),
                    1.0,
                    msgspec.structs.replace(CARD, steps=(msgspec.structs.replace(CARD.steps[0], input=3_500_000_000),)),
                ),
            ),
        ),
        {TOKENS},
    ),
    ("price of sonnet not said -> unknown", changed(row(), mix=(Share(ModelName("sonnet"), 1.0, None),)), {TOKENS}),
    ("ships Q1-2027 -> Q2-2027", changed(row(), ships=Quarter(2027, 2)), ALL),
    ("ships Q1-2027 -> not said", changed(row(), ships=None), ALL),
    ("turns not said -> 4", estimated(row(), turns=TURNS), {TOKENS, COMPUTE}),
]


@pytest.mark.parametrize(("says", "edited", "loses"), EDITS, ids=[each[0] for each in EDITS])
def test_an_edit_loses_the_sign_offs_that_covered_it_and_says_why(
    says: str, edited: Row, loses: set[BudgetLine]
) -> None:
    before = plan(row())
    sign_offs = signed(before, row())
    found = standing(plan(edited), sign_offs)
    lost = [each.lacks for each in found.signatures if each.lacks is not None]
    assert {each.budget for each in lost if isinstance(each, Lost)} == loses
    assert len(lost) == 2 * len(loses)
    assert all(isinstance(each, Lost) and says in say(each) for each in lost)
    assert "(Fay Finance)" in say(lost[1])
    assert all(each.lacks is None for each in standing(before, sign_offs).signatures)


@pytest.mark.parametrize(
    ("shared", "loses"),
    [
        ({"machines": Compute(headroom=0.4)}, {COMPUTE}),
        ({"machines": Compute(unit=180_000_000_000)}, {COMPUTE}),
        ({"machines": Compute(sessions_per_unit=40.0)}, {COMPUTE}),
        ({"staffing": Ops(platform=exactly(5.0))}, {OPS}),
        ({"staffing": Ops(fte_hours=35.0)}, {OPS}),
        ({"staffing": Ops(heterogeneous=exactly(12.0))}, {OPS}),
        ({"staffing": Ops(hour=95_000_000_000)}, {OPS}),
        ({"staffing": Ops(ceilings={NOW: 46.0})}, set()),
        ({"buffer": 0.2}, set()),
    ],
)
def test_a_shared_figure_loses_the_sign_offs_of_the_budget_that_reads_it(
    shared: dict[str, Any], loses: set[BudgetLine]
) -> None:
    found = standing(plan(row(), **shared), signed(plan(row()), row()))
    assert {each.budget for each in found.signatures if each.lacks is not None} == loses


@pytest.mark.parametrize(
    "edited",
    [
        changed(row(), owner="Tom"),
        changed(row(), name="Summaries"),
        changed(row(), pod=PodId("growth")),
        changed(row(), status=COMMITTED),
    ],
)
def test_what_no_budget_reads_loses_nothing(edited: Row) -> None:
    found = standing(plan(edited), signed(plan(row()), row()))
    assert [each.lacks for each in found.signatures] == [None] * 6


def test_a_quarter_that_was_not_settled_may_be_settled_later() -> None:
    open_ = row(ships=None)
    sign_offs = signed(plan(open_), open_)
    for ships in (Quarter(2027, 1), Quarter(2027, 3)):
        assert approvable(standing(plan(row(ships=ships)), sign_offs)) is Answer.MAY_MOVE


def test_a_sign_off_ends_after_its_last_quarter() -> None:
    outline = plan(row())
    sign_offs = signed(outline, row(), until=NOW)
    assert approvable(standing(outline, sign_offs)) is Answer.MAY_MOVE
    late = standing(outline, sign_offs, NOW.plus(1))
    assert set(late.missing) == {Expired(budget, role, PEOPLE[role], NOW) for budget in BudgetLine for role in SIGNERS}
    assert "stood until Q4-2026" in say(late.missing[0])
    again = [*sign_offs, *signed(outline, row())]
    assert approvable(standing(outline, again, NOW.plus(1))) is Answer.MAY_MOVE


# four eyes ------------------------------------------------------------------------------------------------------------


def test_one_person_does_not_sign_for_both_sides() -> None:
    outline = plan(row())
    mine = signed(outline, row(), roles=[Role.ENGINEERING], by="Sarah  Doe")
    also = signed(outline, row(), roles=[Role.FINANCE], by="sarah doe")
    found = standing(outline, [*mine, *also])
    assert found.missing == tuple(OneHand(budget, Role.FINANCE, "sarah doe") for budget in BudgetLine)
    assert "another person has to" in say(found.missing[0])
    assert (
        approvable(standing(outline, [*mine, *also, *signed(outline, row(), roles=[Role.FINANCE])])) is Answer.MAY_MOVE
    )


def test_one_person_may_sign_for_different_sides_of_different_workloads() -> None:
    one, two = row("W-01"), row("W-02")
    outline = plan(one, two)
    sign_offs = [
        *signed(outline, one, roles=[Role.ENGINEERING], by="Sarah"),
        *signed(outline, two, roles=[Role.FINANCE], by="Sarah"),
    ]
    found = judge(outline, sign_offs, NOW)
    assert [sum(each.lacks is None for each in one.signatures) for one in found] == [3, 3]


@given(st.text(max_size=8), st.text(max_size=8))
def test_names_of_one_hand_are_told_however_they_are_spaced(one: str, other: str) -> None:
    assert same_hand(f" {one} {other}", f"{one}   {other} ")


# ceilings -------------------------------------------------------------------------------------------------------------


def tight(hours: float) -> Ops:
    return Ops(first_quarter=exactly(12.0), ceilings={Quarter(2027, 1): hours, Quarter(2026, 1): 1.0})


def five() -> list[Row]:
    running = [
        estimated(row(f"W-0{at}", status=COMMITTED, ships=Quarter(2026, 2)), ops_hours=exactly(6.0))
        for at in range(1, 5)
    ]
    return [*running, estimated(row("W-05", status=PLANNED), ops_hours=exactly(6.0))]


def test_committing_beyond_a_quarters_ceiling_is_short_of_hours_and_fte() -> None:
    outline = plan(*five(), staffing=tight(46.0))
    sign_offs = [each for one in outline.rows for each in signed(outline, one)]
    assert approvable(judge(outline, sign_offs, NOW)[-1]) is Answer.MAY_MOVE
    narrow = plan(*five(), staffing=tight(40.0))
    last = judge(narrow, sign_offs, NOW)[-1]
    (found,) = last.missing
    assert isinstance(found, BeyondCeiling)
    assert (found.quarter, found.hours, found.short, found.short_fte) == (Quarter(2027, 1), 46.0, 6.0, 0.15)
    assert say(found) == ("Q1-2027: 46.0 h/week of ops are more than the ceiling of 40 h, 6.0 h or 0.15 FTE short")
    assert approvable(last) is Answer.NOT_YET
    assert refusals(narrow, judge(narrow, sign_offs, NOW), NOW) == ()


@pytest.mark.parametrize("sign_offs_needed", [True, False])
def test_a_plan_that_commits_beyond_a_ceiling_is_refused_even_without_sign_offs(sign_offs_needed: bool) -> None:
    committed = [changed(each, status=COMMITTED) for each in five()]
    outline = plan(*committed, staffing=tight(40.0), sign_offs=sign_offs_needed)
    sign_offs = [each for one in outline.rows for each in signed(outline, one)]
    (found,) = refusals(outline, judge(outline, sign_offs, NOW), NOW)
    assert found.workload is None
    assert found.text.endswith("6.0 h or 0.15 FTE short")
    assert refusals(outline, judge(outline, sign_offs, NOW), Quarter(2027, 2)) == ()


def test_hours_that_add_up_to_the_ceiling_are_within_it_whatever_their_last_bit() -> None:
    rows = [
        estimated(row(f"W-{at}", status=COMMITTED, ships=NOW.plus(-4)), ops_hours=exactly(hours))
        for at, hours in enumerate((0.1, 0.2))
    ]
    last = estimated(row("W-9", status=PLANNED, ships=NOW.plus(-4)), ops_hours=exactly(0.7))
    staffing = Ops(platform=exactly(0.3), ceilings={Quarter(2027, 1): 1.3})
    outline = plan(*rows, last, staffing=staffing)
    sign_offs = [each for one in outline.rows for each in signed(outline, one)]
    assert approvable(judge(outline, sign_offs, NOW)[-1]) is Answer.MAY_MOVE
    both = plan(*rows, changed(last, status=COMMITTED), staffing=staffing)
    assert refusals(both, judge(both, sign_offs, NOW), NOW) == ()


def test_a_workload_that_says_no_hours_is_counted_by_its_likest() -> None:
    running = row("W-01", status=COMMITTED, ships=Quarter(2026, 2))
    silent = changed(estimated(row("W-02", status=PLANNED), ops_hours=None), stakeholder="others")
    outline = plan(running, silent, staffing=Ops(first_quarter=exactly(12.0), ceilings={Quarter(2027, 1): 20.0}))
    (found,) = [each for each in judge(outline, [], NOW)[-1].missing if isinstance(each, BeyondCeiling)]
    assert found.hours == 4 + 2 + 12 + 11


# moves ----------------------------------------------------------------------------------------------------------------


def test_a_change_of_plan_says_what_it_does_to_statuses_and_sign_offs() -> None:
    before = plan(row("W-01", status=PLANNED), row("W-02"))
    more = changed(row("W-01", status=COMMITTED), audiences=(Audience(None, exactly(400.0)),))
    after = plan(more, row("W-03"))
    sign_offs = signed(before, before.rows[0], budgets=[TOKENS, OPS])
    found = [(each.workload, each.signing, each.text) for each in moves(before, after, sign_offs, NOW)]
    assert found == [
        ("W-01", False, "W-01 is committed instead of planned"),
        ("W-01", True, "W-01: tokens lost the sign-off of engineering (Edith Engineer): users 280 -> 400"),
        ("W-01", True, "W-01: tokens lost the sign-off of finance (Fay Finance): users 280 -> 400"),
        ("W-03", False, "W-03 is candidate"),
        ("W-02", False, "W-02 is no longer in the plan"),
    ]
    back = [each.text for each in moves(after, before, sign_offs, NOW) if each.signing]
    assert back[0] == "W-01: tokens has the sign-off of engineering (Edith Engineer) again"
    assert [each.text for each in moves(None, plan(row()), [], NOW)] == ["W-01 is candidate"]
    assert moves(before, before, sign_offs, NOW) == ()


# invariants -----------------------------------------------------------------------------------------------------------

FIGURES = st.sampled_from([row(), *(edited for _, edited, _ in EDITS)])
"""Few enough contents that old ones come back."""
SIGNING = st.tuples(st.sampled_from(BudgetLine), st.sampled_from(SIGNERS), st.sampled_from(["Ann", "ann ", "Bo", "Cy"]))
ENDING = st.tuples(st.sampled_from(BudgetLine), st.sampled_from(SIGNERS))
SIDE = st.sampled_from(SIGNERS)
"""All three budgets signed at once, as people do."""
FEW = st.sampled_from([row(), *(EDITS[at][1] for at in (0, 9, 12))])
STORY = st.lists(st.one_of(FEW, SIGNING, ENDING, SIDE, SIDE), max_size=40)


@given(STORY)
def test_no_order_of_edits_and_sign_offs_covers_a_workload_without_six_valid_ones(story: list[Any]) -> None:
    """By what was on the table when each was signed, not by hashes: whatever stands approved these very figures."""
    now, sign_offs = row(), list[SignOff]()
    for step in story:
        match step:
            case Row():
                now = step
            case Role():
                sign_offs += signed(plan(now), now, roles=[step])
            case (budget, role, by):
                sign_offs += signed(plan(now), now, [budget], [role], by)
            case (budget, role):
                sign_offs = [each for each in sign_offs if (each.budget, each.role) != (budget, role)]
    for status in (PLANNED, COMMITTED):
        found = standing(plan(changed(now, status=status)), sign_offs)
        if not found.covered:
            continue
        counted = [each.sign_off for each in found.signatures if each.sign_off is not None]
        assert {(each.budget, each.role) for each in counted} == {
            (budget, role) for budget in BudgetLine for role in SIGNERS
        }
        for each in counted:
            for field, value in content(plan(now), now, each.budget).items():
                assert each.content.get(field) == value or (field == "ships" and field not in each.content)
        hands = {
            role: {" ".join(each.by.split()).casefold() for each in counted if each.role is role} for role in SIGNERS
        }
        assert not hands[Role.ENGINEERING] & hands[Role.FINANCE]


@given(st.lists(FIGURES, min_size=1, max_size=6))
def test_restoring_what_was_approved_makes_its_sign_offs_stand_again(edits: list[Row]) -> None:
    first = edits[0]
    sign_offs = signed(plan(first), first)
    for between in edits:
        judge(plan(between), sign_offs, NOW)
    assert all(each.lacks is None for each in standing(plan(first), sign_offs).signatures)


def test_what_is_not_said_is_in_no_content_and_tiers_and_long_prices_are() -> None:
    nothing = row(
        audiences=(),
        estimate=None,
        ships=None,
        primary=None,
        gate=None,
        overage=(),
        ceilings=(),
        mix=(),
        stakeholder="",
    )
    assert content(plan(nothing), nothing, TOKENS) == {}
    assert content(plan(nothing), nothing, COMPUTE) == {"headroom": "0.35", "minutes": "not said"}
    assert "ops_hours" not in content(plan(nothing), nothing, OPS)
    long = msgspec.structs.replace(CARD, steps=(*CARD.steps, msgspec.structs.replace(CARD.steps[0], above=200_000)))
    tiers = (Audience(TierId("free"), exactly(4000.0)), Audience(TierId("pro"), Spread(100, 200, 300), exactly(3.0)))
    full = row(audiences=tiers, mix=(Share(ModelName("sonnet"), 0.25, long),), ceilings=((TierId("pro"), None, None),))
    said = content(plan(full), full, TOKENS)
    assert (said["users of free"], said["users of pro"], said["weight of pro"]) == ("4000", "100..200..300", "3")
    assert (said["share of sonnet"], said["price of sonnet above 200000: input"]) == ("0.25", "$3")
    assert not any(field.startswith("ceiling") for field in said)
    hours = estimated(row(), ops_hours=None)
    assert "stakeholder" in content(plan(hours), hours, OPS)


def test_contents_that_differ_have_hashes_that_differ() -> None:
    contents = [content(plan(each), each, TOKENS) for each in (row(), *(edited for _, edited, _ in EDITS))]
    for one, other in combinations(contents, 2):
        assert (fingerprint(one) == fingerprint(other)) == (one == other)
    assert fingerprint(dict(reversed(contents[0].items()))) == fingerprint(contents[0])
    assert canonical({"b": "1", "a": "ü"}) == '{"a":"ü","b":"1"}'


@given(st.floats(0, 1e15, allow_nan=False), st.floats(0, 1e15, allow_nan=False))
def test_no_figure_is_rounded_away(one: float, other: float) -> None:
    before, after = (estimated(row(), sessions=exactly(each)) for each in (one, other))
    (sign_off,) = signed(plan(before), before, [TOKENS], [Role.FINANCE])
    assert bool(changes(sign_off, content(plan(after), after, TOKENS))) == (one != other)
