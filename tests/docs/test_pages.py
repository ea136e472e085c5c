"""Does what the pages say hold: links, maps, tables of fields and paths, figures?"""

import ast
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import BaseModel
from tests.docs.pages import PAGES, ROOT, anchors, links, name, rows, sections, spans

from upshift.admin.api import create_api
from upshift.app import open_desk
from upshift.model.refusal import Reason
from upshift.model.span import MICROS, Window, period_of
from upshift.plan_file.declared import Plan
from upshift.plan_file.parts import Declared
from upshift.store.verify import verify
from upshift.traffic import alerts, disclose

SOURCE = ROOT / "src" / "upshift"
GUIDE = ROOT / "docs" / "guide-plan.md"
CLIENTS = ROOT / "docs" / "guide-clients.md"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            continue
        target = (page.parent / parts.path).resolve() if parts.path else page
        assert target.exists(), f"{name(page)}: {link}"
        assert ROOT in target.parents
        if parts.fragment:
            assert parts.fragment in anchors(target), f"{name(page)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    for span in spans(page):
        if span.endswith((".py", ".svg")) and "NAME" not in span and span.isascii() and " " not in span:
            places = (ROOT / span, SOURCE / span) if "*" not in span else tuple(ROOT.glob(span))
            assert any(place.exists() for place in places), f"{name(page)}: {span}"


def test_every_page_is_linked_from_the_front_page_or_from_one_that_is() -> None:
    reached, left = set[Path](), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        left += [(page.parent / urlsplit(link).path).resolve() for link in links(page) if not urlsplit(link).scheme]
    assert reached >= set(PAGES)


def test_the_map_names_every_package() -> None:
    packages = {
        each.parent.relative_to(SOURCE.parent).as_posix().replace("/", ".") for each in SOURCE.rglob("__init__.py")
    }
    listed = {cells[0] for cells in rows(sections(ROOT / "CONTRIBUTING.md")["The map of the house"])[1:]}
    assert listed == packages - {"upshift"}


def test_the_directions_are_those_that_are_checked() -> None:
    text = (ROOT / ".importlinter").read_text()
    layers = text.partition("layers =\n")[2].partition("\n\n")[0].split()
    drawn = (ROOT / "CONTRIBUTING.md").read_text().partition("```text\n")[2].partition("```")[0].split()
    assert drawn == [layer.removeprefix("upshift.") for layer in layers]


def test_every_folder_of_tests_is_named() -> None:
    folders = {each.name for each in (ROOT / "tests").iterdir() if each.is_dir() and any(each.rglob("*.py"))}
    said = sections(ROOT / "CONTRIBUTING.md")["Tests"]
    assert [folder for folder in sorted(folders) if f"`tests/{folder}`" not in said] == []


def _parts(declared: type[BaseModel]) -> list[type[BaseModel]]:
    """Whatever a plan is declared of, and nothing that other tests declare."""
    found = [each for child in declared.__subclasses__() for each in (child, *_parts(child))]
    return [each for each in found if each.model_fields and each.__module__.startswith("upshift.")]


@pytest.mark.parametrize("part", _parts(Declared), ids=lambda part: part.__name__)
def test_every_field_of_a_plan_is_in_the_guide(part: type[BaseModel]) -> None:
    by_title = {title.replace(" ", "").lower(): text for title, text in sections(GUIDE).items()}
    fields = [cells[0] for cells in rows(by_title[part.__name__.lower()])]
    assert fields == ["field", *(field.alias or name for name, field in part.model_fields.items())]


def test_what_is_required_in_a_plan_is_said_to_be() -> None:
    by_title = {title.replace(" ", "").lower(): text for title, text in sections(GUIDE).items()}
    for part in _parts(Declared):
        said = {cells[0] for cells in rows(by_title[part.__name__.lower()]) if cells[1] == "required"}
        required = {info.alias or field for field, info in part.model_fields.items() if info.is_required()}
        assert said == required, part
    assert Plan in _parts(Declared)


def test_every_path_of_the_admin_api_is_on_its_page(tmp_path: Path) -> None:
    db = tmp_path / "upshift.db"
    desk = open_desk(db)
    try:
        described = create_api(desk, lambda: verify(db)).openapi()["paths"]
    finally:
        desk.journal.close()
    served = {(verb.upper(), path) for path, verbs in described.items() for verb in verbs}
    listed = {(cells[0], cells[1]) for cells in rows(sections(ROOT / "docs" / "api.md")["Paths"])[1:]}
    assert listed == served


def test_every_header_of_an_answer_is_in_the_guide() -> None:
    listed = {cells[0].encode() for cells in rows(sections(CLIENTS)["What every answer says"]) if cells[0][:2] == "x-"}
    told = {disclose.REQUEST, disclose.REQUESTED, disclose.SERVED, disclose.REASON, disclose.BUDGET, disclose.RESETS}
    assert listed == told | {disclose.PLAN}


def test_every_code_of_a_refusal_is_in_the_guide() -> None:
    said = sections(CLIENTS)["What a refusal says"]
    tree = ast.parse(Path(disclose.__file__).read_text())
    (say,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "_say"]
    answers = [
        node.value.elts for node in ast.walk(say) if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple)
    ]
    codes = {
        (status.value, code.value)
        for status, code, *_ in answers
        if isinstance(status, ast.Constant) and isinstance(code, ast.Constant)
    }
    assert len(answers) == len(Reason.__args__)
    listed = {(cells[0], code) for cells in rows(said) for code in cells[1].replace("`", "").split(", ")}
    assert {(str(status), code) for status, code in codes} <= listed


def test_the_example_of_the_pace_rule_is_what_the_rule_says() -> None:
    month = period_of(Window.MONTH, "UTC", 1_793_600_000 * MICROS)
    assert (month.end - month.start) // MICROS == 30 * 86_400

    def on(day: int, used: int) -> tuple[int, ...]:
        return alerts.due(used, 100_000, month, month.start + day * 86_400 * MICROS)

    assert on(5, 60_000) == (70,)
    assert on(5, 64_000) == (70, 90)
    assert on(25, 70_000) == ()


def test_the_notice_names_every_file_of_data() -> None:
    notice = (ROOT / "NOTICE").read_text()
    for file in SOURCE.rglob("*.gz"):
        assert file.relative_to(ROOT).as_posix() in notice
