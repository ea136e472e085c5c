"""Who may read the metrics while the database, which has the keys, cannot be read?"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from fastapi.testclient import TestClient
from tests.admin.installation import HOUR, OPERATOR, Installation

from upshift.admin.api import create_api
from upshift.model.key import Role
from upshift.store.verify import verify


class Scraped:
    """Whoever asks for metrics."""

    def __init__(self, installation: Installation) -> None:
        api = create_api(installation.desk, lambda: verify(installation.db), scrape=self.scrape)
        self.client = TestClient(api, raise_server_exceptions=False)

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        return b"upshift_ledger_database_away 1\n", "text/plain"

    def status(self, key: str) -> int:
        return self.client.get("/metrics", headers={"authorization": f"Bearer {key}"}).status_code


@contextmanager
def gone(installation: Installation) -> Iterator[None]:
    """The keys cannot be read meanwhile."""
    with closing(sqlite3.connect(installation.db)) as db:
        db.execute("ALTER TABLE keys RENAME TO gone")
        try:
            yield
        finally:
            db.execute("ALTER TABLE gone RENAME TO keys")


@pytest.fixture
def scraped(installation: Installation) -> Scraped:
    return Scraped(installation)


def test_who_was_let_in_goes_on_for_an_hour(installation: Installation, scraped: Scraped) -> None:
    key, other = installation.secret(Role.METRICS), installation.secret(Role.METRICS)
    assert scraped.status(key) == 200
    with gone(installation):
        assert scraped.status(key) == 200
        assert scraped.status(other) == 503
        assert scraped.status("upk_nobody") == 503
        installation.clock.set(installation.clock.now() + HOUR)
        assert scraped.status(key) == 503
    assert scraped.status(key) == 200


def test_a_key_that_ends_within_the_hour_opens_nothing_after_its_end(
    installation: Installation, scraped: Scraped
) -> None:
    ends = installation.clock.now() + HOUR // 2
    key = installation.desk.issue(OPERATOR, role=Role.METRICS, name="short", expires=ends).secret
    assert scraped.status(key) == 200
    with gone(installation):
        installation.clock.set(ends - 1)
        assert scraped.status(key) == 200
        installation.clock.set(ends)
        assert scraped.status(key) == 503
    assert scraped.status(key) == 401


def test_who_was_turned_away_is_not_remembered(installation: Installation, scraped: Scraped) -> None:
    key, viewer = installation.secret(Role.METRICS), installation.secret(Role.VIEWER)
    assert (scraped.status(key), scraped.status(viewer)) == (200, 403)
    journal = installation.desk.journal
    known = journal.keys()
    id_ = next(each.id for each in known if each.role is Role.METRICS)
    journal.revoke_key(id_, installation.clock.now(), "somebody")
    assert scraped.status(key) == 401
    with gone(installation):
        assert (scraped.status(key), scraped.status(viewer)) == (503, 503)
