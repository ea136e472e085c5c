"""What do the tables of docs/regression.md say? `python -m bench.regression_page` writes them from the results file."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.regression import RESULTS, Result, Row
from bench.regression_series import Found

PAGE = Path(__file__).parents[1] / "docs" / "regression.md"
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def read() -> Result:
    """The results file."""
    return msgspec.json.decode(RESULTS.read_bytes(), type=Result)


def _lines(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ("---",) * len(head), *rows))


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    return f"{row.alarm_rate:.1%}" + (f" ({row.median_hours:g} h)" if row.median_hours is not None else "")


def simulated(result: Result) -> str:
    """One line per case, one column per rule: how many alarmed, and the median time to it."""
    rules = list(dict.fromkeys(row.rule for row in result.rows))
    rules = ["ours", *(rule for rule in rules if rule != "ours")]
    by = {(row.traffic, row.effect, row.rule): row for row in result.rows}
    cases = list(dict.fromkeys((row.traffic, row.effect) for row in result.rows))
    rows = [
        (traffic, f"{effect:+.0%}" if effect else "none", *(_cell(by.get((traffic, effect, rule))) for rule in rules))
        for traffic, effect in cases
    ]
    return _lines(("traffic", "change", *rules), rows)


def noise(result: Result) -> str:
    """Alarms at nothing, per A/A series and rule."""
    shown = [one for one in result.series if one.series.startswith("vm_noise/")]
    rules = list(dict.fromkeys(one.rule for one in shown))
    by = {(one.series, one.rule): one for one in shown}

    def cell(one: Found) -> str:
        rate = one.false_alarm_rate
        return f"{one.false_alarms} of {one.quiet}" + ("" if rate is None else f" ({rate:.1%})")

    names = list(dict.fromkeys(one.series for one in shown))
    rows = [(f"`{name.partition('/')[2]}`", *(cell(by[name, rule]) for rule in rules)) for name in names]
    return _lines(("series", *rules), rows)


def incidents(result: Result) -> str:
    """Found, missed and false alarms on labelled series, all of a kind together."""
    rows = [
        (
            one.series.removeprefix("all of "),
            one.rule,
            str(one.found),
            str(one.incidents - one.found),
            f"{one.false_alarms} of {one.quiet}",
            str(one.unjudged),
        )
        for one in result.series
        if one.series.startswith("all of ") and one.incidents
    ]
    return _lines(("series", "rule", "found", "missed", "alarms on quiet days", "not judged"), rows)


def page(text: str, result: Result) -> str:
    """The page with its tables made anew."""
    tables = {"simulated": simulated, "noise": noise, "incidents": incidents}
    return _TABLE.sub(lambda found: found[1] + tables[found[2]](result) + found[3], text)


def main() -> int:
    """Writes the page."""
    PAGE.write_text(page(PAGE.read_text(), read()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
