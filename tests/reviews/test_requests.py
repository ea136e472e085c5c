"""Are bills by request held against single calls, and do lost calls get their true cost where it is certain?"""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reviews.builders import (
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
    request_bill,
)

from upshift.model.bill import Line, RequestLine
from upshift.model.budget import Amount
from upshift.model.metered import Metered, Outcome
from upshift.model.span import MICROS
from upshift.model.tokens import NO_USAGE, Certainty, Usage
from upshift.reviews.findings import Basis, ReconcileError, Report, Tolerance, Verdict, Why

SPAN: Between = {"since": FIRST, "until": FIRST + 24 * HOUR}
CALLS = [call(number) for number in range(1, 6)]
USED = Usage(input=2000, output=300)


def found(report: Report) -> list[tuple[Verdict, str]]:
    return [(each.verdict, each.request or each.upstream_id) for each in report.findings]


def whys(report: Report) -> set[Why]:
    return {cause.why for each in report.findings for cause in each.causes}


def line(number: int, usage: Usage = USED, *, after: int = 5, model: str = "big") -> RequestLine:
    """A line that nothing with an id is recorded for."""
    at = FIRST + HOUR + number * 60 * MICROS + after * MICROS
    return RequestLine(
        where=f"bill:x{number}",
        ids=(f"req_x{number}",),
        at=at,
        model=model,
        usage=usage,
        stated=("input", "cached", "output"),
        nano=PRICES.of_call(model, usage),
    )


def test_a_bill_that_says_the_same_is_matched() -> None:
    report = compared(request_bill(CALLS), CALLS, **SPAN)
    assert (report.ok, report.matched, report.findings) == (True, 5, ())
    assert report.billed == report.recorded


def test_our_own_id_does_as_well() -> None:
    bill = [altered(each, ids=(record.request,)) for each, record in zip(request_bill(CALLS), CALLS, strict=True)]
    assert compared(bill, CALLS, **SPAN).matched == 5


def test_a_call_around_the_gateway_is_found() -> None:
    report = compared([*request_bill(CALLS), line(3)], CALLS, **SPAN)
    (finding,) = report.findings
    assert (finding.verdict, finding.upstream_id, finding.where) == (Verdict.MISSING_HERE, "req_x3", ("bill:x3",))
    assert finding.at_plan == finding.at_billed == 7_000_000
    assert whys(report) == {Why.AROUND}


def test_a_call_that_was_not_billed_is_found() -> None:
    report = compared(request_bill(CALLS[1:]), CALLS, **SPAN)
    assert found(report) == [(Verdict.MISSING_THERE, "up_1")]
    assert report.findings[0].stake == -(CALLS[0].cost or 0)


def test_without_a_time_the_ends_of_the_bill_are_not_certain() -> None:
    report = compared(request_bill(CALLS[1:4]), CALLS)
    assert report.ok
    assert "not looked for: 1;" in report.warnings[0]
    silent = [altered(each, at=None) for each in request_bill(CALLS)]
    assert compared(silent, CALLS, **SPAN).ok
    with pytest.raises(ReconcileError, match="names no times"):
        compared(silent, CALLS)
    with pytest.raises(ReconcileError, match="not before"):
        compared(silent, CALLS, since=FIRST, until=FIRST)


def test_lines_of_another_time_are_left_out() -> None:
    report = compared(request_bill(CALLS), CALLS[:2], since=FIRST, until=FIRST + HOUR + 170 * MICROS)
    assert report.ok
    assert "3 lines are not of that time" in report.warnings[0]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"usage": CALLS[0].usage + Usage(output=1)}, None),
        ({"nano": (CALLS[0].cost or 0) * 2}, Why.PRICE),
        ({"nano": (CALLS[0].cost or 0) * 2, "tier": "priority"}, Why.TIER),
        ({"model": "small"}, Why.MODEL),
    ],
)
def test_a_line_that_differs_is_found(fields: dict[str, object], why: Why | None) -> None:
    bill = request_bill(CALLS)
    report = compared([altered(bill[0], **fields), *bill[1:]], CALLS, **SPAN)
    assert found(report) == [(Verdict.DIFFERENT, "up_1")]
    assert why is None or why in whys(report)
    assert report.matched == 4


