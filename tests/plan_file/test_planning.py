"""Does what a plan says of estimates, budgets, people and agents come to the Outline that it means?"""

import json
import math
import random
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from upshift.model.quarter import Quarter
from upshift.plan_file import Checked, PlanError, Severity, compile_document, load, loads, outline_document
from upshift.plan_file.figures import COUNT, FACTOR, GROWTH, HOURS, MINUTES, SHARE, TOKENS, Kind, kept, parse_spread
from upshift.planning.outline import Cadence, Row, Spread, Status, exactly

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "examples" / "scale-out" / "plan.yaml").read_text()
GOOD = (Path(__file__).parent / "good.yaml").read_text()
TODAY = date(2026, 11, 1)


def plan(*changes: tuple[str, str], text: str = EXAMPLE) -> Checked:
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return loads(text, "plan.yaml", TODAY)


def row(name: str, *changes: tuple[str, str]) -> Row:
    return {each.id: each for each in plan(*changes).outline.rows}[name]  # type: ignore[index]  # a plain name


def errors(*changes: tuple[str, str], text: str = EXAMPLE) -> list[str]:
    with pytest.raises(PlanError) as caught:
        plan(*changes, text=text)
    return [str(each) for each in caught.value.problems if each.severity is Severity.ERROR]


FIGURES: list[tuple[str, Kind, Spread]] = [
    ("18", COUNT, exactly(18)),
    ("1.8", COUNT, exactly(1.8)),
    ("4,200", COUNT, exactly(4200)),
    ("1.4M", TOKENS, exactly(1_400_000)),
    ("520k tokens", TOKENS, exactly(520_000)),
    ("12..27", COUNT, Spread(12, 18, 27)),
    ("0..10", COUNT, Spread(0, 5, 10)),
    ("12..20..30", COUNT, Spread(12, 20, 30)),
    ("400k .. 900k", TOKENS, Spread(400_000, 600_000, 900_000)),
    ("18 +-50%", COUNT, Spread(9, 18, 27)),
    ("18 ± 50%", COUNT, Spread(9, 18, 27)),
    ("60%", SHARE, exactly(0.6)),
    ("0.6", SHARE, exactly(0.6)),
    ("0", SHARE, exactly(0)),
    ("0..50%", SHARE, Spread(0, 0.25, 0.5)),
    ("-2%", GROWTH, exactly(-0.02)),
    ("-2%..1%..4%", GROWTH, Spread(-0.02, 0.01, 0.04)),
    ("12m", MINUTES, exactly(12)),
    ("90s", MINUTES, exactly(1.5)),
    ("1.5h", MINUTES, exactly(90)),
    ("6h", HOURS, exactly(6)),
    ("6", HOURS, exactly(6)),
    ("90m", HOURS, exactly(1.5)),
    ("1.4x", FACTOR, exactly(1.4)),
]


@pytest.mark.parametrize(("text", "kind", "meant"), FIGURES)
def test_figures_mean_what_people_write(text: str, kind: Kind, meant: Spread) -> None:
    found = parse_spread(text, kind)
    for one, other in zip((found.low, found.mid, found.high), (meant.low, meant.mid, meant.high), strict=True):
        assert math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-15)


REFUSED: list[tuple[str, Kind, str, str]] = [
    ("1,5", COUNT, "is not a number", "Write '1.5'"),
    ("1.234,5", COUNT, "is not a number", "Write '1,234.5'"),
    ("1.400.000", TOKENS, "is not a number of tokens", "Write '1,400,000'"),
    ("30..12", COUNT, "does not rise", "Write '12..30'."),
    ("12..40..30", COUNT, "does not rise", "Write '12..30..40'."),
    ("12-30", COUNT, "is not a number", "Write '12..30'."),
    ("400..520k", TOKENS, "unit of its last figure only", "Write '400k..520k'."),
    ("60", SHARE, "has no unit", "Write '60%'."),
    ("1", SHARE, "has no unit", "Write '1%'."),
    ("140%", SHARE, "out of bounds", ""),
    ("12", MINUTES, "has no unit", "Write '12m'."),
    ("-3", COUNT, "is below zero", ""),
    ("0.9", FACTOR, "out of bounds", ""),
    ("5%", FACTOR, "is not a factor", "Write '1.05'."),
    ("18 +-120%", COUNT, "takes away more", ""),
    ("1..", COUNT, "is not a range", "Write it like"),
    ("..", COUNT, "is not a range", ""),
    ("1..2..3..4", COUNT, "is not a range", ""),
    ("many", COUNT, "is not a number", ""),
    ("", COUNT, "is not a number", ""),
    ("nan", COUNT, "is not a number", ""),
    ("1e9", COUNT, "is not a number", ""),
    ("1" + "0" * 30, COUNT, "out of bounds", ""),
    ("9" * 100, COUNT, "too long", ""),
    ("١٨", COUNT, "is not a number", ""),
]


