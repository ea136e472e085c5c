"""Does the picture of agents name everything once, put no box on another, and lead lines from box to box?"""

import re

from hypothesis import given
from hypothesis import strategies as st

from upshift.console.graph import WIDTH, Drawing, Line, layered

NAMES = [f"agent-{each}" for each in range(9)]


@st.composite
def teams(draw: st.DrawFn) -> tuple[list[str], list[Line]]:
    nodes = NAMES[: draw(st.integers(1, len(NAMES)))]
    ends = draw(st.lists(st.tuples(st.sampled_from(nodes), st.sampled_from(nodes)), max_size=24))
    return nodes, [Line(f"line-{at}", start, end) for at, (start, end) in enumerate(ends)]


@given(teams())
def test_every_agent_and_interface_is_drawn_once_within_the_picture(team: tuple[list[str], list[Line]]) -> None:
    nodes, lines = team
    found = layered(nodes, lines)
    assert sorted(box.name for box in found.boxes) == sorted(nodes)
    assert [curve.name for curve in found.curves] == [each.name for each in lines if each.start != each.end]
    for box in found.boxes:
        assert 0 <= box.x <= found.width - WIDTH
        assert 0 <= box.y <= found.height - box.height


@given(teams())
def test_no_box_stands_on_another(team: tuple[list[str], list[Line]]) -> None:
    found = layered(*team)
    for box in found.boxes:
        for other in found.boxes:
            beside = abs(box.x - other.x) >= WIDTH
            over = box.y + box.height <= other.y or other.y + other.height <= box.y
            assert box is other or beside or over


def ends(drawing: Drawing, name: str) -> tuple[float, float, float, float]:
    path = next(curve.path for curve in drawing.curves if curve.name == name)
    numbers = [float(each) for each in re.findall(r"-?\d+\.\d", path)]
    return numbers[0], numbers[1], numbers[-2], numbers[-1]


@given(teams())
def test_lines_begin_and_end_at_their_agents(team: tuple[list[str], list[Line]]) -> None:
    found = layered(*team)
    boxes = {box.name: box for box in found.boxes}
    for line in team[1]:
        if line.start != line.end:
            x, y, to, down = ends(found, line.name)
            for at, height, box in ((x, y, boxes[line.start]), (to, down, boxes[line.end])):
                assert min(abs(at - box.x), abs(at - box.x - WIDTH)) < 0.1
                assert box.y - 0.1 <= height <= box.y + box.height + 0.1


def test_most_lines_lead_to_the_right_and_what_answers_leads_back() -> None:
    lines = [Line("ask", "a", "b"), Line("tell", "b", "a"), Line("on", "b", "c"), Line("past", "a", "c")]
    found = layered(["a", "b", "c"], lines)
    x = {box.name: box.x for box in found.boxes}
    assert x["a"] < x["b"] < x["c"]
    assert {curve.name for curve in found.curves if curve.leftwards} == {"tell"}
    ask, tell = ends(found, "ask"), ends(found, "tell")
    assert {ask[1], ask[3]}.isdisjoint({tell[1], tell[3]})


def test_strangers_are_left_out() -> None:
    found = layered(["a"], [Line("out", "a", "nobody"), Line("self", "a", "a")])
    assert (len(found.boxes), found.curves) == (1, ())
    assert layered([], []).boxes == ()
