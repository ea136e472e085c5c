"""Are sums by hour and day held against the calls in them, and is what differs found, sized and explained?"""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reviews.builders import (
    ALL,
    DAY,
    FIRST,
    HOUR,
    PRICES,
    Between,
    altered,
    call,
    compared,
    cost_bill,
    export,
    lost,
    usage_bill,
)

from upshift.model.bill import UsageLine
from upshift.model.budget import Amount
from upshift.model.metered import Metered, Outcome
from upshift.model.span import MICROS
from upshift.model.tokens import NO_USAGE, Certainty, Usage
from upshift.reviews.findings import Basis, ReconcileError, Report, Tolerance, Verdict, Why

CALLS = [call(1), call(2), call(3, served_model="small"), call(4, started=FIRST + DAY + HOUR)]


def verdicts(report: Report) -> list[Verdict]:
    return [each.verdict for each in report.findings]


def not_matched(report: Report) -> list[tuple[Verdict, str]]:
    return [(each.verdict, each.model) for each in report.findings if each.verdict is not Verdict.MATCHED]


def whys(report: Report) -> set[Why]:
    return {cause.why for each in report.findings for cause in each.causes}


def test_a_bill_that_says_the_same_is_matched() -> None:
    report = compared(usage_bill(CALLS), CALLS)
    assert report.ok
    assert (report.matched, len(report.findings), report.known) == (3, 3, ())
    assert report.billed.usage == report.recorded.usage == Usage(input=4000, cached=800, output=400)
    assert (report.billed.calls, report.recorded.calls) == (4, 4)


def test_costs_and_usage_of_a_day_are_one_row() -> None:
    report = compared([export(usage_bill(CALLS)), export(cost_bill(CALLS), "costs")], CALLS)
    assert (report.ok, report.matched) == (True, 3)
    assert report.billed.nano == report.recorded.nano == sum(each.cost or 0 for each in CALLS)


def test_costs_that_are_not_split_by_model_are_held_against_all() -> None:
    report = compared(cost_bill(CALLS, model=False), CALLS)
    assert (report.ok, [each.model for each in report.findings]) == (True, ["", ""])


def test_hourly_usage_and_daily_costs_go_together() -> None:
    report = compared([export(usage_bill(CALLS, HOUR)), export(cost_bill(CALLS), "costs")], CALLS)
    assert (report.ok, report.matched) == (True, 6)
    assert (report.billed, report.recorded.usage) == (report.recorded, Usage(input=4000, cached=800, output=400))


def test_tokens_that_differ_are_sized_at_the_plans_prices() -> None:
    bill = usage_bill(CALLS)
    more = altered(bill[0], usage=bill[0].usage + Usage(input=300, cached=100, output=7))
    report = compared([more, *bill[1:]], CALLS)
    (finding,) = [each for each in report.findings if each.verdict is not Verdict.MATCHED]
    assert (finding.verdict, finding.model, finding.start) == (Verdict.DIFFERENT, "big", FIRST)
    assert finding.at_plan == 200 * 2_000 + 100 * 200 + 7 * 10_000
    assert finding.stake == finding.at_plan
    assert not report.ok


def test_what_is_billed_and_not_recorded() -> None:
    report = compared(usage_bill(CALLS), CALLS[:2] + CALLS[3:])
    (finding,) = [each for each in report.findings if each.verdict is not Verdict.MATCHED]
    assert (finding.verdict, finding.model) == (Verdict.MISSING_HERE, "small")
    assert finding.at_plan == CALLS[2].cost
    assert whys(report) == {Why.AROUND}


def test_what_is_recorded_and_not_billed() -> None:
    bill = [line for line in usage_bill(CALLS) if line.model == "big"]
    report = compared(bill, CALLS)
    (finding,) = [each for each in report.findings if each.verdict is not Verdict.MATCHED]
    assert (finding.verdict, finding.model, finding.at_plan) == (Verdict.MISSING_THERE, "small", -(CALLS[2].cost or 0))


def test_an_export_without_use_is_a_bill_of_nothing() -> None:
    empty = altered(export(usage_bill(CALLS)), lines=())
    assert set(verdicts(compared([empty], CALLS))) == {Verdict.MISSING_THERE}
    assert compared([empty], []).ok


def test_charges_for_other_things_than_tokens_are_named() -> None:
    bill = cost_bill(CALLS)
    report = compared([*bill, altered(bill[0], model="web_search", nano=5)], CALLS)
    assert not_matched(report) == [(Verdict.MISSING_HERE, "web_search")]
    assert whys(report) == {Why.BEYOND_TOKENS}


