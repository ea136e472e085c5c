"""Which databases does this program prepare, use and leave alone, and what do the tables refuse?"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from tests.conformance.ledger import ALICE, NOW, PLAN, record, tokens
from tests.postgres import Server
from tests.store.postgres_place import PostgresPlace

from upshift.model.entry import Decision, Hold, Note
from upshift.model.ids import RequestId
from upshift.store.backend import StoreTroubleError
from upshift.store.migrate import prepare
from upshift.store.postgres_groups import PostgresGroups
from upshift.store.postgres_schema import VERSION
from upshift.store.postgres_verify import verify_postgres
from upshift.store.schema import StoreVersionError


@pytest.fixture
def place(postgres: Server) -> Iterator[PostgresPlace]:
    place = PostgresPlace(postgres)
    yield place
    place.leave()


def test_an_empty_database_gets_its_tables_once(postgres: Server) -> None:
    name = postgres.empty_database()
    with pytest.raises(StoreVersionError, match="migrate"):
        verify_postgres(postgres.url(name))
    assert prepare(postgres.url(name))
    assert not prepare(postgres.url(name))
    assert verify_postgres(postgres.url(name)).ok
    postgres.drop(name)


def test_two_that_prepare_at_once_do_it_once(postgres: Server) -> None:
    name = postgres.empty_database()
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(prepare, [postgres.url(name)] * 2)) == [False, True]
    postgres.drop(name)


def test_a_database_of_something_else_is_left_alone(postgres: Server) -> None:
    name = postgres.empty_database()
    postgres.sql(name, "CREATE TABLE songs (name TEXT)")
    with pytest.raises(StoreVersionError, match="something else"):
        prepare(postgres.url(name))
    postgres.drop(name)


async def test_additions_of_a_newer_program_are_no_obstacle(place: PostgresPlace) -> None:
    place.do(f"UPDATE store SET version = {VERSION + 1}")
    place.do("ALTER TABLE calls ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'")
    place.do("ALTER TABLE groups ADD COLUMN mood TEXT")
    assert not prepare(place.url)
    ledger = await place.open()
    await ledger.durable(ledger.note(record("r1"), NOW))
    await ledger.close()
    assert set(place.records()) == {"r1"}
    place.do(f"UPDATE store SET version = {VERSION}")


async def test_a_database_that_needs_a_newer_program_is_left_alone(place: PostgresPlace) -> None:
    place.do(f"UPDATE store SET version = {VERSION + 2}, compatible_from = {VERSION + 1}")
    with pytest.raises(StoreVersionError, match=f"version {VERSION + 2}"):
        prepare(place.url)
    with pytest.raises(StoreVersionError, match=f"version {VERSION + 2}"):
        await place.open()
    place.do(f"UPDATE store SET version = {VERSION}, compatible_from = 1")


def test_no_server_is_trouble_not_a_crash() -> None:
    with pytest.raises(StoreTroubleError):
        prepare("postgresql://postgres@127.0.0.1:1/none")


@pytest.mark.parametrize("verb", ["DELETE FROM {}", "UPDATE {} SET {}", "TRUNCATE {} CASCADE"])
@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("holds", "last_seq = 9"),
        ("calls", "seq = 9"),
        ("calls_2026_11", "seq = 9"),
        ("profiles", "id = 9"),
        ("deeds", "seq = 9"),
        ("budgets", "id = 9"),
        ("groups", "low = 9"),
        ("plans", "at = 9"),
        ("feedback", "at = 9"),
    ],
)
def test_what_was_appended_is_not_changed(place: PostgresPlace, verb: str, table: str, change: str) -> None:
    groups = PostgresGroups(place.url, place.seat().epoch)
    groups.write([Note(RequestId("r1"), NOW, record("r1")), Decision("d", NOW, "override", "", "", "mia", {})])
    groups.write([Hold(RequestId("r2"), NOW, PLAN, (ALICE,), tokens(5))])
    groups.close()
    place.do("INSERT INTO plans (seq, at, hash, document, name, by) VALUES (1, 1, 'h', '', 'n', 'b')")
    place.do(
        "INSERT INTO feedback (at, received, kind, id, tenant, agent, interface, workload, pod, session, request, task, "
        "source, by, document) VALUES (1, 1, 'quality', 'q', '', '', '', '', '', '', '', '', 'admin', 'b', '{}')"
    )
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        place.do(verb.format(table, change))