@pytest.mark.parametrize(("text", "kind", "what", "remedy"), REFUSED)
def test_what_is_no_figure_is_refused_with_a_remedy(text: str, kind: Kind, what: str, remedy: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        parse_spread(text, kind)
    said: dict[str, Any] = caught.value.context or {}
    assert what in said["what"]
    assert said["expected"]
    assert remedy in said["remedy"]


@given(st.lists(st.floats(0, 1e12), min_size=3, max_size=3).map(sorted), st.booleans())
def test_a_figure_is_kept_exactly(values: list[float], exact: bool) -> None:
    spread = exactly(values[0]) if exact else Spread(*values)
    back = json.loads(json.dumps(kept(spread)))
    again = Spread(back["p10"], back["p50"], back["p90"]) if isinstance(back, dict) else exactly(back)
    assert again == spread


def test_the_example_is_taken_without_a_warning_and_says_why_a_candidate_stays_one() -> None:
    checked = plan()
    assert checked.warnings == ()
    assert sorted(checked.snapshot.workloads) == ["W-01", "W-02"]
    lacks = {each.workload: (each.status, each.lacks) for each in checked.not_served}
    assert lacks["W-03"] == ("planned", ())  # type: ignore[index]  # plain names
    status, missing = lacks["W-05"]  # type: ignore[index]
    assert status == "candidate"
    assert [words.split()[0] for words in missing] == ["users", "sessions", "tokens", "hours"]
    assert compile_document(checked.document) == checked.snapshot
    assert outline_document(checked.document) == checked.outline


def test_the_rows_of_the_example_are_what_they_say() -> None:
    rows = plan().outline.rows
    assert [(each.id, each.status, str(each.ships), each.owner) for each in rows] == [
        ("W-01", Status.COMMITTED, "Q2-2026", "Sarah"),
        ("W-02", Status.COMMITTED, "Q2-2026", "Marcus"),
        ("W-03", Status.PLANNED, "Q3-2026", "Priya"),
        ("W-04", Status.PLANNED, "Q3-2026", "Tom"),
        ("W-05", Status.CANDIDATE, "Q4-2026", "Aisha"),
    ]
    figures = []
    for each in rows[:4]:
        said = each.estimate
        assert said is not None
        assert said.sessions is not None
        assert said.tokens is not None
        assert said.ops_hours is not None
        figures.append((each.audiences[0].users.mid, said.sessions.mid, said.tokens.mid, said.ops_hours.mid))
    assert figures == [(4200, 18, 520e3, 6), (1100, 42, 980e3, 4), (280, 60, 1.4e6, 2), (95, 30, 2.2e6, 3)]
    assert [[share.model for share in each.mix] for each in rows] == [
        ["claude-sonnet-5-5"],
        ["claude-sonnet-5-5"],
        ["claude-sonnet-5-5"],
        ["claude-opus-5-5"],
        [],
    ]
    assert [each.overage for each in rows] == [("soft-cap",), ("soft-cap",), ("pay-as-you-go",), ("soft-cap",), ()]
    assert rows[0].ceilings == (("standard", 1_500_000, None),)
    assert rows[4].estimate is None


def test_the_staffing_of_the_example_is_that_of_the_worked_one() -> None:
    outline = plan().outline
    staffing = outline.staffing
    hours = len(outline.rows) * staffing.stable.mid + staffing.first_quarter.mid + staffing.platform.mid
    assert hours == 46
    assert staffing.fte_hours < hours < 2 * staffing.fte_hours
    assert staffing.ceilings[Quarter(2026, 2)] == 46
    assert list(staffing.ceilings) == sorted(staffing.ceilings)


def test_budgets_and_agents_of_the_example() -> None:
    outline = plan().outline
    assert outline.sign_offs
    assert (outline.buffer, outline.year) == (0.18, 220_000 * 10**9)
    assert (outline.machines.headroom, outline.machines.sessions_per_unit, outline.machines.unit) == (
        0.35,
        40,
        180 * 10**9,
    )
    assert outline.ops.owners == ("ops lead",)
    assert (outline.tokens.review, outline.compute.review) == (Cadence.MONTHLY, Cadence.QUARTERLY)
    assert {each.id: each.workload for each in outline.agents}["review"] == "W-04"  # type: ignore[index]
    assert ("dispatcher", "chat") in outline.interfaces
    assert len(outline.interfaces) == 4


def test_users_by_tier() -> None:
    said = row(
        "W-01", ("users: 4,200", "users: {free: 4000, pro: {users: 200..300, weight: 3}}"), ("[standard]", "[standard, free, pro]")
    )  # fmt: skip
    free, pro = said.audiences
    assert (free.tier, free.users, free.weight) == ("free", exactly(4000), exactly(1))
    assert (pro.tier, pro.users.low, pro.users.high, pro.weight.mid) == ("pro", 200, 300, 3)
    (all_,) = row("W-01", ("users: 4,200", "users: {p10: 4k, p50: 4.2k, p90: 5k}")).audiences
    assert (all_.tier, all_.users) == (None, Spread(4000, 4200, 5000))


def test_tokens_by_turns() -> None:
    turns = "turns: 3..4..6, input: 2.1k, output: 300, multiplier: 1.4, tool_calls: 1.8, retries: 1.05"
    said = row("W-01", ("tokens: 520k", turns)).estimate
    assert said is not None
    assert said.tokens is None
    assert said.turns is not None
    assert (said.turns.turns.high, said.turns.input.mid, said.turns.retries.mid) == (6, 2100, 1.05)


def test_a_mix_by_weight_and_by_price() -> None:
    two = ("sonnet: [claude-sonnet-5-5]", "sonnet: [claude-sonnet-5-5, claude-haiku-5-5]")
    model = ("claude-sonnet-5-5: {provider: anthropic,", "claude-sonnet-5-5: {provider: anthropic, weight: 3,")
    gate = "    gate: pay-as-you-go\n"
    shared = row("W-03", two, model, (gate, gate + "    route: {order: weighted}\n"))
    assert {share.model: share.part for share in shared.mix} == {"claude-sonnet-5-5": 0.75, "claude-haiku-5-5": 0.25}
    cheapest = row("W-03", two, (gate, gate + "    route: {order: cheapest}\n"))
    assert [(share.model, share.part) for share in cheapest.mix] == [("claude-haiku-5-5", 1.0)]
    pinned = row("W-03", two, (gate, gate + "    route: {pin: [claude-haiku-5-5]}\n"))
    assert [share.model for share in pinned.mix] == ["claude-haiku-5-5"]
    assert row("W-03", two).mix[0].model == "claude-sonnet-5-5"


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (GOOD, "bbe134eb3122a1e201118dda34d0d398f4bcff3606cde70f3a71e8e2f6eb3d1c"),
        (
            (ROOT / "src/upshift/cli/starter/plan.yaml").read_text(),
            "104137af1d71019fdabcc7b3eaaa8aa387e051d617e2b5da7abb55cc51b1011d",
        ),
    ],
    ids=["good", "starter"],
)
def test_plans_without_estimates_keep_the_hash_they_had(text: str, known: str) -> None:
    # Both take prices from the catalogue: where it says more, or it is read for more, the hash is a new one.
    checked = loads(text, today=TODAY)
    assert checked.snapshot.hash == known
    assert not checked.outline.sign_offs


