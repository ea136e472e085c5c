"""Which ceilings hold this user now? The rule's answer, remembered while the period lasts."""

import msgspec

from upshift.model.budget import Amount, Bucket, BudgetKey, Claim
from upshift.model.span import Instant, Period, Window, period_of, show_instant
from upshift.traffic import ceilings
from upshift.traffic.gate import ENDLESS
from upshift.traffic.snapshot import Consent, Tenant, User, Workload

_MOST = 50_000


class Calendar:
    """The current period per window and zone; computing one costs a hundred times more than looking it up."""

    def __init__(self) -> None:
        self._periods: dict[tuple[Window, str], Period] = {}

    def period(self, window: Window, zone: str, now: Instant) -> Period:
        """The period that contains `now`, also when the clock went backwards."""
        period = self._periods.get((window, zone))
        if period is None or not period.start <= now < period.end:
            period = self._periods[window, zone] = period_of(window, zone, now)
        return period


class Account(msgspec.Struct, frozen=True):
    """The ceilings of one user of one workload in one bucket, and the counters under them, while all periods last."""

    workload: Workload
    consent: Consent | None
    """Both as they were when the account was made; another plan has another workload."""
    claims: tuple[Claim, ...]
    keys: tuple[BudgetKey, ...]
    start: Instant
    end: Instant
    watched: tuple[tuple[Claim, Amount], ...]
    """The ceilings whose thresholds are raised, with what has to be spent before one can be: half of each limit."""
    resets: bytes
    """When the first ceiling's period ends, in ISO 8601, as a header says it."""


class Accounts:
    """Accounts per user, workload and bucket. Forgotten as a whole when what is in force changes."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._known: dict[tuple[str, str, str, Bucket], Account] = {}

    def forget(self) -> None:
        self._known.clear()

    def of(
        self, tenant: Tenant, user: User, workload: Workload, bucket: Bucket, consent: Consent | None, now: Instant
    ) -> Account:
        """The account of `user` at `now`."""
        key = (tenant.id, user.id, workload.id, bucket)
        known = self._known.get(key)
        # A call that waited through a change of plan or consent still asks by the old one.
        if (
            known is not None
            and known.workload is workload
            and known.consent == consent
            and known.start <= now < known.end
        ):
            return known
        claims = ceilings.claims(
            tenant, user, workload, bucket, consent, lambda window, zone: self._calendar.period(window, zone, now)
        )
        if len(self._known) >= _MOST:
            self._known.clear()
        account = self._known[key] = Account(
            workload,
            consent,
            claims,
            keys=tuple(claim.key for claim in claims),
            start=max(claim.period.start for claim in claims),
            end=min(claim.period.end for claim in claims),
            watched=tuple((claim, _half(claim)) for claim in claims) if bucket is Bucket.INCLUDED else (),
            resets=show_instant(claims[0].period.end, claims[0].period.zone).encode(),
        )
        return account


def _half(claim: Claim) -> Amount:
    tokens, nano = claim.limit.tokens, claim.limit.nano
    return Amount(ENDLESS if tokens is None else -(-tokens // 2), ENDLESS if nano is None else -(-nano // 2))
