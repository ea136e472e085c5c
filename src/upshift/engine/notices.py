"""Has everybody been told what happens in a run, once?"""

from collections.abc import Sequence
from email.message import EmailMessage
from hashlib import sha256
from typing import Protocol

import msgspec
import structlog

from upshift.engine.letters import Event
from upshift.engine.notify import Mail, UndeliveredError, Webhook
from upshift.model.span import MICROS, Instant, show_instant, to_datetime
from upshift.playbook.notices import Notice, notices
from upshift.playbook.run import Record, Started
from upshift.store.journal import Journal

log = structlog.get_logger()

_AGAIN_SECONDS = 120.0
_RETRY_SECONDS = 30.0
_NEVER = 100 * 366 * 86_400.0


class Way(Protocol):
    """A way out for notices. `again`: a receiver drops a second copy by its id, so that what may have arrived is sent
    again; without it, it never is. `send` raises UndeliveredError only where nothing can have arrived, or for `again`.
    """

    name: str
    again: bool

    def wants(self, notice: Notice, tell: Sequence[str]) -> bool: ...

    def send(self, notice: Notice, tell: Sequence[str]) -> None: ...


class MailWay:
    """E-mail to whom the run was started to tell; what is urgent only."""

    name = "e-mail"
    again = False

    def __init__(self, mail: Mail, sender: str) -> None:
        self._mail = mail
        self._sender = sender

    def wants(self, notice: Notice, tell: Sequence[str]) -> bool:
        return notice.urgent and bool(tell)

    def send(self, notice: Notice, tell: Sequence[str]) -> None:
        message = EmailMessage()
        message["Subject"] = notice.title
        message["From"] = self._sender
        message["To"] = ", ".join(tell)
        message["Message-ID"] = f"<{sha256(notice.id.encode()).hexdigest()[:32]}@upshift>"
        message["Date"] = to_datetime(notice.at)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(
            f"{notice.title}\n\n{notice.text}\n\nLook at it with: upshift playbook explain {notice.run}\n"
        )
        self._mail.send(message)


class WebhookWay:
    """Every notice as a CloudEvent; the receiver drops a second one by its id."""

    name = "webhook"
    again = True

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook

    def wants(self, notice: Notice, tell: Sequence[str]) -> bool:
        return True

    def send(self, notice: Notice, tell: Sequence[str]) -> None:
        event = Event(
            id=notice.id,
            source="/upshift/playbooks",
            type="io.upshift.playbook.notice",
            time=show_instant(notice.at),
            subject=notice.run,
            data={"title": notice.title, "text": notice.text, "urgent": int(notice.urgent)},
        )
        self._webhook.post(msgspec.json.encode(event))


class Teller:
    """Sends the notices of runs. A delivery is claimed before it is tried, by one replica, and done once."""

    def __init__(self, journal: Journal, ways: Sequence[Way]) -> None:
        self._journal = journal
        self._ways = tuple(ways)
        self._settled: set[tuple[str, str]] = set()
        """What needs no look any more."""
        self._refused: dict[tuple[str, str], Instant] = {}
        """Since when a delivery is not to be had: after as long as a claim lasts, it is known to be done."""
        self._later: dict[tuple[str, str], Instant] = {}

    def tell(self, records: Sequence[Record], now: Instant) -> bool:
        """Send what has not been sent; True when nothing is left to send."""
        tell = next((one.tell for one in records if isinstance(one, Started)), ())
        left = False
        for notice in notices(records) if self._ways else ():
            for way in self._ways:
                key = (notice.id, way.name)
                if key in self._settled or not way.wants(notice, tell):
                    continue
                if self._send(notice, way, tell, now):
                    self._settled.add(key)
                else:
                    left = True
        return not left

    def _send(self, notice: Notice, way: Way, tell: Sequence[str], now: Instant) -> bool:
        stale = _AGAIN_SECONDS if way.again else _NEVER
        key = (notice.id, way.name)
        if now < self._later.get(key, now):
            return False
        if not self._journal.claim_delivery(notice.id, way.name, now, stale_seconds=stale):
            since = self._refused.setdefault(key, now)
            return not way.again or now - since > _AGAIN_SECONDS * MICROS
        try:
            way.send(notice, tell)
        except UndeliveredError as error:
            self._journal.delivery_failed(notice.id, way.name, now, str(error))
            self._later[key] = now + int(_RETRY_SECONDS * MICROS)
            log.warning("notice.undelivered", notice=notice.id, channel=way.name, problem=str(error))
            return False
        except OSError as error:
            log.error("notice.uncertain", notice=notice.id, channel=way.name, problem=str(error))
            return not way.again
        self._journal.delivery_done(notice.id, way.name, now)
        return True
