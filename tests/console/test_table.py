"""Does a table sort, filter and export what it shows, whatever the URL says?"""

import csv
import io
import json
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from upshift.console.table import Asked, Column, Kind, Table


@dataclass(frozen=True)
class Row:
    name: str
    cost: int | None


COLUMNS = (
    Column[Row]("name", "Name", lambda row: row.name),
    Column[Row]("cost", "Cost", lambda row: row.cost, Kind.MONEY),
)
ROWS = [Row("beta", 3), Row("Alpha", None), Row("gamma", 1), Row("=1+1", 2)]


def table(sort: str = "", search: str = "", first: str = "") -> Table[Row]:
    return Table(COLUMNS, ROWS, Asked("/console/rows", sort, search), first)


def names(found: Table[Row]) -> list[str]:
    return [row.name for row in found.rows]


def test_figures_sort_both_ways_with_the_unknown_last() -> None:
    assert names(table("cost")) == ["gamma", "=1+1", "beta", "Alpha"]
    assert names(table("-cost")) == ["beta", "=1+1", "gamma", "Alpha"]


def test_names_sort_whatever_their_case() -> None:
    assert names(table("name")) == ["=1+1", "Alpha", "beta", "gamma"]


def test_a_sort_that_is_none_leaves_the_first_order() -> None:
    assert names(table("nonsense")) == names(table())
    assert names(table("nonsense", first="-cost")) == names(table("-cost"))


def test_a_header_turns_the_order_round() -> None:
    found = table("-cost")
    cost = COLUMNS[1]
    assert found.order(cost) == "descending"
    assert found.sorting(cost) == "/console/rows?sort=cost"
    assert found.sorting(COLUMNS[0]) == "/console/rows?sort=name"


def test_all_words_that_are_sought_have_to_be_there() -> None:
    assert names(table(search="ALPHA")) == ["Alpha"]
    assert names(table(search="a b")) == ["beta"]
    assert names(table(search="zeta")) == []


def test_an_export_has_what_is_kept_and_runs_nothing() -> None:
    rows = list(csv.reader(io.StringIO(table("-cost").to_csv())))
    assert rows == [["name", "cost"], ["beta", "3"], ["'=1+1", "2"], ["gamma", "1"], ["Alpha", ""]]
    assert json.loads(table("name").to_json())[1] == {"name": "Alpha", "cost": None}


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_url_breaks_a_table(sort: str, search: str) -> None:
    found = table(sort, search)
    assert set(names(found)) <= set(names(table()))
    assert len(found.to_csv().splitlines()) == len(found.rows) + 1
