"""How does an alert read: as an e-mail to the account owner, and as an event for a webhook?"""

import hashlib
from email.message import EmailMessage

import msgspec

from upshift.model.entry import Alert
from upshift.model.money import show_money
from upshift.model.span import show_instant, to_datetime
from upshift.model.tokens import show_tokens

_SAYS = {
    70: "At this pace the budget is used up before its period ends",
    90: "The budget is nearly used up",
    100: "The budget is used up; the overage rule of the workload now applies",
}


def letter(alert: Alert, sender: str, owner: str, zone: str, at_the_ceiling: str) -> EmailMessage:
    """The one e-mail of an alert. Its Message-ID is made of the alert's id, so that no copy can pass for a second."""
    message = EmailMessage()
    message["Subject"] = (
        f"{alert.key.workload}: {alert.key.user} has used {percent(alert)} % of the {alert.key.window} budget"
    )
    message["From"] = sender
    message["To"] = owner
    message["Message-ID"] = f"<{hashlib.sha256(alert.id.encode()).hexdigest()[:32]}@upshift>"
    message["Date"] = to_datetime(alert.at, zone)
    message["Auto-Submitted"] = "auto-generated"
    out = "not before the period ends" if alert.runs_out is None else show_instant(alert.runs_out, zone)
    message.set_content(
        f"{_SAYS[alert.threshold]}.\n\n"
        f"  Tenant     {alert.key.tenant}\n"
        f"  User       {alert.key.user}\n"
        f"  Workload   {alert.key.workload}\n"
        f"  Period     {alert.key.window} {alert.key.period} ({zone})\n"
        f"  Used       {figure(alert, alert.used)} of {figure(alert, alert.limit)} ({percent(alert)} %)\n"
        f"  Runs out   {out}\n"
        f"  Then       {at_the_ceiling}\n\n"
        f"This is the only e-mail about this threshold in this period.\n"
        f"Plan in force: {alert.plan[:16]}\n"
    )
    return message


class Event(msgspec.Struct, frozen=True):
    """A CloudEvents 1.0 envelope."""

    id: str
    source: str
    type: str
    time: str
    subject: str
    data: dict[str, str | int | None]
    specversion: str = "1.0"
    datacontenttype: str = "application/json"


def event(alert: Alert) -> Event:
    """The alert for a webhook; `id` lets a receiver drop a repeat."""
    return Event(
        id=hashlib.sha256(alert.id.encode()).hexdigest()[:32],
        source="upshift",
        type=f"upshift.budget.threshold.{alert.threshold}",
        time=show_instant(alert.at),
        subject=alert.key.path(),
        data={
            "tenant": alert.key.tenant,
            "user": alert.key.user,
            "workload": alert.key.workload,
            "window": alert.key.window,
            "period": alert.key.period,
            "threshold": alert.threshold,
            "measure": alert.measure,
            "used": alert.used,
            "limit": alert.limit,
            "runs_out": None if alert.runs_out is None else show_instant(alert.runs_out),
            "plan": alert.plan,
        },
    )


def percent(alert: Alert) -> int:
    """Whole per cent used, rounded down, so that 100 is never said before it is true."""
    return alert.used * 100 // alert.limit if alert.limit else 100


def figure(alert: Alert, amount: int) -> str:
    """An amount in the alert's measure."""
    return show_money(amount) if alert.measure == "money" else f"{show_tokens(amount)} tokens"
