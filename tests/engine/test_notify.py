"""Is every alert sent, and no e-mail twice, whatever restarts, runs twice or is down?"""

import asyncio
import contextlib
import hashlib
import hmac
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from tests.admin.installation import NOW, Installation, alert

from upshift.app import channels
from upshift.engine.notify import Channel, Mail, Notifier, Webhook
from upshift.settings import Settings
from upshift.store.journal import DeliveryState

SECRET = "shh"


class Mailbox:
    """A mail server's memory; `refuses` is what it says instead of taking a message."""

    def __init__(self) -> None:
        self.messages: list[Envelope] = []
        self.refuses = ""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.refuses:
            return self.refuses
        self.messages.append(envelope)
        return "250 taken"

    def texts(self) -> list[str]:
        contents = [each.content for each in self.messages]
        return [each.decode() if isinstance(each, bytes) else str(each) for each in contents]


@contextlib.asynccontextmanager
async def mail_server(mailbox: Mailbox, sock: socket.socket | None = None) -> AsyncIterator[int]:
    loop, sock = asyncio.get_running_loop(), sock or bound()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop), sock=sock)
    try:
        yield int(sock.getsockname()[1])
    finally:
        server.close()


def bound() -> socket.socket:
    """A port that nobody else gets, and where nobody listens yet."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


def mail(port: int) -> Mail:
    return Mail(f"smtp+plain://127.0.0.1:{port}", "upshift@example.com")


def notifier(installation: Installation, *ways: Channel) -> Notifier:
    desk = installation.desk
    return Notifier(desk.journal, desk.snapshot, list(ways), desk.now)


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    made = Installation(tmp_path / "upshift.db")
    made.apply()
    await made.spend(alerts=[alert(70), alert(90), alert(100)])
    yield made
    made.desk.journal.close()


async def test_exactly_one_mail_at_ninety_per_cent(installation: Installation) -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        one = notifier(installation, mail(port))
        assert await asyncio.to_thread(one.tick) == 1
        assert await asyncio.to_thread(one.tick) == 0
        # A gateway that raises it again, and a notifier that starts anew.
        await installation.spend(alerts=[alert(90)])
        again = Installation(installation.db, installation.clock)
        assert await asyncio.to_thread(notifier(again, mail(port)).tick) == 0
        again.desk.journal.close()
    (text,) = mailbox.texts()
    assert mailbox.messages[0].rcpt_tos == ["ada@acme.example"]
    assert "Subject: chat: alice has used 90 % of the month budget" in text
    assert "90k tokens of 100k tokens (90 %)" in text
    assert "soft-cap, then pay-as-you-go" in text


async def test_two_notifiers_at_once_send_one_mail(installation: Installation) -> None:
    mailbox = Mailbox()
    others = [Installation(installation.db, installation.clock) for _ in range(4)]
    async with mail_server(mailbox) as port:
        sent = await asyncio.gather(
            *(asyncio.to_thread(notifier(each, mail(port)).tick) for each in (installation, *others))
        )
    for each in others:
        each.desk.journal.close()
    assert sorted(sent) == [0, 0, 0, 0, 1]
    assert len(mailbox.messages) == 1


async def test_a_server_that_was_down_gets_it_once_it_is_up(installation: Installation) -> None:
    mailbox, sock = Mailbox(), bound()
    one = notifier(installation, mail(sock.getsockname()[1]))
    assert await asyncio.to_thread(one.tick) == 0
    state = next(each for each in installation.desk.journal.alerts() if each.alert.threshold == 90).deliveries[0]
    assert (state.state, state.attempts) == (DeliveryState.FAILED, 1)
    assert "refused" in state.why.lower()
    async with mail_server(mailbox, sock):
        assert await asyncio.to_thread(one.tick) == 0, "too early for another try"
        installation.clock.advance(6)
        assert await asyncio.to_thread(one.tick) == 1
        installation.clock.advance(3600)
        assert await asyncio.to_thread(one.tick) == 0
    assert len(mailbox.messages) == 1


async def test_a_server_that_refuses_is_tried_less_and_less(installation: Installation) -> None:
    mailbox = Mailbox()
    mailbox.refuses = "451 later"
    async with mail_server(mailbox) as port:
        one = notifier(installation, mail(port))
        tries = []
        for second in range(0, 120, 5):
            installation.clock.set(NOW + second * 1_000_000)
            await asyncio.to_thread(one.tick)
            (made,) = next(each.deliveries for each in installation.desk.journal.alerts() if each.alert.threshold == 90)
            tries.append(made.attempts)
    assert tries[-1] < 7
    assert tries == sorted(tries)


async def test_a_claim_that_a_crash_left_open_is_never_sent_again(installation: Installation) -> None:
    mailbox = Mailbox()
    assert installation.desk.journal.claim_delivery(alert(90).id, "e-mail", NOW)
    async with mail_server(mailbox) as port:
        for hours in (0, 1, 24):
            installation.clock.set(NOW + hours * 3_600_000_000)
            assert await asyncio.to_thread(notifier(installation, mail(port)).tick) == 0
    assert mailbox.messages == []


async def test_what_is_raised_later_is_sent_later(installation: Installation) -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        one = notifier(installation, mail(port))
        await asyncio.to_thread(one.tick)
        await installation.spend(alerts=[alert(90, user="frank", tenant="globex")])
        assert await asyncio.to_thread(one.tick) == 1
    assert [each.rcpt_tos for each in mailbox.messages] == [["ada@acme.example"], ["gus@globex.example"]]


class Hook(BaseHTTPRequestHandler):
    """Keeps what it is sent, and answers what the server's `statuses` say next."""

    server: "HookServer"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.append((dict(self.headers), body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


class HookServer(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []


@pytest.fixture
def hook() -> Iterator[HookServer]:
    server = HookServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_webhook_gets_every_alert_signed(installation: Installation, hook: HookServer) -> None:
    hook.statuses = [503]
    one = notifier(installation, Webhook(f"http://127.0.0.1:{hook.server_port}/", SECRET))
    assert await asyncio.to_thread(one.tick) == 2
    installation.clock.advance(60)
    assert await asyncio.to_thread(one.tick) == 1
    assert await asyncio.to_thread(one.tick) == 0
    events = [msgspec.json.decode(body) for _, body in hook.taken]
    assert sorted(each["data"]["threshold"] for each in events) == [70, 70, 90, 100]
    assert len({each["id"] for each in events}) == 3
    for headers, body in hook.taken:
        lower = {name.lower(): value for name, value in headers.items()}
        assert lower["content-type"] == "application/cloudevents+json"
        assert lower["x-upshift-signature"] == hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert events[0]["specversion"] == "1.0"
    assert events[0]["data"]["user"] == "alice"


def test_channels_follow_the_settings() -> None:
    assert channels(Settings()) == []
    ways = channels(Settings(smtp_url="smtps://mail.example.com", webhook_url="https://example.com/hook"))
    assert [each.name for each in ways] == ["e-mail", "webhook"]
    for bad in (Settings(smtp_url="mail.example.com"), Settings(webhook_url="file:///etc/passwd")):
        with pytest.raises(ValueError, match="URL is not one"):
            channels(bad)
