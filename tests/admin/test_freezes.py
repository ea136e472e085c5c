"""Is a plan kept out while nothing may change, unless somebody says why, and is that recorded?"""

import pytest
from tests.admin.installation import OPERATOR, PLAN, Installation

from upshift.admin.desk import ActError
from upshift.admin.freezes import OVERRIDDEN

TEXT = PLAN.read_text()
FROZEN = (
    TEXT
    + """
calendar:
  timezone: Asia/Tokyo
  freezes: {year-end: {from: 2026-11-22, to: 2026-11-24, why: the books are closed}}
"""
)
HOURS = 3_600_000_000
LATER = "\nops: {platform: 5h}\n"


def apply(found: Installation, text: str, override: str = "") -> None:
    found.desk.apply(found.desk.check(text), OPERATOR, override)


def test_nothing_is_frozen_before_there_is_a_calendar(empty: Installation) -> None:
    assert empty.desk.frozen() == ()
    apply(empty, TEXT)
    assert empty.desk.frozen() == ()


def test_a_plan_waits_for_the_end_of_the_freeze_in_the_calendars_own_time(empty: Installation) -> None:
    apply(empty, FROZEN)
    # 10:00 in UTC is 19:00 in Tokyo, on the day before.
    assert empty.desk.frozen() == ()
    empty.clock.advance(5 * 3600)
    with pytest.raises(ActError) as raised:
        apply(empty, FROZEN + LATER)
    assert raised.value.status == 409
    assert str(raised.value) == (
        "no plan is put in force today: 2026-11-22 to 2026-11-24 is the freeze 'year-end': the books are closed\n"
        "  Wait until 2026-11-25, or say why it cannot wait, which is recorded: upshift plan apply --override 'REASON'"
    )
    assert len(empty.desk.journal.plans()) == 1
    empty.clock.advance(3 * 86_400)
    apply(empty, FROZEN + LATER)
    assert len(empty.desk.journal.plans()) == 2


def test_a_plan_cannot_lift_the_freeze_that_keeps_it_out(empty: Installation) -> None:
    apply(empty, FROZEN)
    empty.clock.advance(5 * 3600)
    with pytest.raises(ActError, match="the books are closed"):
        apply(empty, TEXT)


def test_what_cannot_wait_is_recorded_with_its_reason(empty: Installation) -> None:
    apply(empty, FROZEN, "not needed, so not recorded")
    empty.clock.advance(5 * 3600)
    apply(empty, FROZEN + LATER, " a price has doubled ")
    made = [each for each in empty.desk.journal.decisions() if each.kind == OVERRIDDEN]
    plan = empty.desk.journal.plan_in_force()
    assert plan is not None
    assert [(each.subject, each.by, each.detail["why"]) for each in made] == [
        (plan.hash, OPERATOR.name, "a price has doubled")
    ]
