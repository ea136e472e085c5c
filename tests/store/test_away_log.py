"""Does the log of times without the database keep whole what it acknowledged, wherever a crash cuts it off?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conformance.ledger import ALICE, NOW, PLAN, record, tokens

from upshift.model.entry import Decision, Entry, Hold, Note, Settle
from upshift.model.ids import RequestId
from upshift.store.away_log import AwayLog, Sat
from upshift.store.backend import StoreTroubleError
from upshift.store.lock import LedgerInUseError

R1 = RequestId("r1")
ENTRIES: tuple[Entry, ...] = (
    Hold(R1, NOW, PLAN, (ALICE,), tokens(5), record("r1")),
    Settle(R1, NOW, (ALICE,), tokens(5), tokens(3), record("r1", tokens(3))),
    Decision("d1", NOW, "recovery", "", "", "system", {"calls": 1, "why": None}),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upshift.away"


def read(path: Path) -> list[Entry]:
    log = AwayLog(path)
    log.close()
    return log.entries


def test_what_was_appended_is_there_again(path: Path) -> None:
    log = AwayLog(path)
    log.sit(Sat(7, "secret"))
    log.append(ENTRIES[:1])
    log.append(ENTRIES[1:])
    log.close()
    again = AwayLog(path)
    assert (tuple(again.entries), again.seats, again.torn) == (ENTRIES, [Sat(7, "secret")], 0)
    again.sit(Sat(8, "other"))
    again.clear()
    again.close()
    last = AwayLog(path)
    assert (last.entries, last.seats) == ([], [Sat(8, "other")])
    last.close()


def test_a_log_cut_off_at_any_byte_keeps_every_whole_record(path: Path, tmp_path: Path) -> None:
    log = AwayLog(path)
    ends = [0, path.stat().st_size]
    for entry in ENTRIES:
        log.append([entry])
        ends.append(path.stat().st_size)
    log.close()
    whole = path.read_bytes()
    torn = tmp_path / "torn"
    for size in range(len(whole) + 1):
        torn.write_bytes(whole[:size])
        cut = AwayLog(torn)
        kept = sum(size >= end for end in ends[2:])
        assert tuple(cut.entries) == ENTRIES[:kept]
        assert (cut.torn > 0) == (size not in ends)
        # And it goes on from there.
        cut.append([Note(R1, NOW, record("r1"))])
        cut.close()
        assert tuple(read(torn)) == (*ENTRIES[:kept], Note(R1, NOW, record("r1")))


def test_what_is_put_aside_is_kept(path: Path) -> None:
    log = AwayLog(path)
    log.append(ENTRIES[:1])
    log.append(ENTRIES[1:])
    log.close()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    again = AwayLog(path)
    again.close()
    assert tuple(again.entries) == ENTRIES[:1]
    aside = path.with_name(f"{path.name}.torn").read_bytes()
    assert again.torn == len(aside)
    assert bytes(content) == path.read_bytes() + aside


def test_one_process_at_a_time(path: Path) -> None:
    log = AwayLog(path)
    with pytest.raises(LedgerInUseError, match=str(os.getpid())):
        AwayLog(path)
    log.close()
    AwayLog(path).close()


def test_a_file_of_somebody_else_is_left_alone(path: Path) -> None:
    path.write_bytes(b"dear diary\n")
    with pytest.raises(StoreTroubleError, match="name another file"):
        AwayLog(path)
    assert path.read_bytes() == b"dear diary\n"
    with pytest.raises(StoreTroubleError, match="name another file"):
        # Neither is it locked any more.
        AwayLog(path)


def test_text_that_no_store_takes_does_not_stop_it(path: Path) -> None:
    log = AwayLog(path)
    log.append([Note(RequestId("\ud800"), NOW, record("r1"))])
    log.close()
    (note,) = read(path)
    assert isinstance(note, Note)
    assert note.request == "?"


FULL = """
import resource, sys
from pathlib import Path
from tests.store.test_away_log import ENTRIES
from upshift.store.away_log import AwayLog
from upshift.store.backend import StoreTroubleError
import signal

path = Path(sys.argv[1])
log = AwayLog(path)
log.append(ENTRIES[:1])
size = path.stat().st_size
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
try:
    log.append(ENTRIES[1:])
except StoreTroubleError as error:
    print("refused:", error)
assert path.stat().st_size == size
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.append(ENTRIES[1:])
"""


def test_a_disk_without_room_leaves_it_as_it_was(path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], cwd=root, env={**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "refused:" in done.stdout
    assert tuple(read(path)) == ENTRIES
