"""Does the guide to reconciliation name every verdict, cause, basis and export?"""

from tests.docs.pages import ROOT, rows, sections

from upshift.model.bill import Shape
from upshift.reviews.buckets import SLACK
from upshift.reviews.findings import Basis, Tolerance, Verdict, Why

GUIDE = sections(ROOT / "docs" / "guide-reconcile.md")


def listed(title: str) -> list[str]:
    return [cells[0] for cells in rows(GUIDE[title])[1:]]


def test_every_code_is_in_the_guide() -> None:
    assert listed("Verdicts") == [each.value for each in Verdict]
    assert listed("Causes") == [each.value for each in Why]
    assert listed("Calls that were lost") == [each.value for each in Basis]


def test_every_export_is_in_the_guide() -> None:
    assert [each.lower().replace(", ", "-").replace(" ", "-") for each in listed("What can be read")] == [
        each.value.replace("per-request", "by-request") for each in Shape
    ]


def test_the_figures_are_those_of_the_rules() -> None:
    usual = Tolerance()
    assert (usual.tokens_share, usual.money_share, usual.money, SLACK) == (0.0, 0.005, 10_000_000, 5_000_000)
    assert "0.5 % or 1 cent" in GUIDE["Verdicts"]
    assert "5 seconds" in GUIDE["Causes"]
