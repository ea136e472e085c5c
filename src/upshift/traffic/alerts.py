"""When does a budget's threshold speak, and when does the budget run out at this pace?

A threshold t speaks when t % is used, or earlier when at the present pace the budget lasts no longer than
(100 - t) % of a period and runs out before the period ends. Never below 50 %. The 70 % notice is about pace alone:
it stays silent when the pace would not use the budget up. 100 % is the contract event: it looks at the counter only,
and also speaks when a call no longer fits into the last tenth and the overage rule takes over.
"""

from upshift.model.span import Instant, Period

THRESHOLDS = (70, 90, 100)


def runs_out(used: int, limit: int, period: Period, now: Instant) -> Instant | None:
    """When the budget is used up if use goes on as it has in this period; None if the period ends first.

    None also before the period, where a clock that was set back finds itself: there is no pace to judge by.
    """
    if limit <= 0 or used >= limit:
        return now
    if used <= 0 or now < period.start:
        return None
    elapsed = max(1, now - period.start)
    moment = now + (limit - used) * elapsed // used
    return moment if moment < period.end else None


def spoken_for(used: int, limit: int) -> bool:
    """Whether a budget that a call did not fit into counts as reached, rather than the call as too large for it."""
    return limit <= 0 or used * 10 >= limit * 9


def due(used: int, limit: int, period: Period, now: Instant) -> tuple[int, ...]:
    """The thresholds that have been reached. The caller raises each once per period."""
    if limit <= 0 or used * 2 < limit:
        return ()
    if used >= limit:
        return THRESHOLDS
    share = used / limit
    end = runs_out(used, limit, period, now)
    left = None if end is None else (end - now) / (period.end - period.start)
    reached: list[int] = []
    if left is not None and (share >= 0.7 or left <= 0.3):
        reached.append(70)
    if share >= 0.9 or (left is not None and left <= 0.1):
        reached.append(90)
    return tuple(reached)
