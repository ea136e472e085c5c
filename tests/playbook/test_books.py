"""Is a playbook that cannot be run refused with the place of every problem, and do those that ship load?"""

import json
from pathlib import Path

import pytest
import yaml
from tests.playbook.small import TEXT, small

from upshift.evidence.pattern import HOUR
from upshift.plan_file import PlanError
from upshift.plan_file.books import book_schema, known_checks, read_book, shipped
from upshift.playbook.book import END
from upshift.playbook.checks import ACTIONS, BUILT_IN, Check
from upshift.playbook.facts import Facts, Judgement


def problems(text: str) -> list[str]:
    with pytest.raises(PlanError) as error:
        read_book(text, "mine.yaml")
    return [str(one) for one in error.value.problems]


@pytest.mark.parametrize("name", shipped())
def test_a_book_that_ships_loads(name: str) -> None:
    book = read_book(shipped()[name], f"{name}.yaml")
    assert book.name == name
    assert book.phases[-1].next == END
    assert all(one.title and one.says for one in book.phases)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty; expected a playbook. Begin with 'playbook: ...' and 'phases:'."),
        ("- one", "the file holds a list; expected a mapping with playbook, title, inputs, phases, ..."),
        (f"phases: {'[' * 60}{']' * 60}", "values are nested more than 40 deep here; expected a playbook, which needs"),
        ("title: !!binary aGk=", "means nothing in a playbook"),
    ],
)
def test_a_text_that_is_no_playbook_is_not_called_a_plan(text: str, said: str) -> None:
    (problem,) = problems(text)
    assert said in problem
    assert "plan" not in problem


def test_the_windows_of_adding_an_agent() -> None:
    book = read_book(shipped()["add-agent"])
    assert {one.name: one.window // HOUR for one in book.phases if one.window} == {"staged": 48, "full": 72}
    staged = book.phase("staged")
    assert [one.do for one in staged.entering] == ["share-of-traffic", "activate-interfaces"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  full:\n", "  full:\n    next: ready\n", "mine.yaml:17:11: error: phases.full.next: the phases go round in a"
         " circle: ready -> staged -> full -> ready"),
        ("check: contracts-complete", "check: contracts-compleet", "mine.yaml:10:20: error: phases.ready.exit.0.check:"
         " 'contracts-compleet' is not a check"),
        ("sign-off: engineering", "sign-off: boss", "phases.full.exit.1.sign-off: 'boss' is not a role; expected"),
        ("sign-off: engineering", "sign-off: ", "phases.full.exit.1.sign-off: the role is missing"),
        ("window: 48h", "window: -48h", "mine.yaml:12:13: error: phases.staged.window: '-48h' is negative"),
        ("window: 48h", "window: soon", "phases.staged.window: 'soon' is not a duration"),
        ("  staged:\n", "  staged:\n    next: end\n", "phases.full: nobody reaches the phase 'full'"),
        ("name: closed", "name: no-regression", "phases.full.exit.1: 'no-regression' is there twice"),
        ("name: closed", "name: change-freeze", "phases.full.exit.1.name: 'change-freeze' is what keeps a gate shut in"),
        ("  staged:\n", "  ready:\n", "mine.yaml:11:3: error: phases.ready: 'ready' is defined twice"),
        ("metrics: [latency]", "metrics: [lateness]", "'lateness' is not a metric; there are latency, "),
        ("with: {metrics: [latency]}", "with: {}", "'metrics' is missing"),
        ("first: 2", "last: 2", "'last' is not a parameter here"),
        ("first: 2", "first: two", "'two' is not a number"),
        ("first: 2", "first: nan", "'nan' is not a number"),
        ("first: 2", "first: inf", "'inf' is not a number"),
        ("first: 2", "first: -1", "'-1' is too few; expected at least 0"),
        ("metrics: [latency]", "metrics: [latency, latency]", "'latency' is there twice"),
        ("metrics: [latency]", "metrics: []", "name one metric at least"),
        ("do: share-of-traffic", "do: share-traffic", "'share-traffic' is not an action"),
        ("share: 25%", "share: 25", "'25' is not a share"),
        ("subject: agent", "subject: agnet", "mine.yaml:4:10: error: subject: 'agnet' is not an input"),
        ("    window: 72h", "    extend: 1h", "a phase without a window cannot be extended"),
        ("    window: 72h", "    windows: 72h", "mine.yaml:17:5: error: phases.full.windows: 'windows' is not a field"),
        ("phases:", "phasen:", "'phases' is missing"),
        ("next", "next", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_with_its_place(old: str, new: str, said: str) -> None:
    if not said:
        assert read_book(TEXT, "mine.yaml") == small()
        return
    text = TEXT.replace(old, new, 1)
    found = problems(text)
    assert any(said in one for one in found), found


def test_the_example_of_the_guide_loads_and_its_tables_are_complete() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide-playbooks.md").read_text()
    example = guide.partition("```yml\n")[2].partition("```")[0]
    assert read_book(example, "guide").phases[0].window == 24 * HOUR
    for name in [*(one.name for one in BUILT_IN), *(one.name for one in ACTIONS)]:
        assert f"| `{name}` |" in guide


def test_all_problems_are_told_at_once() -> None:
    text = (
        TEXT.replace("48h", "-48h")
        .replace("sign-off: engineering", "sign-off: ")
        .replace("check: contracts", "check: x")
    )
    assert len(problems(text)) == 3


def test_the_hash_is_of_the_content_not_the_spelling() -> None:
    assert small(TEXT.replace("48h", "2d")).hash == small().hash
    assert small(TEXT.replace("48h", "47h")).hash != small().hash


def test_the_schema_describes_the_books_that_ship() -> None:
    schema = json.loads(json.dumps(book_schema()))
    names = schema["$defs"]["WrittenCriterion"]["properties"]["check"]["enum"]
    assert set(names) == {one.name for one in BUILT_IN}
    for text in shipped().values():
        written = yaml.safe_load(text)
        assert set(written) <= set(schema["properties"])
        for phase in written["phases"].values():
            assert set(phase) <= set(schema["$defs"]["WrittenPhase"]["properties"])


def test_a_check_of_ones_own_is_one_of_the_checks() -> None:
    def judge(parameters: object, facts: Facts) -> Judgement:
        raise AssertionError("not judged here")

    mine = Check(name="moon-is-full", says="a check of one's own", needs=frozenset(), judge=judge)
    text = TEXT.replace("check: contracts-complete", "check: moon-is-full")
    assert read_book(text, checks={**known_checks(), mine.name: mine}).phases[0].exit[0].check == "moon-is-full"
    assert any("'moon-is-full' is not a check" in one for one in problems(text))
