"""Has every alert been sent, once? Looks at the ledger again and again, so that a restart changes nothing."""

import asyncio
import hashlib
import hmac
import http.client
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import EmailMessage
from typing import Protocol, assert_never
from urllib.parse import unquote, urlsplit

import msgspec
import structlog

from upshift.engine import letters
from upshift.model.entry import Alert
from upshift.model.ids import TenantId, WorkloadId
from upshift.model.span import MICROS, Instant
from upshift.store.backend import StoreTroubleError
from upshift.store.journal import Delivery, DeliveryState, Journal, Raised
from upshift.traffic.snapshot import Snapshot

log = structlog.get_logger()

E_MAIL_AT = 90
"""The one threshold that is worth an e-mail; 70 is a notice in the product, 100 an event."""


_LOOK_BACK = 10_000
"""So many alerts are looked at; older ones that were never delivered are history."""
_NEVER = 100 * 366 * 86_400.0
"""Seconds after which a claim without an outcome is free again: a second e-mail is worse than a missing one."""
_FIRST_RETRY, _LAST_RETRY = 5.0, 300.0
_UNDER_WAY = 120.0
"""Seconds that one delivery takes at most."""


class UndeliveredError(Exception):
    """Certainly not delivered: may be tried again."""


class Channel(Protocol):
    """A way out. `deliver` raises UndeliveredError only where nothing can have arrived."""

    name: str

    def wants(self, alert: Alert) -> bool: ...

    def deliver(self, alert: Alert, snapshot: Snapshot) -> None: ...


class Mail:
    """E-mail to the account owner by SMTP."""

    name = "e-mail"

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps", "smtp+plain") or not parts.hostname:
            raise ValueError("the SMTP URL is not one: expected smtp://, smtps:// or smtp+plain:// with a host")
        self._scheme = parts.scheme
        self._host = parts.hostname
        self._port = parts.port or {"smtp": 587, "smtps": 465, "smtp+plain": 25}[parts.scheme]
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        self._sender = sender

    def wants(self, alert: Alert) -> bool:
        return alert.threshold == E_MAIL_AT

    def deliver(self, alert: Alert, snapshot: Snapshot) -> None:
        tenant = snapshot.tenants.get(TenantId(alert.key.tenant))
        if tenant is None or not tenant.owner:
            raise UndeliveredError(f"tenant {alert.key.tenant} has no owner in the plan in force")
        workload = snapshot.workloads.get(WorkloadId(alert.key.workload))
        then = ", then ".join(workload.gate.ladder) if workload is not None else "not served any more"
        self.send(letters.letter(alert, self._sender, tenant.owner, tenant.zone, then))

    def send(self, message: EmailMessage) -> None:
        """Hand one message to the server. Once the server may have taken it, no error asks for another try."""
        try:
            client = self._connect()
        except (OSError, smtplib.SMTPException) as error:
            raise UndeliveredError(f"{self._host}:{self._port}: {error}") from error
        try:
            client.send_message(message)
        except (
            smtplib.SMTPResponseException,
            smtplib.SMTPRecipientsRefused,
            smtplib.SMTPNotSupportedError,
        ) as error:
            raise UndeliveredError(f"{self._host}:{self._port}: {error}") from error
        finally:
            # Not quit(): what the server says to that must not undo that it has taken the message.
            client.close()

    def _connect(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self._scheme == "smtps":
            client: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=20, context=context)
        else:
            client = smtplib.SMTP(self._host, self._port, timeout=20)
            if self._scheme == "smtp":
                client.starttls(context=context)
        if self._user:
            client.login(self._user, self._password)
        return client