SAME: dict[str, tuple[str, str]] = {
    "default": ("  fte: 40h\n", ""),
    "default of an estimate": ("{sessions: 60,", "{sessions: 60, output_share: 20%, growth: 0%,"),
    "default of a budget": ("  ops: {owners: [ops lead], forecast: quarterly, review: quarterly}\n", ""),
    "percentiles": ("session: 5m..9m..20m", "session: {p10: 300s, p50: 9m, p90: 20m}"),
    "users in full": ("users: 4,200", "users: 4.2k"),
    "quarter": ("ships: Q4-2026", "ships: 2026-Q4"),
    "quarter of a ceiling": ("Q2-2026: 46h", "2026-Q2: 46"),
    "hours": ("stable: 6h", "stable: 6"),
}


@pytest.mark.parametrize("case", SAME)
def test_writing_it_another_way_is_the_same_plan(case: str) -> None:
    assert plan(SAME[case]).snapshot.hash == plan().snapshot.hash


def test_sections_of_several_files_make_one_plan(tmp_path: Path) -> None:
    whole: dict[str, Any] = yaml.load(EXAMPLE, Loader=yaml.BaseLoader)
    for name, part in whole.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({name: part}))
    # And one section in two files.
    agents = whole["agents"]
    first = dict(list(agents.items())[:2])
    (tmp_path / "agents.yaml").write_text(yaml.safe_dump({"agents": first}))
    rest = {name: part for name, part in agents.items() if name not in first}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"agents": rest}))
    assert load([tmp_path], TODAY).document == plan().document


