"""Is a group written whole or not at all, and what calls have in common only once?"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.conformance.ledger import ALICE, NOW, PLAN, record, tokens

from upshift.model.entry import Entry, Hold, Note, Settle
from upshift.model.ids import PlanHash, RequestId
from upshift.store.draft import ConflictError
from upshift.store.group import GroupWriter
from upshift.store.journal import Dimension
from upshift.store.recovery import recover
from upshift.store.schema import prepare
from upshift.store.sqlite_journal import SqliteJournal
from upshift.store.verify import verify

R1, R2 = RequestId("r1"), RequestId("r2")
HOLD = Hold(R1, NOW, PLAN, (ALICE,), tokens(5))


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "ledger.db"
    prepare(path)
    yield path
    found = verify(path)
    assert found.ok, found.problems


@pytest.fixture
def groups(path: Path) -> Iterator[GroupWriter]:
    groups = GroupWriter(path)
    yield groups
    groups.close()


def count(groups: GroupWriter, table: str) -> int:
    return int(groups.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_a_request_that_was_closed_is_not_held_again(groups: GroupWriter) -> None:
    settle = Settle(R1, NOW, (ALICE,), tokens(5), tokens(3), record("r1", tokens(3)))
    again: list[Entry] = [HOLD, settle, HOLD]
    with pytest.raises(ConflictError):
        groups.write(again)
    assert groups.refused(again) == [2]
    assert count(groups, "groups") == 0
    groups.write(again[:2])
    with pytest.raises(ConflictError):
        groups.write([HOLD])
    with pytest.raises(ConflictError):
        groups.write([Note(R1, NOW, record("r1"))])
    assert groups.refused([HOLD, settle, Note(R2, NOW, record("r2"))]) == [0, 1]


def test_a_request_that_was_closed_is_not_opened_and_closed_again(groups: GroupWriter) -> None:
    settle = Settle(R1, NOW, (ALICE,), tokens(5), tokens(3), record("r1", tokens(3)))
    groups.write([HOLD, settle])
    with pytest.raises(ConflictError):
        groups.write([HOLD, settle])
    assert groups.refused([HOLD, settle]) == [0, 1]
    assert count(groups, "calls") == count(groups, "holds") == count(groups, "groups") == 1


@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 65, 100, 300, 1000])
def test_a_group_of_any_size_is_written_whole(groups: GroupWriter, size: int) -> None:
    requests = [RequestId(f"r{number}") for number in range(size)]
    holds: list[Entry] = [Hold(each, NOW, PLAN, (ALICE,), tokens(5)) for each in requests]
    groups.write(
        [
            *holds,
            *(Settle(each, NOW, (ALICE,), tokens(5), tokens(3), record(each, tokens(3))) for each in requests),
        ]
    )
    assert [row[0] for row in groups.db.execute("SELECT request FROM calls ORDER BY seq")] == requests
    assert groups.db.execute("SELECT settled_tokens, held_tokens FROM counters").fetchall() == [(3 * size, 0)]


def test_what_was_rolled_back_is_made_again(groups: GroupWriter) -> None:
    note = Note(R2, NOW, record("r2"))
    with pytest.raises(ConflictError):
        groups.write([HOLD, note, note])
    assert count(groups, "profiles") == count(groups, "budgets") == 0
    groups.write([HOLD, note])
    assert count(groups, "profiles") == 2
    recover(groups, NOW)


def test_calls_share_what_they_have_in_common(groups: GroupWriter, path: Path) -> None:
    for number in range(10):
        groups.write([Note(RequestId(f"a{number}"), NOW, record(f"a{number}"))])
    assert count(groups, "profiles") == 1
    later = GroupWriter(path)
    later.write([Note(R1, NOW, record("r1"))])
    later.close()
    journal = SqliteJournal(path)
    (row,) = journal.usage([Dimension.USER], NOW, NOW + 1)
    journal.close()
    assert (row.group, row.calls) == (("alice",), 11)


def test_a_lost_call_has_the_plan_it_was_held_under(groups: GroupWriter, path: Path) -> None:
    opening = msgspec.structs.replace(record("r1"), plan=PlanHash("f" * 16), session="s", agent="a")
    groups.write([msgspec.structs.replace(HOLD, opening=opening)])
    assert recover(groups, NOW).requests == (R1,)
    journal = SqliteJournal(path)
    lost = journal.call(R1)
    journal.close()
    assert lost is not None
    assert (lost.record.plan, lost.record.session, lost.record.agent) == (PLAN, "s", "a")