class Webhook:
    """Every alert as a CloudEvent, signed when there is a secret."""

    name = "webhook"

    def __init__(self, url: str, secret: str) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("the webhook URL is not one: expected http:// or https://")
        self._url = url
        self._secret = secret.encode()

    def wants(self, alert: Alert) -> bool:
        return True

    def deliver(self, alert: Alert, snapshot: Snapshot) -> None:
        self.post(msgspec.json.encode(letters.event(alert)))

    def post(self, body: bytes) -> None:
        """Send one CloudEvent. UndeliveredError may be tried again: its id lets the receiver drop a second one."""
        headers = {"content-type": "application/cloudevents+json"}
        if self._secret:
            headers["x-upshift-signature"] = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        request = urllib.request.Request(self._url, data=body, headers=headers)  # noqa: S310 - scheme checked above
        try:
            with urllib.request.urlopen(request, timeout=20):  # noqa: S310
                return
        except urllib.error.HTTPError as error:
            error.close()
            raise UndeliveredError(f"status {error.code}") from error
        except (OSError, http.client.HTTPException) as error:
            # It may have arrived all the same: the event's id lets the receiver drop the second.
            raise UndeliveredError(f"{error}") from error


class Notifier:
    """Sends what has not been sent. A delivery is claimed before it is tried: at most one per alert and channel.

    A crash between claim and delivery leaves the claim open and shown as uncertain; it is not sent again, since one
    e-mail too many is worse here than one that a person can see is missing.
    """

    def __init__(
        self,
        journal: Journal,
        snapshot: Callable[[], Snapshot | None],
        channels: list[Channel],
        now: Callable[[], Instant],
    ) -> None:
        self._journal = journal
        self._snapshot = snapshot
        self._channels = channels
        self._now = now
        self._seen = 0
        self._again: Instant | None = None
        """With these two most looks cost one row: nothing was raised since, and no retry is due before."""

    def tick(self) -> int:
        """Send what is due; returns how many deliveries were made. Blocking: call it off the event loop."""
        latest, now = self._journal.alerts(limit=1), self._now()
        if not latest or (latest[0].seq == self._seen and (self._again is None or now < self._again)):
            return 0
        snapshot = self._snapshot()
        if snapshot is None:
            return 0
        sent, later = 0, set[Instant]()
        for raised in reversed(self._journal.alerts(_LOOK_BACK)):
            for channel in self._channels:
                due = _due(raised, channel.name, now) if channel.wants(raised.alert) else None
                if due is None:
                    continue
                if due <= now and self._deliver(raised.alert, channel, snapshot):
                    sent += 1
                else:
                    later.add(max(due, now + int(_FIRST_RETRY * MICROS)))
        self._seen, self._again = latest[0].seq, min(later, default=None)
        return sent

    def _deliver(self, alert: Alert, channel: Channel, snapshot: Snapshot) -> bool:
        if not self._journal.claim_delivery(alert.id, channel.name, self._now(), stale_seconds=_NEVER):
            return False
        try:
            channel.deliver(alert, snapshot)
        except UndeliveredError as error:
            self._journal.delivery_failed(alert.id, channel.name, self._now(), str(error))
            log.warning("alert.undelivered", alert=alert.id, channel=channel.name, problem=str(error))
            return False
        except OSError as error:
            log.error("alert.uncertain", alert=alert.id, channel=channel.name, problem=str(error))
            return False
        self._journal.delivery_done(alert.id, channel.name, self._now())
        log.info("alert.sent", alert=alert.id, channel=channel.name)
        return True

    async def watch(self, every_seconds: float) -> None:
        """Tick for ever; run as a task."""
        while True:
            try:
                await asyncio.to_thread(self.tick)
            except StoreTroubleError as error:
                log.warning("alerts.unreadable", problem=str(error))
            await asyncio.sleep(every_seconds)


def _due(raised: Raised, channel: str, now: Instant) -> Instant | None:
    """When to try; None is never."""
    made: Delivery | None = next((each for each in raised.deliveries if each.channel == channel), None)
    if made is None:
        return now
    match made.state:
        case DeliveryState.DONE:
            return None
        case DeliveryState.FAILED:
            wait = min(_LAST_RETRY, _FIRST_RETRY * 2.0 ** min(made.attempts - 1, 20))
            return made.at + int(wait * MICROS)
        case DeliveryState.CLAIMED:
            # Somebody is at it, and may yet say that it failed; later, nobody is.
            over = made.at + int(_UNDER_WAY * MICROS)
            return over if now < over else None
    assert_never(made.state)
