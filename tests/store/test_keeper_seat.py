"""Is there one keeper at a time, by the database's clock, and can a sleeping one be replaced?"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from tests.conformance.ledger import NOW, record
from tests.postgres import Server
from tests.store.postgres_place import PostgresPlace

from upshift.model.entry import Note
from upshift.model.ids import RequestId
from upshift.store.backend import FencedError, StoreTroubleError
from upshift.store.keeper_seat import give_up, renew, take, who
from upshift.store.postgres import WRITER, Connection
from upshift.store.postgres_groups import PostgresGroups

LIMIT = 60.0


@pytest.fixture
def place(postgres: Server) -> Iterator[PostgresPlace]:
    place = PostgresPlace(postgres)
    yield place
    place.leave()


def test_one_at_a_time(place: PostgresPlace) -> None:
    assert who(place.url) is None
    first = take(place.url, "a:1", "s1", 600.0)
    assert first is not None
    assert take(place.url, "b:1", "s2", 600.0) is None
    found = who(place.url)
    assert found is not None
    assert (found.epoch, found.address, found.secret, found.seconds) == (1, "a:1", "s1", 600.0)
    assert renew(first)
    give_up(first)
    assert who(place.url) is None
    assert not renew(first)
    second = take(place.url, "b:1", "s2", 600.0)
    assert second is not None
    assert second.epoch == 2
    give_up(first)
    assert not renew(first)
    assert renew(second)


def test_time_runs_out(place: PostgresPlace) -> None:
    first = take(place.url, "a:1", "s1", 600.0)
    assert first is not None
    place.do("UPDATE keeper SET renewed = renewed - 601000000")
    assert who(place.url) is None
    assert not renew(first)
    assert take(place.url, "b:1", "s2", 600.0) is not None


def test_neither_secret_nor_password_is_shown(place: PostgresPlace) -> None:
    seat = take(place.url.replace("postgres@", "postgres:hidden@"), "a:1", "whisper", 600.0)
    assert "hidden" not in repr(seat)
    assert "whisper" not in repr(seat)


def test_a_keeper_asleep_in_a_commit_is_undone(place: PostgresPlace) -> None:
    """Its session holds the seat's row, as between two statements of a group."""
    seat = take(place.url, "a:1", "s1", 0.5)
    assert seat is not None
    groups = PostgresGroups(place.url, seat.epoch)
    asleep = Connection.open(place.url, name=WRITER)
    asleep.execute("BEGIN")
    asleep.execute('SELECT epoch FROM keeper WHERE "only" = 1 FOR SHARE')
    while (successor := take(place.url, "b:1", "s2", 600.0)) is None:
        pass
    assert successor.epoch == 2
    asleep.close()
    with pytest.raises((FencedError, StoreTroubleError)):
        groups.write([Note(RequestId("r1"), NOW, record("r1"))])
    groups.reconnect()
    with pytest.raises(FencedError):
        groups.write([Note(RequestId("r1"), NOW, record("r1"))])
    groups.close()


def test_nothing_of_the_old_keeper_comes_after_the_new_one_has_the_seat(place: PostgresPlace) -> None:
    first = take(place.url, "a:1", "s1", 600.0)
    assert first is not None
    groups = PostgresGroups(place.url, first.epoch)
    begun, numbers = threading.Event(), count()

    def write_one() -> None:
        name = f"r{next(numbers)}"
        groups.write([Note(RequestId(name), NOW, record(name))])

    def write_on() -> None:
        while True:
            write_one()
            begun.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_on)
        assert begun.wait(LIMIT)
        place.do("UPDATE keeper SET renewed = renewed - 601000000")
        while take(place.url, "b:1", "s2", 600.0) is None:
            pass
        before = place.rows("SELECT count(*) FROM groups")
        # The second is for one that slept for so long in the middle of a group that it was cut off.
        with pytest.raises((FencedError, StoreTroubleError)):
            writing.result(timeout=LIMIT)
    groups.reconnect()
    with pytest.raises(FencedError):
        write_one()
    assert before[0][0] > 0
    assert place.rows("SELECT count(*) FROM groups") == before
    groups.close()