def test_sign_offs_ask_for_complete_estimates_unless_they_are_waived() -> None:
    bare = (
        "    users: 280\n    estimate: {sessions: 60, tokens: 1.4M, ops: 2h, session: 1m..2m..5m, busy: 5, burst: 3}\n",
        "",
    )
    found = errors(bare)
    assert len(found) == 2
    assert all("a planned workload needs a complete estimate" in each for each in found)
    assert not plan(bare, ("sign_offs: required", "sign_offs: waived")).outline.sign_offs
    assert "complete estimate" in errors(("gate: docs\n", "gate: docs\n    estimate: {sessions: 3}\n"), text=GOOD)[0]
    # Asked for in so many words, an old plan's rows are held to it too.
    assert errors(("upshift: 1", "upshift: 1\nsign_offs: required"), text=GOOD)


def test_implausible_figures_are_warned_about() -> None:
    checked = plan(
        ("tokens: 520k, ops: 6h", "tokens: 520k, ops: 160h"),
        ("tokens: 980k", "tokens: 3B"),
        ("sessions: 60, tokens: 1.4M", "sessions: 60, turns: 3, input: 2M, output: 1k"),
        ("buffer: 18%", "buffer: 40%"),
        ("headroom: 35%", "headroom: 5%"),
        ("    sessions_per_unit: 40\n", ""),
    )
    paths = {each.path for each in checked.warnings}
    assert paths == {
        "workloads.W-01.estimate.ops",
        "workloads.W-02.estimate.tokens",
        "workloads.W-03.estimate.input",
        "budgets.buffer",
        "budgets.compute.headroom",
        "budgets.compute.unit",
    }


def test_commas_in_braces_are_never_read_as_ends_of_numbers() -> None:
    (found,) = errors(("{standard: {month: 1.5M}}", "{standard: {month: 1,500}}"))
    assert "'1,500' is read as '1'" in found
    assert plan(("{standard: {month: 1.5M}}", "{standard: {month: '1,500,000'}}")).document == plan().document


WORDS = (
    "estimate",
    "users",
    "standard",
    "Q3-2026",
    "soft-cap",
    "5m..9m",
    "60%",
    "1,5M",
    "W-01",
    "dispatcher",
    "2026-08",
)
DATA: dict[str, Any] = yaml.load(EXAMPLE, Loader=yaml.BaseLoader)
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@settings(max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_a_plan_with_nodes_dropped_doubled_retyped_or_misspelt_is_taken_or_refused_with_places(
    seed: int, times: int
) -> None:
    chance = random.Random(seed)
    data = deepcopy(DATA)
    for _ in range(times):
        _changed(data, chance)
    text = yaml.dump(data, Dumper=DUMPER, sort_keys=False)
    try:
        checked = loads(text, "plan.yaml", TODAY)
    except PlanError as error:
        found = [each for each in error.problems if each.severity is Severity.ERROR]
        assert found
        for each in found:
            assert each.file == "plan.yaml"
            assert 1 <= each.line <= text.count("\n") + 2, str(each)
            assert each.column >= 1, str(each)
            assert each.remedy or each.expected, str(each)
        return
    assert compile_document(checked.document) == checked.snapshot
    assert outline_document(checked.document) == checked.outline


def _changed(data: Any, chance: random.Random) -> None:
    places: list[tuple[Any, Any]] = []
    stack = [data]
    while stack:
        part = stack.pop()
        for key in list(part) if isinstance(part, dict) else range(len(part)):
            places.append((part, key))
            if isinstance(part[key], (dict, list)):
                stack.append(part[key])
    owner, key = chance.choice(places)
    match chance.randrange(5):
        case 0:
            del owner[key]
        case 1:
            owner[key] = chance.choice(
                [None, "", "x", "0", "-1", [], {}, ["x"], {"p10": "1"}, {"p10": "3", "p90": "1"}]
            )
        case 2:
            other, name = chance.choice(places)
            owner[key] = deepcopy(other[name])
        case 3:
            owner[key] = chance.choice(WORDS)
        case _:
            if isinstance(owner, dict) and key:
                at = chance.randrange(len(key))
                owner[key[:at] + chance.choice(["", "x", key[at] * 2]) + key[at + 1 :]] = owner.pop(key)
