"""Is a mean over clients noticed, and joined with weights where the clients' own rows are there?"""

import csv
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest
from tests.sheets.test_foreign import faults, imported, workloads

from upshift.sheets.averages import told
from upshift.sheets.figures import means
from upshift.sheets.tree import at

SERVEGEN = Path(__file__).parent / "data" / "servegen_clients.csv"
CLIENT = {"Kunde": "client"}


def clients() -> dict[str, list[tuple[Decimal, Decimal]]]:
    found = defaultdict(list)
    with SERVEGEN.open() as file:
        for row in csv.DictReader(file):
            found[row["model"]].append((Decimal(row["tokens per request"]), Decimal(row["requests"])))
    return found


@pytest.mark.parametrize(("model", "wrong"), [("m-mid", 3.72), ("m-small", 4.11)])
def test_means_over_real_clients_are_several_times_too_high(model: str, wrong: float) -> None:
    weighted, unweighted = means(clients()[model])
    assert float(unweighted / weighted) - 1 == pytest.approx(wrong, abs=0.01)


def test_real_clients_are_joined_with_their_weights() -> None:
    lines = ["ID,Kunde,Users,Tokens/user/month"]
    lines += [f"m-mid,{number},{weight},{value}" for number, (value, weight) in enumerate(clients()["m-mid"])]
    sheet = imported("\n".join(lines).encode(), CLIENT)
    weighted, _ = means(clients()["m-mid"])
    assert at(workloads(sheet)["m-mid"], ("estimate", "tokens")) == f"{weighted:.4f}".rstrip("0")
    (joined,) = sheet.joined
    assert joined.clients == 67
    assert "+372 %" in told(joined) or "+372%" in told(joined)


def test_figures_are_weighed_by_what_they_stand_for() -> None:
    text = b"ID,Kunde,Users,Sessions,Turns,Owner\na,x,90,10,2,Tom\na,y,10,100,4,Tom\nb,z,1,2,3,Eve\n"
    sheet = imported(text, CLIENT)
    assert workloads(sheet) == {
        "a": {"owner": "Tom", "users": "100", "estimate": {"sessions": "19", "turns": "3.0526"}},
        "b": {"owner": "Eve", "users": "1", "estimate": {"sessions": "2", "turns": "3"}},
    }  # turns: (90 x 10 x 2 + 10 x 100 x 4) / 1900 sessions
    assert {each.field: each.wrong for each in sheet.joined}["sessions"] == pytest.approx(55 / 19 - 1)


def test_clients_that_cannot_be_weighed_are_refused() -> None:
    text = b"ID,Kunde,Users,Sessions,Owner\na,x,,10,Tom\na,y,10,5..9,Eve\n"
    assert set(faults(text, CLIENT)) == {"A2", "D2", "E3"}
    assert "map the column that names them: --map 'HEADER=client'" in faults(text, {"Kunde": "-"})["A3"]


@pytest.mark.parametrize(
    "header", ["Avg tokens", "Mean tokens/user", "Ø Tokens", "Durchschnitt Tokens", "tokens (average)"]
)
def test_headers_that_say_mean_are_warned_about(header: str) -> None:
    sheet = imported(f"ID,{header}\na,5\n".encode(), {header: "tokens"})
    (warning,) = sheet.warnings
    assert f"team.csv, cell B1: {header!r} is a mean" in warning


@pytest.mark.parametrize("name", ["All other workloads", "12 workloads", "Average workload", "Sonstige"])
def test_rows_that_stand_for_several_workloads_are_warned_about(name: str) -> None:
    (warning,) = imported(f"ID,Workload\na,{name}\n".encode()).warnings
    assert "cell A2" in warning
    assert "several workloads" in warning


def test_names_that_only_sound_alike_are_not() -> None:
    assert imported(b"ID,Workload,Tokens\na,Meaning of words,5\nb,Restaurant desk,6\n").warnings == ()