@pytest.mark.parametrize("named", ["Big", "big-20250929", "big-2025-09-29", "BIG-latest"])
def test_models_are_the_same_by_any_of_their_names(named: str) -> None:
    calls = [call(1), call(2)]
    assert compared([altered(line, model=named) for line in usage_bill(calls)], calls).ok


def test_money_within_the_tolerance_is_matched_and_beyond_it_is_not() -> None:
    calls = [call(number, usage=Usage(input=1_000_000), started=FIRST + number) for number in range(10)]
    (bill,) = cost_bill(calls)
    assert bill.nano == 20_000_000_000
    assert compared([altered(bill, nano=bill.nano + 100_000_000)], calls).ok
    report = compared([altered(bill, nano=bill.nano + 101_000_000)], calls)
    assert (verdicts(report), report.findings[0].stake) == ([Verdict.DIFFERENT], 101_000_000)
    assert compared([altered(bill, nano=bill.nano + 101_000_000)], calls, tolerance=Tolerance(money_share=0.01)).ok


def test_tokens_are_exact_unless_said_otherwise() -> None:
    calls = [call(1)]
    (bill,) = usage_bill(calls)
    off = altered(bill, usage=bill.usage + Usage(input=1))
    assert verdicts(compared([off], calls)) == [Verdict.DIFFERENT]
    assert compared([off], calls, tolerance=Tolerance(tokens_share=0.01)).ok


