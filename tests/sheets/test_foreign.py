"""Is a team's own sheet understood: other names, other numbers, titles, totals, merged cells? And refused by cell?"""

import io
from datetime import date
from typing import Any

import pytest
from openpyxl import Workbook

from upshift.sheets.cells import SheetError
from upshift.sheets.figures import Numbers
from upshift.sheets.imported import Sheet, applied, find, sheet_of
from upshift.sheets.mapping import field_of
from upshift.sheets.reading import Known
from upshift.sheets.tree import Tree, at

HEADER = (
    "Anwendungsfall;Verantwortlich;Stand;Anzahl Nutzer;Sitzungen pro Nutzer;Tokens pro User (Mio);Ops-Stunden pro Woche"
)
GERMAN = f"""\
Planung 2026;;;;;;
;;;;;;
{HEADER}
Kundenchat Süd;Sarah;geplant;4.200;1.234,5;1,4;6
Interne Fragen;Marcus;Kandidat;12,5;18;0,98;4..6

Summe;;;5.300;;;10
Quelle: Vertrieb;;;;;;
"""
TOKENS = {"Tokens pro User (Mio)": "tokens"}


def imported(data: bytes, wanted: dict[str, str] | None = None, *, name: str = "team.csv", **options: Any) -> Sheet:
    source = find(name, data, wanted or {}, options.get("sheet", ""))
    assert not source.proposed
    return sheet_of(source, options.get("known", Known()), options.get("numbers", Numbers.AUTO), whole=False)


def workloads(sheet: Sheet) -> dict[str, Tree]:
    return applied(None, sheet.entries)


def faults(data: bytes, wanted: dict[str, str] | None = None, **options: Any) -> dict[str, str]:
    with pytest.raises(SheetError) as caught:
        imported(data, wanted, **options)
    return {each.cell: str(each) for each in caught.value.faults}


def book(*rows: list[Any], title: str = "Plan") -> Workbook:
    made = Workbook()
    sheet = made.worksheets[0]
    sheet.title = title
    for row in rows:
        sheet.append(row)
    return made


def packed(made: Workbook) -> bytes:
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_german_sheet(encoding: str, delimiter: str) -> None:
    found = workloads(imported(GERMAN.replace(";", delimiter).encode(encoding), TOKENS))
    assert found == {
        "kundenchat-sud": {
            "name": "Kundenchat Süd", "owner": "Sarah", "status": "planned", "users": "4200",
            "estimate": {"sessions": "1234.5", "tokens": "1.4M", "ops": "6h"},
        },
        "interne-fragen": {
            "name": "Interne Fragen", "owner": "Marcus", "status": "candidate", "users": "12.5",
            "estimate": {"sessions": "18", "tokens": "0.98M", "ops": "4h..6h"},
        },
    }  # fmt: skip


def test_the_sheet_of_the_template() -> None:
    text = "ID,Workload,Owner,Status,Users,Sessions/user/month,Tokens/user/month,Ops hours/week,Model tier,Cost gate,Ship quarter\n"
    text += 'W-01,Customer support chat,Sarah,committed,"4,200,000",18,520k,6,Sonnet→Haiku,Soft-cap,Q2-2026\n'
    text += "W-05,Marketing copy drafts,Aisha,candidate,—,—,—,—,—,—,Q4-2026\n"
    known = Known(names={"model_tiers": ["sonnet", "haiku"], "gates": ["soft-cap"]})
    found = workloads(imported(text.encode(), known=known))
    assert found["W-01"] == {
        "name": "Customer support chat", "owner": "Sarah", "status": "committed", "users": "4200000", "ships": "Q2-2026",
        "estimate": {"sessions": "18", "tokens": "520k", "ops": "6h"}, "gate": "soft-cap",
        "models": {"primary": "sonnet", "degrade_to": "haiku"},
    }  # fmt: skip
    assert found["W-05"] == {
        "name": "Marketing copy drafts", "owner": "Aisha", "status": "candidate", "ships": "Q4-2026"
    }  # fmt: skip


def test_every_bad_cell_is_named_at_once() -> None:
    text = "ID,Status,Users,Sessions,Session length,Ship quarter,Cached\n"
    text += "a,soon,1.234,-,12,Q5-2026,20\nb,planned,many,12-30,12m,01/04/2026,20%\n,candidate,3,,,,\n"
    found = faults(text.encode())
    assert set(found) == {"B2", "C2", "E2", "F2", "G2", "C3", "D3", "F3", "A4"}
    assert "'1.234' may be 1.234 or 1234" in found["C2"]
    assert "--numbers european for 1234" in found["C2"]
    assert "team.csv, cell D3: '12-30' is written with a dash; write a range from P10 to P90 like 12..30" in found["D3"]
    assert "expected candidate, planned or committed" in found["B2"]
    assert all(each.count(". ") for each in found.values()), "each says what to do"


def test_which_numbers_are_meant_can_be_said() -> None:
    text = b"ID,Users\na,1.234\n"
    assert at(workloads(imported(text, numbers=Numbers.EUROPEAN))["a"], ("users",)) == "1234"
    assert at(workloads(imported(text, numbers=Numbers.ENGLISH))["a"], ("users",)) == "1.2340"
    assert set(faults(text)) == {"B2"}


