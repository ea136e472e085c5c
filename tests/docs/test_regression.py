"""Are the figures on the page about regression those that were measured, and do they keep what is promised?"""

from bench.regression_page import PAGE, page, read


def test_the_tables_are_those_of_the_results() -> None:
    text = PAGE.read_text()
    assert page(text, read()) == text, "run python -m bench.regression_page"


def test_false_alarms_are_within_what_is_promised() -> None:
    allowed = {"high, AR(0.6)": 0.06, "high, 10 % drift, control": 0.03, "high, n0 = 200": 0.06, "low, n0 = 200": 0.06}
    still = [row for row in read().rows if row.rule == "ours" and row.effect == 0]
    assert len(still) == 13
    assert [row for row in still if row.alarm_rate > allowed.get(row.traffic, 0.05)] == []