def test_other_prices_are_named_with_their_ratio() -> None:
    calls = [call(number, usage=Usage(input=1_000_000)) for number in range(5)]
    costs = [altered(line, nano=line.nano * 5 // 4) for line in cost_bill(calls)]
    report = compared([export(usage_bill(calls)), export(costs, "costs")], calls)
    (finding,) = report.findings
    assert (finding.verdict, finding.at_billed, finding.at_plan) == (Verdict.DIFFERENT, 2_500_000_000, 0)
    assert "1.25 times" in finding.causes[0].says
    assert whys(report) == {Why.PRICE}


def test_other_tiers_and_rounding_are_named() -> None:
    calls = [call(number, usage=Usage(input=1_000_000)) for number in range(5)]
    (line,) = cost_bill(calls)
    report = compared([altered(line, nano=line.nano // 2, tier="batch", step=0)], calls)
    assert (whys(report), report.findings[0].tiers) == ({Why.TIER}, ("batch",))
    cents = [altered(line, nano=2_000_000_000 + 4_000_000, step=10_000_000)] * 5
    rounded = compared([altered(each, where=str(at)) for at, each in enumerate(cents)], calls)
    assert (rounded.ok, whys(rounded)) == (True, {Why.ROUNDING})


def test_calls_without_a_price_leave_money_unknown() -> None:
    calls = [call(1), call(2, cost=None)]
    (line,) = cost_bill([call(1), call(2, usage=Usage(input=90_000_000))])
    report = compared([line], calls)
    assert (verdicts(report), whys(report), report.ok) == ([Verdict.UNKNOWN], {Why.UNPRICED}, True)


# calls that are not known for certain


def billed(*usages: Usage, calls: int | None = None) -> UsageLine:
    (line,) = usage_bill([call(0)])
    made: UsageLine = altered(line, usage=sum(usages, NO_USAGE), calls=calls)
    return made


USED = Usage(input=2000, output=300)


def test_one_lost_call_gets_what_the_others_leave() -> None:
    calls = [call(1), call(2), lost(3)]
    report = compared([billed(calls[0].usage, calls[1].usage, USED, calls=3)], calls)
    (finding,), (known,) = report.findings, report.known
    assert (finding.verdict, report.ok, finding.bounds is not None and finding.bounds.inside) == (
        Verdict.UNKNOWN, True, True,
    )  # fmt: skip
    assert (known.usage, known.nano, known.basis) == (USED, PRICES.of_call("big", USED), Basis.REST)
    assert known.correction == Amount(2300 - 5000, 7_000_000 - 50_000_000)


def test_two_lost_calls_are_bounded_and_not_guessed() -> None:
    calls = [call(1), lost(2), lost(3)]
    report = compared([billed(calls[0].usage, USED, calls=2)], calls)
    (finding,) = report.findings
    assert (finding.verdict, report.known) == (Verdict.UNKNOWN, ())
    assert finding.bounds is not None
    assert (finding.bounds.low.tokens, finding.bounds.high) == (1100, Amount(11_100, 103_000_000 - 360_000))


@pytest.mark.parametrize(
    ("usage", "calls"),
    [(Usage(input=5000, output=1), 2), (Usage(input=-1), 1), (Usage(output=-1), 1), (USED, 3), (NO_USAGE, 0)],
    ids=["above its hold", "input below", "output below", "one call too many", "one call too few"],
)
def test_a_bill_beyond_what_the_record_allows_is_different(usage: Usage, calls: int) -> None:
    certain = call(1)
    report = compared([billed(certain.usage, usage, calls=calls)], [certain, lost(2)])
    (finding,) = report.findings
    assert (finding.verdict, report.known) == (Verdict.DIFFERENT, ())
    assert finding.bounds is not None
    assert not finding.bounds.inside


def test_a_cut_answer_may_have_been_longer_or_shorter_than_its_text_suggests() -> None:
    cut = call(1, certainty=Certainty.AT_LEAST, outcome=Outcome.CLIENT_LEFT)
    report = compared([billed(cut.usage, Usage(output=50))], [cut])
    assert (verdicts(report), report.known[0].correction) == ([Verdict.UNKNOWN], Amount(50, 500_000))
    assert report.findings[0].bounds is not None
    assert report.findings[0].bounds.high is None
    below = compared([billed(Usage(input=999))], [cut])
    assert (verdicts(below), below.known[0].correction.tokens) == ([Verdict.UNKNOWN], 999 - 1100)


def test_a_lost_call_that_was_not_billed_is_not_taken_for_free() -> None:
    certain = call(1)
    report = compared([billed(certain.usage)], [certain, lost(2)])
    assert (verdicts(report), report.known) == ([Verdict.UNKNOWN], ())


def test_a_lost_call_beside_one_across_the_edge_is_not_guessed() -> None:
    across = call(1, started=FIRST + DAY - MICROS)
    report = compared([billed(USED)], [across, lost(2)])
    assert report.known == ()


def test_refused_calls_are_not_missing_from_a_bill() -> None:
    refused = call(1, outcome=Outcome.REFUSED, usage=NO_USAGE, cost=0, counted=0, counted_tokens=0)
    assert (
        compared(usage_bill([call(2)]), [call(2), refused]).findings[0].recorded
        == compared(usage_bill([call(2)]), [call(2)]).findings[0].recorded
    )


# edges


@pytest.mark.parametrize("by_end", [False, True])
def test_whether_providers_count_starts_or_ends_is_seen(by_end: bool) -> None:
    calls = [call(n, started=FIRST + n * HOUR - 30 * MICROS, latency_us=60 * MICROS) for n in range(1, 9)]
    report = compared(usage_bill(calls, HOUR, by_end=by_end), calls)
    assert (report.ok, report.matched) == (True, 8)


@pytest.mark.parametrize("shift", [-3, -1, 0, 2, 4])
def test_a_clock_that_is_off_moves_calls_next_to_the_edge(shift: int) -> None:
    near = [call(n, started=FIRST + DAY + (n - 5) * MICROS, latency_us=1000) for n in range(10)]
    calls = [*near, call(20), call(21, started=FIRST + DAY + HOUR)]
    report = compared(usage_bill(calls, shift=shift * MICROS), calls)
    assert (report.ok, whys(report)) == (True, {Why.EDGE} if shift else set())


def test_a_difference_that_edges_may_explain_says_so() -> None:
    calls = [call(1), call(2, started=FIRST + DAY - 60 * MICROS, latency_us=120 * MICROS)]
    (line,) = usage_bill(calls)
    report = compared([altered(line, usage=line.usage + Usage(output=10))], calls)
    assert (verdicts(report), whys(report)) == ([Verdict.DIFFERENT], {Why.EDGE})


# whole bills, parts of bills


def test_pages_that_are_missing_are_told() -> None:
    first, second = usage_bill(CALLS)[:2], usage_bill(CALLS)[2:]
    alone = compared([export(first, more=True)], CALLS[:3])
    assert (alone.complete, alone.ok) == (False, False)
    assert "has_more" in alone.warnings[0]
    assert compared([export(first, more=True), export(second, "next")], CALLS).ok


def test_the_same_file_twice_counts_once() -> None:
    bill = export(usage_bill(CALLS))
    report = compared([bill, altered(bill, name="again")], CALLS)
    assert report.ok
    assert "3 lines of again are in bill too" in report.warnings[0]


def test_other_users_of_the_account_can_be_left_out() -> None:
    own, other = usage_bill(CALLS), usage_bill(CALLS[:1])
    lines = [*(altered(each, project="ours") for each in own), altered(other[0], project="theirs")]
    assert not compared(lines, CALLS).ok
    assert compared(lines, CALLS, only={"project": "ours"}).ok
    silent = compared([*lines, altered(other[0], where="x")], CALLS, only={"project": "ours"})
    assert "1 lines do not say their project" in silent.warnings[0]


def test_a_day_that_is_not_over_is_left_out() -> None:
    report = compared(usage_bill(CALLS), CALLS[:3], now=FIRST + DAY + 2 * HOUR)
    assert (report.ok, report.until) == (True, FIRST + DAY)
    assert "not over yet" in report.warnings[0]


def test_days_that_are_asked_for_and_not_in_the_bill_are_missing() -> None:
    late = call(9, started=FIRST + 3 * DAY)
    report = compared(usage_bill(CALLS), [*CALLS, late], since=FIRST, until=FIRST + 5 * DAY)
    assert not_matched(report) == [(Verdict.MISSING_THERE, "big")]
    assert "speaks of" in report.warnings[0]
    assert compared(usage_bill(CALLS), [*CALLS, late]).ok


def test_a_part_of_the_time_is_compared_by_itself() -> None:
    report = compared(usage_bill(CALLS), CALLS[3:], since=FIRST + DAY)
    assert (report.ok, report.since, report.matched) == (True, FIRST + DAY, 1)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([altered(usage_bill(CALLS)[0], start=FIRST + 1, end=FIRST + DAY + 1)], "no minute, hour or day"),
        ([altered(usage_bill(CALLS)[0], end=FIRST)], "no minute, hour or day"),
        ([*usage_bill(CALLS), *usage_bill(CALLS, HOUR)], "different lengths overlap"),
    ],
)
def test_lines_that_cannot_be_compared_are_refused(lines: Sequence[UsageLine], says: str) -> None:
    with pytest.raises(ReconcileError, match=says):
        compared(lines, CALLS)


# invariants

_usages = st.builds(
    lambda plain, cached, output: Usage(input=plain + cached, cached=cached, output=output),
    st.integers(0, 2000),
    st.integers(0, 500),
    st.integers(1, 900),
)
_calls = st.lists(
    st.tuples(st.integers(0, 3 * DAY), st.integers(0, 200 * MICROS), st.sampled_from(["big", "small"]), _usages),
    min_size=1,
    max_size=30,
).map(
    lambda drawn: [
        call(number, started=FIRST + at, latency_us=took, served_model=model, usage=usage)
        for number, (at, took, model, usage) in enumerate(drawn)
    ]
)


@given(_calls, st.sampled_from([HOUR, DAY]), st.booleans(), st.booleans())
def test_a_bill_made_of_the_records_is_matched(calls: list[Metered], width: int, by_end: bool, split: bool) -> None:
    span: Between = {"since": FIRST, "until": FIRST + 5 * DAY}
    report = compared(usage_bill(calls, width, model=split, by_end=by_end), calls, **span)
    assert report.ok
    assert report.billed.usage == report.recorded.usage


@given(_calls, st.data(), _usages)
def test_a_line_that_is_altered_is_found_with_its_size(calls: list[Metered], data: st.DataObject, more: Usage) -> None:
    calls = [altered(each, latency_us=0, started=each.started // HOUR * HOUR + 600 * MICROS) for each in calls]
    bill = usage_bill(calls)
    at = data.draw(st.integers(0, len(bill) - 1))
    line = altered(bill[at], usage=bill[at].usage + more)
    report = compared([*bill[:at], line, *bill[at + 1 :]], calls)
    (finding,) = [each for each in report.findings if each.verdict is not Verdict.MATCHED]
    assert (finding.verdict, finding.where) == (Verdict.DIFFERENT, (line.where,))
    assert finding.at_plan == PRICES.of_call(line.model, more)


@given(_calls, st.data())
def test_a_line_that_is_left_out_is_found_with_its_size(calls: list[Metered], data: st.DataObject) -> None:
    calls = [altered(each, latency_us=0, started=each.started // HOUR * HOUR + 600 * MICROS) for each in calls]
    bill = usage_bill(calls)
    gone = bill.pop(data.draw(st.integers(0, len(bill) - 1)))
    rest = altered(export([gone]), lines=tuple(bill))
    report = compared([rest], calls, since=FIRST, until=FIRST + 4 * DAY)
    (finding,) = [each for each in report.findings if each.verdict is not Verdict.MATCHED]
    assert (finding.verdict, finding.model, finding.start) == (Verdict.MISSING_THERE, gone.model, gone.start)
    assert finding.at_plan == -(PRICES.of_call(gone.model, gone.usage) or 0)
    assert gone.stated == ALL
