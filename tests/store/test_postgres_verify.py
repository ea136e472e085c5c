"""Does verification see every way in which a ledger in PostgreSQL can be wrong?"""

from collections.abc import AsyncIterator

import pytest
from tests.conformance.ledger import ALICE, ALICE_TODAY, NOW, ceiling, let_in, record, tokens
from tests.postgres import Server
from tests.store.postgres_place import PostgresPlace

from upshift.model.entry import Grant
from upshift.store.postgres_verify import verify_postgres


@pytest.fixture
async def url(postgres: Server) -> AsyncIterator[str]:
    place = PostgresPlace(postgres)
    ledger = await place.open()
    for number in range(3):
        ticket = await let_in(ledger, f"r{number}", ceiling(tokens(10), 1000, ALICE, ALICE_TODAY))
        await ledger.durable(ticket.mark)
        await ledger.extend(ticket, lambda _: tokens(2), NOW)
        await ledger.durable(ledger.settle(ticket, NOW, tokens(4), record(f"r{number}", tokens(4))))
    await let_in(ledger, "open", ceiling(tokens(10), 1000, ALICE))
    ledger.append(Grant("g1", NOW, (ALICE,), tokens(1), "mia", "more"))
    await ledger.durable(ledger.note(record("noted"), NOW))
    await ledger.close()
    yield place.url
    postgres.drop(place.name)


def test_a_sound_database(url: str) -> None:
    found = verify_postgres(url)
    assert found.problems == ()
    assert (found.ok, found.entries, found.calls, found.open_holds) == (True, 12, 4, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE calls SET counted = counted + 1 WHERE seq = 3", "not what was written"),
        ("UPDATE calls SET counted = counted + 1 WHERE seq = 3", "its entries say"),
        ("UPDATE calls SET held_tokens = 0 WHERE seq = 3", "another amount than was held"),
        ("UPDATE calls SET request = 'x' WHERE seq = 3", "x was closed without a hold"),
        ("UPDATE calls SET profile = 99 WHERE seq = 3", "no profile of a call"),
        ("UPDATE profiles SET kind = 'note' WHERE kind = 'settle'", "noted though it held"),
        ("DELETE FROM profiles WHERE id = 1", "no profile of a hold"),
        ("UPDATE deeds SET nano = nano + 1", "not what was written"),
        ('UPDATE budgets SET "user" = \'bob\'', "not what was written"),
        ("UPDATE counters SET settled_tokens = 0", "its entries say"),
        ("DELETE FROM counters WHERE budget = 1", "is missing"),
        ("DELETE FROM calls WHERE seq = 3", "not all there"),
        ("DELETE FROM deeds", "not all there"),
        ("DELETE FROM holds", "closed without a hold"),
        ("UPDATE holds SET document = '\\x91' WHERE last_seq = 1", "cannot be read"),
        ("DELETE FROM groups WHERE first_seq = 1", "ends at entry 0"),
        ("DELETE FROM groups", "holds that no group covers"),
        ("DELETE FROM calls WHERE seq = 6; UPDATE calls SET started = started + 1, request = 'r0' WHERE seq = 9", "r0 was closed more than once"),
        ("UPDATE calls SET request = 'open' WHERE seq = 3", "open held after it was closed"),
    ],
)  # fmt: skip
def test_tampering_is_seen(postgres: Server, url: str, change: str, said: str) -> None:
    name = url.rsplit("/", 1)[1]
    # Whoever owns the server can always change what is there.
    postgres.sql(name, f"SET session_replication_role = replica; {change}")
    found = verify_postgres(url)
    assert not found.ok
    assert any(said in problem.what for problem in found.problems), found.problems
