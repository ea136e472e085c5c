"""Do `upshift plan export` and `plan import` say what they do, and write only what is right?"""

from pathlib import Path

import pytest
from openpyxl import load_workbook
from tests.cli.conftest import Shell
from tests.sheets.plans import BASE, hash_of
from tests.sheets.test_round_trip import RICH


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(RICH)
    return path


def test_a_plan_goes_to_a_workbook_and_back(shell: Shell, plan: Path, tmp_path: Path) -> None:
    book, back = tmp_path / "plan.xlsx", tmp_path / "back.yaml"
    exported = shell.json("plan", "export", str(plan), "--to", str(book))
    assert exported["whole"] is True
    assert exported["sheets"][0] == {"title": "Workloads", "rows": 2}
    imported = shell.json("plan", "import", str(book), "--out", str(back))
    assert imported["plan"] == exported["plan"] == hash_of(back.read_text())


def test_a_workbook_shows_quarters_and_runs_no_formula(shell: Shell, plan: Path, tmp_path: Path) -> None:
    shell.ok("plan", "export", str(plan), "--to", str(tmp_path / "plan.xlsx"))
    book = load_workbook(tmp_path / "plan.xlsx")
    rows = [[cell.value for cell in row] for row in book["Quarters"].iter_rows()]
    assert rows[0][:4] == ["ID", "Workload", "Q2-2026", "Q3-2026"]
    assert rows[1][:4] == ["W-01", "Customer support chat", "committed", "committed"]
    assert {cell.data_type for sheet in book for row in sheet.iter_rows() for cell in row} <= {"s", "n"}
    assert book["Workloads"]["C2"].value == "=HYPERLINK(1)"


def test_csv_runs_no_formula(shell: Shell, plan: Path, tmp_path: Path) -> None:
    shell.ok("plan", "export", str(plan), "--to", str(tmp_path / "plan.csv"))
    text = (tmp_path / "plan.csv").read_text(encoding="utf-8-sig")
    assert "'=HYPERLINK(1)" in text
    assert ",=HYPERLINK" not in text


def test_csv_is_taken_into_the_plan_line_by_line(shell: Shell, plan: Path, tmp_path: Path) -> None:
    table = tmp_path / "plan.csv"
    shell.ok("plan", "export", str(plan), "--to", str(table))
    table.write_bytes(table.read_bytes().replace(b"520000", b"600000"))
    ran = shell.ok("plan", "import", str(table), "--into", str(plan), "--yes")
    assert plan.read_text() == RICH.replace("520k", "600000")
    assert "520k" in ran.err


def test_nothing_is_written_where_a_cell_is_wrong(shell: Shell, plan: Path, tmp_path: Path) -> None:
    table = tmp_path / "plan.csv"
    table.write_text("ID,Sessions/user/month,Cost gate\nW-01,1.234,chatt\nW-05,many,\n")
    ran = shell.run("plan", "import", str(table), "--into", str(plan), "--json")
    assert ran.code == 1
    assert [each["cell"] for each in ran.json["faults"]] == ["B2", "B3"]
    table.write_text("ID,Sessions/user/month,Cost gate\nW-01,1234,chatt\n")
    ran = shell.run("plan", "import", str(table), "--into", str(plan), "--yes")
    assert ran.code == 1
    assert "plan.csv, cell C2: W-01 gate: 'chatt' is not a gate" in ran.err
    assert plan.read_text() == RICH


def test_a_proposal_is_confirmed_or_refused(shell: Shell, tmp_path: Path) -> None:
    table, out = tmp_path / "team.csv", tmp_path / "team.yaml"
    table.write_text("Workload;Tokens pro User\nChat;1,4 Mio\n")
    refused = shell.run("plan", "import", str(table), "--out", str(out), "--yes")
    assert refused.code == 1
    assert "--map 'Tokens pro User=tokens'" in refused.err
    assert not out.exists()
    shell.ok("plan", "import", str(table), "--out", str(out), answer="y\ny\n")
    assert "tokens: 1.4M" in out.read_text()
    mapped = shell.ok("plan", "import", str(table), "--map", "Tokens pro User=tokens")
    assert mapped.out == out.read_text()
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("Tokens pro User: tokens\n")
    assert shell.ok("plan", "import", str(table), "--map", str(mapping)).out == mapped.out


def test_a_plan_of_workloads_only_says_what_it_lacks(shell: Shell, tmp_path: Path) -> None:
    table = tmp_path / "team.csv"
    table.write_text("Workload,Status,Cost gate\nChat,planned,soft-cap\n")
    found = shell.json("plan", "import", str(table))
    assert found["missing"]
    assert found["written"] == []
    assert "gate: soft-cap" in found["text"]


def test_a_folder_is_changed_file_by_file(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "plan"
    folder.mkdir()
    (folder / "base.yaml").write_text(BASE)
    (folder / "one.yaml").write_text("workloads:\n  a: {users: 5}   # small\n")
    (folder / "two.yaml").write_text("workloads:\n  b: {users: 6}\n")
    table = tmp_path / "t.csv"
    table.write_text("ID,Users\nb,7\nc,8\n")
    shell.ok("plan", "import", str(table), "--into", str(folder), "--yes")
    assert (folder / "one.yaml").read_text() == "workloads:\n  a: {users: 5}   # small\n"
    assert (folder / "two.yaml").read_text() == "workloads:\n  b: {users: 7}\n  c: {users: 8}\n"


@pytest.mark.parametrize("option", ["Users=people", "nowhere.yaml"])
def test_wrong_usage(shell: Shell, tmp_path: Path, option: str) -> None:
    table = tmp_path / "t.csv"
    table.write_text("ID,Users\nb,7\n")
    assert shell.run("plan", "import", str(table), "--map", option).code == 2
    assert shell.run("plan", "export", str(table), "--to", "plan.ods").code == 2
