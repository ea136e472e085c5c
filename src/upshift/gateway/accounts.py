"""Which ceilings hold this user now? The rule's answer, remembered while the period lasts."""

from upshift.model.budget import Bucket, Claim
from upshift.model.span import Instant, Period, Window, period_of
from upshift.traffic import ceilings
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


class Accounts:
    """Claims per user, workload and bucket. Forgotten as a whole when what is in force changes."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._known: dict[tuple[str, str, str, Bucket], tuple[Instant, Instant, tuple[Claim, ...]]] = {}

    def forget(self) -> None:
        self._known.clear()

    def claims(
        self, tenant: Tenant, user: User, workload: Workload, bucket: Bucket, consent: Consent | None, now: Instant
    ) -> tuple[Claim, ...]:
        """The ceilings of `user` at `now`."""
        key = (tenant.id, user.id, workload.id, bucket)
        known = self._known.get(key)
        if known is not None and known[0] <= now < known[1]:
            return known[2]
        claims = ceilings.claims(
            tenant, user, workload, bucket, consent, lambda window, zone: self._calendar.period(window, zone, now)
        )
        if len(self._known) >= _MOST:
            self._known.clear()
        start = max(claim.period.start for claim in claims)
        end = min(claim.period.end for claim in claims)
        self._known[key] = (start, end, claims)
        return claims
