"""Does the command on capacity size from a file and from the ledger, and say what is missing?"""

from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Shell

from upshift.model.ids import PlanHash, RequestId
from upshift.model.metered import Metered, Outcome
from upshift.model.span import MICROS
from upshift.store.sqlite_ledger import SqliteLedger

BEGAN = 1_700_000_000 * MICROS


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    random = np.random.default_rng(2)
    calls = np.stack([random.uniform(0, 1800, 900), random.exponential(3, 900)], axis=1)
    rows = [f"{start:.3f},{held:.3f}" for start, held in calls]
    file = tmp_path / "calls.csv"
    file.write_text("time,seconds\n" + "\n".join(rows) + "\n")
    return file


def test_a_sheet_as_text_as_json_and_as_a_picture(shell: Shell, sheet: Path, tmp_path: Path) -> None:
    picture = tmp_path / "calls.svg"
    shown = shell.ok("capacity", str(sheet), "--svg", str(picture)).out
    found = shell.json("capacity", str(sheet))
    assert f"{found['places']} places carry the worst minute" in shown
    assert "by Little's law: no size for a peak" in shown
    assert picture.read_text().startswith("<svg")
    assert found["calls"] == 900
    assert found["sized"]["average"] < found["sized"]["observed"] <= found["low"] <= found["high"] <= found["places"]
    assert found["worst"][0]["open"] == found["sized"]["observed"]
    assert shell.json("capacity", str(sheet), "--headroom", "100%")["places"] == 2 * found["sized"]["peak"]
    assert shell.json("capacity", str(sheet), "--days", "30")["sized"]["peak"] > found["sized"]["peak"]


async def test_the_ledger(shell: Shell) -> None:
    ledger = await SqliteLedger.open(shell.db, BEGAN)
    for at in range(700):
        outcome = Outcome.REFUSED if at % 7 == 0 else Outcome.SERVED
        started = BEGAN + at * 2 * MICROS
        record = Metered(
            request=RequestId(f"up_{at}"),
            started=started,
            plan=PlanHash("f" * 64),
            workload="chat" if at % 2 else "review",
            outcome=outcome,
            latency_us=5 * MICROS,
        )
        ledger.note(record, started + 5 * MICROS)
    await ledger.close()
    found = shell.json("capacity")
    assert found["calls"] == 600
    assert found["sized"]["observed"] == 3
    assert shell.json("capacity", "--where", "workload=chat")["calls"] == 300
    assert shell.json("capacity", "--calls", "650")["calls"] == 558


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        ("time,seconds\n1,2\n2,x\n", (), "calls.csv: line 3: 'x' is no number of seconds"),
        ("time,seconds\n1,2\n2,3\n", (), "too short to judge peaks by"),
        ("time,seconds\n1,2\n", ("--where", "workload=chat"), "leave --where out"),
        ("time,seconds\n1,2\n", ("--headroom", "35"), "write it like 30% or 0.3"),
    ],
)
def test_what_cannot_be_sized_says_why(
    shell: Shell, tmp_path: Path, text: str, words: tuple[str, ...], says: str
) -> None:
    file = tmp_path / "calls.csv"
    file.write_text(text)
    ran = shell.run("capacity", str(file), *words)
    assert ran.code != 0
    assert says in ran.err
