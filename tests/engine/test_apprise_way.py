"""Do notices reach what Apprise knows, over real HTTP and SMTP, each at most once, also after a crash?"""

import asyncio
from collections.abc import Iterator
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
from tests.engine.test_notify import Mailbox, bound, mail_server

from upshift.admin_app import notice_ways
from upshift.engine.apprise_way import AppriseWay
from upshift.engine.notices import Teller
from upshift.evidence.pattern import HOUR
from upshift.plan_file.books import read_book
from upshift.playbook.notices import notices
from upshift.playbook.run import Asked, Entered, Extended, Finished, Record, Started
from upshift.settings import Settings
from upshift.store.sqlite_journal import SqliteJournal

pytest.importorskip("apprise")
pytestmark = pytest.mark.filterwarnings("ignore:.imghdr. is deprecated:DeprecationWarning")
BOOK = read_book("playbook: small\nphases: {one: {exit: [{sign-off: engineering}]}}")
AT = 480_000 * HOUR
RECORDS: list[Record] = [
    Started(run="r", at=AT, by="mia", book=BOOK, hash=BOOK.hash, inputs={}),
    Entered(run="r", at=AT, step=1, phase="one"),
    Extended(run="r", at=AT + 1, step=1, by=HOUR, why=("latency <b>undecided</b>: 4.4 s & more",)),
    Asked(
        run="r", at=AT + 2, step=1, key="k", why=("signed-by-engineering: to be signed off",), roles=("engineering",)
    ),
    Finished(run="r", at=AT + 3, step=2),
]
TITLES = [
    "r: phase one begins",
    "r: the window is extended by 1 h",
    "r: a person is needed (engineering)",
    "r: is finished",
]


class Chat:
    """An HTTP server that keeps what Apprise posts to it, and answers with a status."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                chat.got.append(msgspec.json.decode(body))
                self.send_response(chat.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server.server_port}/hook?cto=30&rto=30"


@pytest.fixture
def chat() -> Iterator[Chat]:
    made = Chat()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    made = SqliteJournal(tmp_path / "upshift.db")
    yield made
    made.close()


def test_every_notice_arrives_once_also_after_a_restart(journal: SqliteJournal, chat: Chat) -> None:
    settings = Settings(apprise_urls=f"{chat.url} {chat.url}&format=text  {chat.url}")
    ways = notice_ways(settings)
    assert len({way.name for way in ways}) == 2, "each URL once"
    for _ in range(3):
        assert Teller(journal, notice_ways(settings)).tell(RECORDS, AT + HOUR)
    assert sorted(each["title"] for each in chat.got) == sorted([*TITLES, *TITLES])
    assert any("latency <b>undecided</b>: 4.4 s & more" in each["message"] for each in chat.got)
    assert all(str(chat.server.server_port) not in way.name for way in ways)


def test_a_failure_is_not_tried_again_and_keeps_no_other(journal: SqliteJournal, chat: Chat) -> None:
    chat.status = 500
    with bound() as nobody:
        away = f"json://127.0.0.1:{nobody.getsockname()[1]}/?cto=30&rto=30"
        assert Teller(journal, [AppriseWay(chat.url), AppriseWay(away)]).tell(RECORDS, AT)
    chat.status = 200
    assert Teller(journal, [AppriseWay(chat.url)]).tell(RECORDS, AT + 100 * HOUR)
    assert [each["title"] for each in chat.got] == TITLES


def test_a_claim_of_one_that_died_is_never_sent_again(journal: SqliteJournal, chat: Chat) -> None:
    way, first = AppriseWay(chat.url), notices(RECORDS)[0]
    assert journal.claim_delivery(first.id, way.name, AT)
    assert Teller(journal, [way]).tell(RECORDS, AT + 100 * HOUR)
    assert [each["title"] for each in chat.got] == TITLES[1:]


async def test_mail_by_apprise_arrives_once(journal: SqliteJournal) -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        url = f"mailto://127.0.0.1:{port}?from=upshift@example.org&to=mia@example.org&mode=insecure&cto=30&rto=30"
        for _ in range(2):
            assert await asyncio.to_thread(Teller(journal, [AppriseWay(url)]).tell, RECORDS, AT)
    assert [str(message_from_string(each)["subject"]) for each in mailbox.texts()] == TITLES


@pytest.mark.parametrize("url", ["nothing", "nonsense://host/token-of-mine", "://x"])
def test_a_url_that_is_none_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(ValueError, match="Apprise makes nothing of the URL") as error:
        AppriseWay(url)
    assert "token-of-mine" not in str(error.value)