def test_near_names_are_only_proposed() -> None:
    source = find("team.csv", b"ID,Tokens pro User,Tokens/user/day,Notes\na,5,6,x\n", {})
    assert [(each.cell.text, each.field, each.read) for each in source.layout.matches] == [
        ("ID", "id", True), ("Tokens pro User", "tokens", False), ("Tokens/user/day", "", False), ("Notes", "", False),
    ]  # fmt: skip


def test_columns_are_mapped_by_header_or_letter_and_left_out() -> None:
    found = imported(b"ID,,X,Users\na,Tom,7,9\n", {"B": "owner", "X": "sessions", "Users": "-"})
    assert workloads(found) == {"a": {"owner": "Tom", "estimate": {"sessions": "7"}}}
    assert field_of("Ops hours/week") == "ops"
    with pytest.raises(ValueError, match="did you mean 'tokens'"):
        field_of("token")


def test_a_column_that_is_there_twice_is_refused() -> None:
    assert "C1" in faults(b"ID,Users,Nutzer\na,1,2\n")


def test_users_by_tier() -> None:
    text = b"ID,Users (free),Users (pro),Weight (pro)\na,10,5,3\nb,10,,\nc,,,2\n"
    assert set(faults(text)) == {"C4"}
    assert workloads(imported(text.replace(b"c,,,2\n", b""))) == {
        "a": {"users": {"free": "10", "pro": {"users": "5", "weight": "3"}}},
        "b": {"users": {"free": "10"}},
    }


def test_a_workbook_as_people_make_them() -> None:
    made = book(
        ["Planning 2026"],
        [],
        ["Workload", "Owner", "Users", "Sessions", "Cached", "Ships", "Tokens", "Session length (min)"],
        ["Chat", "Sarah", 4200, 0.1 + 0.2, 0.6, date(2026, 4, 1), "1,400,000", 12],
        ["Search", None, "1,100,000", 18.5, 0.125, "Q3 2026", 520000, 2.5],
        ["Drafts", "Aisha", None, None, None, None, None, None],
        ["Total", None, 5300, None, None, None, None, None],
    )
    sheet = made.worksheets[0]
    sheet.merge_cells("A1:H1")
    sheet.merge_cells("B4:B5")
    for cell in ("E4", "E5"):
        sheet[cell].number_format = "0.0%"
    found = imported(packed(made), name="team.xlsx")
    assert workloads(found) == {
        "chat": {
            "name": "Chat", "owner": "Sarah", "users": "4200", "ships": "Q2-2026",
            "estimate": {"sessions": "0.3", "cached": "60%", "tokens": "1400000", "session": "12m"},
        },
        "search": {
            "name": "Search", "owner": "Sarah", "users": "1100000", "ships": "Q3-2026",
            "estimate": {"sessions": "18.5", "cached": "12.5%", "tokens": "520000", "session": "2.5m"},
        },
        "drafts": {"name": "Drafts", "owner": "Aisha"},
    }  # fmt: skip


def test_formulas_errors_and_money_are_refused_by_cell() -> None:
    made = book(["ID", "Users", "Sessions", "Tokens", "Turns"], ["a", "=1+1", "#REF!", 5, date(2026, 4, 3)])
    made.worksheets[0]["C2"].data_type = "e"
    made.worksheets[0]["D2"].number_format = "#,##0.00 €"
    found = faults(packed(made), name="team.xlsx")
    assert set(found) == {"B2", "C2", "D2", "E2"}
    assert "team.xlsx, sheet Plan, cell B2: the file does not keep what the formula here came to" in found["B2"]
    assert "amount of money" in found["D2"]
    assert "spreadsheets make dates" in found["E2"]


def test_which_sheet_is_said_where_there_are_several() -> None:
    made = book(["ID", "Users"], ["a", 1])
    other = made.create_sheet("Next year")
    other.append(["ID", "Users"])
    other.append(["b", 2])
    with pytest.raises(SheetError, match="several sheets may be the table: Plan, Next year"):
        imported(packed(made), name="team.xlsx")
    assert list(workloads(imported(packed(made), name="team.xlsx", sheet="Next year"))) == ["b"]
    with pytest.raises(SheetError, match="there is no sheet 'Last'"):
        imported(packed(made), name="team.xlsx", sheet="Last")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.xlsx", b"PK not a zip"), ("a.csv", b'ID,Users\n"a,1\n'), ("a.csv", b"nothing,known\n1,2\n"), ("a.csv", b""),
        ("a.csv", b"ID,Users\n"), ("a.xls", b""), ("a.csv", b"\0\0\0"), ("a.csv", b"Users\n5\n"),
    ],
)  # fmt: skip
def test_what_is_no_sheet_is_refused_in_words(name: str, data: bytes) -> None:
    with pytest.raises(SheetError) as caught:
        imported(data, name=name)
    assert all(each.what and (each.expected or each.remedy) for each in caught.value.faults)


def test_rows_match_workloads_of_the_plan_by_id_and_by_name() -> None:
    known = Known(workloads={"w-01": "W-01", "support chat": "W-01"})
    assert list(workloads(imported(b"Workload,Users\nSupport Chat,5\n", known=known))) == ["W-01"]
    assert list(workloads(imported(b"ID,Users\nw-01,5\n", known=known))) == ["W-01"]


def test_a_workload_that_stands_there_twice_is_refused() -> None:
    assert "stands in A2 already" in faults(b"ID,Users\na,5\na,6\n")["A3"]
