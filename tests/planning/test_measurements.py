"""Is a sheet read whole or refused whole, with every problem, its line and its remedy?"""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.planning.measurements import BadSheetError, Measured, read_interfaces, read_measured, uneven
from upshift.planning.usl import declared


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(BadSheetError) as refused:
        read_measured(text)
    return refused.value.problems


def test_throughput() -> None:
    assert read_measured('agents,throughput\n4,120.5\n5,"1,300"\n') == [Measured(4, 120.5), Measured(5, 1300.0)]


def test_tasks_by_time_and_groups() -> None:
    (found,) = read_measured("agents,tasks,seconds,group\n3,1,40,svg\n")
    assert found == Measured(3, 0.025, 40.0, "svg")


@pytest.mark.parametrize(
    "header", ["Team size;Tasks per week", "\ufeffprocessors;throughput", "N;X", "LOAD;rate", "agent-count;Tasks/Week"]
)
def test_other_names(header: str) -> None:
    if "/" in header:
        assert "no column 'throughput'" in problems(f"{header}\n4;20\n")[0]
    else:
        assert read_measured(f"{header}\n4;20\n\n") == [Measured(4, 20.0)]


def test_tabs() -> None:
    assert read_measured("agents\tthroughput\tnote\n4\t20\tholiday, half staffed\n") == [Measured(4, 20.0)]


def test_every_bad_row_is_named_and_none_is_left_out() -> None:
    found = problems('agents,throughput\n4,20\n4.5,20\nfive,20\n6,\n7,-1\n8,"1,5"\n0,3\n9,nan\n9,1e999\n')
    assert [each.split(":")[0] for each in found] == [f"line {line}" for line in range(3, 11)]
    assert "'4.5' is not a whole number" in found[0]
    assert "take the row out" in found[1]
    assert "'1,5' is not a number" in found[4]


def test_a_week_in_which_nothing_was_done_counts() -> None:
    assert read_measured("agents,throughput\n4,0\n") == [Measured(4, 0.0)]


def test_headers_that_cannot_be_used() -> None:
    assert problems("") == (
        "line 1: no column 'agents' (agent_count or team_size or size or n or load or users or processors); found nothing",
        "line 1: no column 'throughput', nor 'tasks' and 'time' (or seconds, hours); found nothing",
    )
    assert "'n' and 'size' both mean agents" in problems("n,size,throughput\n1,1,1\n")[0]
    assert "say the same twice" in problems("n,tasks,throughput\n1,1,1\n")[0]
    assert problems("n,throughput\n") == ("line 2: no measurement; write one row per measurement under the header",)
    assert "not CSV" in problems('n,throughput\n1,"2\n')[0]


def test_a_figure_beyond_all_measuring_is_refused() -> None:
    assert "at most 1e+12, in a larger unit" in problems("agents,throughput\n1,5\n2,1e300\n")[0]


def test_a_sheet_of_the_wrong_kind_does_not_fill_the_screen() -> None:
    found = problems("agents,throughput\n" + "x,y\n" * 50)
    assert len(found) == 21
    assert found[-1] == "and 80 more like these"


def test_groups_that_cannot_be_compared() -> None:
    rows = [Measured(1, 1, 1, "a"), Measured(2, 1, 1, "a"), Measured(3, 1, 1, "a"), Measured(2, 1, 1, "b")]
    assert uneven(rows) == ["group 'b' was not measured with 1, 3 agents; measure it, or leave it out"]
    assert uneven(rows[:3]) == []


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0, 1e9)), min_size=1))
def test_what_was_written_is_read(rows: list[tuple[int, float]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("agents", "throughput"), *rows])
    assert read_measured(text.getvalue()) == [Measured(agents, throughput) for agents, throughput in rows]


@given(header=st.sampled_from(["agents,throughput\n", "n;x\n", ""]), text=st.text("0123456789.,;-e+'\"\n\t nx\0é"))
def test_any_text_is_read_or_refused(header: str, text: str) -> None:
    try:
        found = read_measured(header + text)
    except BadSheetError:
        return
    assert found


def test_a_declared_topology() -> None:
    assert read_interfaces("agents,interfaces\n20,47\n\n10,20\n") == declared({10: 20, 20: 47})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the columns are 'agents' and 'interfaces', not nothing"),
        ("agents,interfaces\n20,many\n", "line 2: .* like 20,47"),
        ("agents,interfaces\n20\n", "line 2: .* like 20,47"),
        ("agents,interfaces\n4,7\n", "4 agents have 0 to 6 interfaces"),
        ("agents,interfaces\n", "at least one team size"),
    ],
)
def test_a_topology_that_cannot_be_used(text: str, says: str) -> None:
    with pytest.raises(BadSheetError, match=says):
        read_interfaces(text)