def test_a_call_that_is_billed_twice_is_found() -> None:
    bill = request_bill(CALLS)
    report = compared([*bill, altered(bill[0], where="bill:9")], CALLS, **SPAN)
    (finding,) = report.findings
    assert (finding.verdict, finding.at_billed, finding.where) == (
        Verdict.DIFFERENT, CALLS[0].cost, ("bill:1", "bill:9"),
    )  # fmt: skip
    assert Why.REPEATED in whys(report)
    twice = compared([line(1), altered(line(1), where="again")], [], **SPAN)
    assert whys(twice) == {Why.AROUND, Why.REPEATED}


def test_two_calls_under_one_id_are_not_both_billed() -> None:
    same = altered(CALLS[1], upstream_id="req_1")
    assert found(compared(request_bill(CALLS[:1]), [CALLS[0], same], **SPAN)) == [(Verdict.MISSING_THERE, "up_2")]


def test_what_was_refused_and_billed_all_the_same() -> None:
    refused = call(1, outcome=Outcome.UPSTREAM_ERROR, usage=NO_USAGE, cost=0, counted=0, counted_tokens=0)
    assert compared(request_bill(CALLS[1:]), [refused, *CALLS[1:]], **SPAN).ok
    report = compared(request_bill(CALLS), [refused, *CALLS[1:]], **SPAN)
    assert found(report) == [(Verdict.DIFFERENT, "up_1")]
    assert Why.NOTHING_USED in whys(report)


