"""Does a plan come back from a sheet as it went, to the hash?"""

import re

from hypothesis import HealthCheck, Phase, given, settings
from tests.sheets.plans import BASE, PLANS, hash_of, through_csv, through_xlsx

RICH = (
    BASE
    + """\
workloads:
  # The first one.
  W-01:
    name: Customer support chat   # as sales calls it
    owner: "=HYPERLINK(1)"
    status: committed
    ships: Q2-2026
    users: {free: 4000, pro: {users: 200, weight: 3}}
    estimate:
      sessions: 12..18..30   # from the pilot
      tokens: 520k
      ops: 6h
    models: {primary: sonnet, degrade_to: haiku}
    route: {order: cheapest}
    gate: chat

  # The second.
  W-05:
    name: Marketing copy drafts
# The end.
"""
)
BROAD = settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)


@BROAD
@given(PLANS)
def test_a_workbook_loses_nothing(text: str) -> None:
    assert hash_of(through_xlsx(text)) == hash_of(text)


@BROAD
@given(PLANS)
def test_csv_taken_into_its_own_plan_changes_no_letter(text: str) -> None:
    assert through_csv(text, text) == text


@BROAD
@given(PLANS, PLANS)
def test_csv_taken_into_a_plan_brings_the_table_and_keeps_the_rest(text: str, other: str) -> None:
    """What the table cannot hold (here: routes) is the other plan's, and workloads that it does not have stay."""
    once = through_csv(text, other)
    assert through_csv(text, once) == once
    assert hash_of(through_csv(once, other)) == hash_of(once)


def test_csv_changes_values_where_they_stand() -> None:
    changed = RICH.replace("520k", "600k").replace("retries: 2", "")
    after = through_csv(changed, RICH)
    assert after == RICH.replace("520k", "600000")


def test_a_new_field_rewrites_its_workload_only() -> None:
    more = RICH.replace("    name: Marketing copy drafts", "    name: Marketing copy drafts\n    owner: Aisha")
    after = through_csv(more, RICH)
    assert hash_of(after) == hash_of(more)
    for comment in re.findall("#.*", RICH):
        assert comment in after


def test_windows_line_ends_stay() -> None:
    windows = RICH.replace("\n", "\r\n")
    changed = RICH.replace("520k", "600k")
    after = through_csv(changed, windows)
    assert after == windows.replace("520k", "600000")


def test_aliases_are_written_out_only_where_they_have_to_be() -> None:
    shared = (
        BASE
        + """\
workloads:
  a: {name: One, users: &many 400}
  b: {name: Two, users: *many}
"""
    )
    apart = BASE + "workloads:\n  a: {name: One, users: 500}\n  b: {name: Two, users: 400}\n"
    assert hash_of(through_csv(apart, shared)) == hash_of(apart)
