"""Which plan do a command's files hold as plain data, and what of it do sheets show?"""

from collections.abc import Sequence
from pathlib import Path

from upshift.plan_file.locate import merge, parse
from upshift.sheets.rest import rest_tables
from upshift.sheets.tables import quarters_table, workloads_table
from upshift.sheets.tree import Tree
from upshift.sheets.xlsx_book import Table

SHEETS = (".csv", ".xlsx")
_PLANS = frozenset((".yaml", ".yml"))


def plan_files(paths: Sequence[Path]) -> list[Path]:
    """The files of a plan, those of folders in their order. They have been loaded before."""
    found: list[Path] = []
    for path in paths:
        inner = sorted(path.iterdir()) if path.is_dir() else [path]
        found += [each for each in inner if not path.is_dir() or (each.suffix in _PLANS and each.name[0] != ".")]
    return list(dict.fromkeys(found))


def text_of(file: Path) -> str:
    """The text of a plan's file."""
    return file.read_bytes().decode("utf-8-sig")


def tree_of(texts: Sequence[tuple[str, str]]) -> dict[str, Tree]:
    """The plan of (name, text) of its files, every scalar as it is written."""
    plain = merge([parse(text, name) for name, text in texts]).plain()
    return dict(plain)


def book_of(plan: dict[str, Tree]) -> list[Table]:
    """All the sheets of a plan: workloads, the same by quarter, and whatever else it says."""
    workloads = plan.get("workloads")
    return [workloads_table(workloads), quarters_table(workloads), *rest_tables(plan)]