def test_millionths_of_a_dollar_are_rounding() -> None:
    bill = [altered(each, nano=(each.nano or 0) // 1000 * 1000 + 1000, step=1000) for each in request_bill(CALLS)]
    assert compared(bill, CALLS, **SPAN, tolerance=Tolerance(money_share=0.0)).ok


def test_a_call_without_a_price_is_unknown() -> None:
    unpriced = [call(1, cost=None)]
    report = compared([altered(request_bill(CALLS)[0], nano=77)], unpriced, **SPAN)
    assert (found(report), report.ok, report.known) == ([(Verdict.UNKNOWN, "up_1")], True, ())


# calls that are not known for certain


def test_a_bill_that_names_an_unknown_call_settles_it() -> None:
    unknown = lost(1, upstream_id="req_x1", provider="openai", served_model="big", outcome=Outcome.UPSTREAM_ERROR)
    report = compared([line(1)], [unknown], **SPAN)
    (known,) = report.known
    assert (known.basis, known.usage, known.nano) == (Basis.ID, USED, 7_000_000)
    assert known.correction == Amount(2300 - 5000, 7_000_000 - 50_000_000)
    assert (report.findings[0].verdict, report.ok) == (Verdict.UNKNOWN, True)
    assert report.findings[0].bounds is not None
    assert report.findings[0].bounds.inside


def test_a_cut_answer_gets_its_true_length() -> None:
    cut = call(1, certainty=Certainty.AT_LEAST, outcome=Outcome.CLIENT_LEFT)
    (bill,) = request_bill([cut])
    report = compared([altered(bill, usage=cut.usage + Usage(output=9), nano=None)], [cut], **SPAN)
    assert report.known[0].correction == Amount(9, 90_000)
    below = compared([altered(bill, usage=Usage(input=3), nano=None)], [cut], **SPAN)
    assert found(below) == [(Verdict.UNKNOWN, "up_1")]
    assert below.findings[0].bounds is not None
    assert not below.findings[0].bounds.inside


def test_a_lost_call_is_the_only_line_that_fits() -> None:
    report = compared([*request_bill(CALLS), line(7), line(8, model="small")], [*CALLS, lost(7)], **SPAN)
    (known,) = report.known
    assert (known.record.request, known.basis, known.where) == ("up_7", Basis.ONLY_FIT, ("bill:x7",))
    assert found(report) == [(Verdict.UNKNOWN, "up_7"), (Verdict.MISSING_HERE, "req_x8")]


@pytest.mark.parametrize(
    "other",
    [line(7, after=-3600), line(7, after=3600), line(7, model="small"), line(7, Usage(input=5000, output=1))],
    ids=["before it", "long after it", "another model", "above its hold"],
)
def test_a_line_that_does_not_fit_a_lost_call_is_not_its_own(other: RequestLine) -> None:
    report = compared([other], [lost(7)], **SPAN)
    assert (report.known, sorted(verdict for verdict, _ in found(report))) == (
        (), [Verdict.MISSING_HERE, Verdict.UNKNOWN],
    )  # fmt: skip
    assert "probably not billed" in "".join(cause.says for each in report.findings for cause in each.causes)


@pytest.mark.parametrize(
    ("bill", "calls"),
    [([line(7), line(7, Usage(input=9))], [lost(7)]), ([line(7)], [lost(7), lost(6)])],
    ids=["two lines", "two calls"],
)
def test_what_may_be_one_or_the_other_is_not_guessed(bill: list[RequestLine], calls: list[Metered]) -> None:
    named = [altered(each, ids=(f"req_y{number}",)) for number, each in enumerate(bill)]
    report = compared(named, calls, **SPAN)
    assert report.known == ()
    assert {verdict for verdict, _ in found(report)} == {Verdict.UNKNOWN, Verdict.MISSING_HERE}


def test_a_call_with_an_id_is_not_given_another_line() -> None:
    unknown = lost(7, upstream_id="req_7", served_model="big", provider="openai")
    assert compared([line(7)], [unknown], **SPAN).known == ()


def test_bills_by_request_and_sums_do_not_mix() -> None:
    with pytest.raises(ReconcileError, match="one after the other"):
        compared([export(request_bill(CALLS)), export(cost_bill(CALLS), "costs")], CALLS)


# invariants

_usages = st.builds(
    lambda plain, cached, output: Usage(input=plain + cached, cached=cached, output=output),
    st.integers(0, 2000),
    st.integers(0, 500),
    st.integers(1, 900),
)
_calls = st.lists(st.tuples(st.integers(0, 20 * HOUR), st.sampled_from(["big", "small"]), _usages), min_size=1).map(
    lambda drawn: [
        call(number, started=FIRST + at, served_model=model, usage=usage)
        for number, (at, model, usage) in enumerate(drawn)
    ]
)


@given(_calls, st.randoms())
def test_a_bill_made_of_the_records_is_matched_in_any_order(calls: list[Metered], chance: Random) -> None:
    bill: list[Line] = list(request_bill(calls))
    chance.shuffle(bill)
    report = compared(bill, calls, **SPAN)
    assert (report.findings, report.matched, report.billed) == ((), len(calls), report.recorded)


@given(_calls, st.data(), _usages, st.sampled_from(["altered", "left out", "added"]))
def test_one_line_that_is_wrong_is_found_with_its_size(
    calls: list[Metered], data: st.DataObject, more: Usage, how: str
) -> None:
    bill = request_bill(calls)
    at = data.draw(st.integers(0, len(bill) - 1))
    old = bill.pop(at)
    if how == "altered":
        assert old.usage is not None
        nano = (old.nano or 0) + (PRICES.of_call(old.model, more) or 0)
        bill.append(altered(old, usage=old.usage + more, nano=nano))
    elif how == "added":
        bill += [old, altered(line(1, more), at=FIRST + HOUR)]
    report = compared(bill or [line(1, NO_USAGE)], calls, **SPAN)
    (finding,) = [each for each in report.findings if each.upstream_id != "req_x1" or how == "added"]
    expected = {
        "altered": (Verdict.DIFFERENT, PRICES.of_call(old.model, more)),
        "left out": (Verdict.MISSING_THERE, -(calls[at].cost or 0)),
        "added": (Verdict.MISSING_HERE, PRICES.of_call("big", more)),
    }
    assert (finding.verdict, finding.stake) == expected[how]
    assert report.matched == len(calls) - (how != "added")
