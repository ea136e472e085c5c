"""What is the caller told, on every answer and when refused: which budget, whose, until when, whom to ask?"""

from datetime import datetime
from typing import assert_never

import msgspec

from upshift.model.budget import Balance, Bucket, BudgetKey, Claim
from upshift.model.contract import BROKEN_BECAUSE
from upshift.model.money import show_money
from upshift.model.refusal import (
    BadKey,
    BadRequest,
    Busy,
    CannotServe,
    ContractBroken,
    InterfaceClosed,
    LedgerDown,
    NoKey,
    NoneOpen,
    NoRoute,
    NotAllowed,
    OverBudget,
    PoolFull,
    Reason,
    Stopping,
    TooLarge,
    UnknownModel,
)
from upshift.model.span import show_instant, to_datetime
from upshift.model.tokens import show_tokens

Headers = list[tuple[bytes, bytes]]

REQUEST = b"x-upshift-request"
REQUESTED = b"x-upshift-requested-model"
SERVED = b"x-upshift-served-model"
REASON = b"x-upshift-reason"
BUDGET = b"x-upshift-budget"
RESETS = b"x-upshift-resets-at"
NOTICE = b"x-upshift-notice"
PLAN = b"x-upshift-plan"
POOL = b"x-upshift-pool"
"""The capacity pool that had no place, and what was scarce: 'batch user concurrent'."""
LEDGER = b"x-upshift-ledger"
"""Where the call is recorded, if not in the database: 'away-log', while that is away."""
PROVIDER = b"x-upshift-provider"
TRIED = b"x-upshift-tried"
"""Attempts before the one that answered, as 'openai status-503, azure connect'."""
NOT_CARRIED = b"x-upshift-not-carried"
"""Fields of the request that the provider's dialect has no words for."""

LINES = b"%b: %%b\r\n%%b%b: %%b\r\n%b: %%b\r\n" % (REQUEST, BUDGET, RESETS)
"""The lines of an answer's head that every call has: its name, lines that are the same for many, use and reset."""

DEGRADED_BECAUSE = "budget-reached:degraded-to-budget-model-tier"
OVERAGE_BECAUSE = "budget-reached:metered-as-pay-as-you-go"
CUT_BECAUSE = "budget-reached:answer-ended"
LIMITED_BECAUSE = "budget-nearly-reached:answer-limited"
"""The provider was given a smaller limit than the client asked for, since the budget leaves no more."""


class Denial(msgspec.Struct, frozen=True):
    """A refusal as it goes out: HTTP status, a stable code, one sentence or more for the person, and headers."""

    status: int
    code: str
    message: str
    headers: Headers


def reason_for(bucket: Bucket) -> str:
    """The code that says why a call was not served plainly; empty when it was."""
    if bucket is Bucket.INCLUDED:
        return ""
    return DEGRADED_BECAUSE if bucket is Bucket.DEGRADED else OVERAGE_BECAUSE


RECORDED_AWAY = (LEDGER, b"away-log")


def of_way(plan: str, requested: str, served: str, bucket: Bucket) -> Headers:
    """What every answer says of how it was served: by which plan (its hash) and model, and why not as asked."""
    found: Headers = [
        (REQUESTED, requested.encode("ascii", "backslashreplace")),
        (PLAN, plan[:16].encode()),
        (SERVED, served.encode()),
    ]
    reason = reason_for(bucket)
    if reason:
        found.append((REASON, reason.encode()))
    return found


def show_use(claim: Claim, balance: Balance) -> str:
    """'month tokens=12k/200k money=$0.31/$2.00': use against each limit of one ceiling, held amounts included."""
    limit, settled, held, granted = claim.limit, balance.settled, balance.held, balance.granted
    tokens, nano = limit.tokens, limit.nano
    shown = claim.key.window
    if tokens is not None:
        shown = f"{shown} tokens={settled.tokens + held.tokens}/{tokens + granted.tokens}"
    if nano is not None:
        shown = f"{shown} money={show_money(settled.nano + held.nano)}/{show_money(nano + granted.nano)}"
    elif tokens is None:
        shown += " unlimited"
    return shown


def deny(reason: Reason, request: str) -> Denial:
    """Turn a refusal into status, code, message and headers.

    Statuses are chosen so that clients show the text at once and do not retry what cannot succeed: 402 for a spent
    budget, and `x-should-retry: false` on everything that only a person can change.
    """
    status, code, message, retry = _say(reason)
    headers: Headers = [(REQUEST, request.encode()), (REASON, code.encode())]
    if retry is None:
        headers.append((b"x-should-retry", b"false"))
    else:
        headers += [(b"x-should-retry", b"true"), (b"retry-after", str(retry).encode())]
    if isinstance(reason, OverBudget):
        headers += [
            (
                BUDGET,
                f"{reason.key.path()} {_figure(reason, reason.used)}/{_figure(reason, reason.limit)}".encode(),
            ),
            (RESETS, show_instant(reason.resets_at, reason.zone).encode()),
        ]
    elif isinstance(reason, Busy):
        headers.append((BUDGET, reason.key.path().encode()))
    elif isinstance(reason, PoolFull):
        headers.append((POOL, f"{reason.pool} {reason.shortage.whose} {reason.shortage.scarce}".encode()))
    return Denial(status, code, message, headers)


def _say(reason: Reason) -> tuple[int, str, str, int | None]:
    """Status, code, message, and after how many seconds a retry makes sense (None: never by itself)."""
    match reason:
        case BadRequest(where, what):
            return 400, "invalid_request", f"{where}: {what}", None
        case TooLarge(limit):
            return (
                413,
                "request_too_large",
                f"the request is larger than the {limit:,} bytes that are accepted",
                None,
            )
        case NoRoute(method, path, served):
            return (
                404,
                "not_found",
                f"nothing is served at {method} {path}; served: {', '.join(served)}",
                None,
            )
        case NoKey():
            text = "no key: send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'"
            return 401, "invalid_key", text, None
        case BadKey(state, hint, since):
            when = f" since {show_instant(since)}" if since is not None else ""
            text = f"the key {hint}… is {state}{when}; ask whoever issued it for another"
            return 401, "invalid_key", text, None
        case NotAllowed(what, allowed):
            options = f"; open to this key: {', '.join(allowed)}" if allowed else ""
            return 403, "not_allowed", f"this key does not allow {what}{options}", None
        case UnknownModel(model, known):
            options = f"; this workload serves {', '.join(known)}" if known else ""
            return 404, "unknown_model", f"the plan has no model {model!r}{options}", None
        case CannotServe(model, needs, remedy):
            return (
                400,
                "cannot_serve",
                f"{model} cannot serve this request, which needs {' and '.join(needs)}; {remedy}",
                None,
            )
        case NoneOpen(model, providers, retry, why):
            because = f", and {why}" if why else ""
            text = f"no route to {model} is open: {providers} failed or asked to be left alone{because}."
            text += f" Try again in {retry} s"
            return 503, "no_route_open", text, retry
        case OverBudget():
            return 402, "over_budget", _over_budget(reason), None
        case Busy(key, waited, retry):
            text = (
                f"{_whose(key)} has room, but calls in flight hold it; none of them ended in {waited:.0f} s."
                f" Try again in {retry} s, with fewer calls at once or a smaller max_tokens."
            )
            return 429, "budget_busy", text, retry
        case PoolFull():
            return 429, "pool_full", _pool_full(reason), reason.shortage.retry_seconds
        case InterfaceClosed():
            return 403, "interface_closed", _closed(reason), None
        case ContractBroken(interface, version, violations):
            listed = "; ".join(f"{where}: {what}" for where, what in violations)
            return 422, BROKEN_BECAUSE, f"the message breaks contract {interface} {version}: {listed}", None
        case LedgerDown(retry):
            text = "usage cannot be recorded at the moment, so nothing may be spent; the operators see this"
            return 503, "ledger_unavailable", text, retry
        case Stopping(retry):
            return 503, "stopping", "the gateway is restarting", retry
    assert_never(reason)


def _pool_full(reason: PoolFull) -> str:
    found = reason.shortage
    whose = {"user": " for one user", "tenant": " for one tenant"}.get(found.whose, "")
    waited = f"; this call waited {found.waited_seconds:.1f} s" if found.waited_seconds >= 0.05 else ""
    return (
        f"The capacity pool {reason.pool} of workload {reason.workload} is full: it takes {found.limit}{whose}{waited}."
        f" No budget is used up. Try again in {found.retry_seconds} s."
    )


def _closed(reason: InterfaceClosed) -> str:
    named = f" over interface {reason.interface}" if reason.interface else ""
    return f"agent {reason.caller} may not speak to {reason.callee}{named}: {reason.why}"


def _over_budget(reason: OverBudget) -> str:
    held = f" ({_figure(reason, reason.held)} of it held by calls in flight)" if reason.held else ""
    still = f" Still open: {', '.join(reason.still_open)}." if reason.still_open else ""
    ask = f" {reason.how_to_ask.rstrip('.')}." if reason.how_to_ask else ""
    return (
        f"Budget reached: {_whose(reason.key)} stands at {_figure(reason, reason.used)} of"
        f" {_figure(reason, reason.limit)}{held}, and this call needs at least {_figure(reason, reason.needed)}."
        f" It resets on {_day(to_datetime(reason.resets_at, reason.zone))} ({reason.zone})."
        f" {reason.why[:1].upper()}{reason.why[1:].rstrip('.')}.{still} Owner: {reason.owner}.{ask}"
    )


def _whose(key: BudgetKey) -> str:
    who = "everybody" if key.user == "*" else key.user
    what = {"included": "", "degraded": " after-ceiling", "overage": " pay-as-you-go"}[key.bucket]
    return f"the{what} {key.window} budget of {who} for workload {key.workload} ({key.tenant})"


def _figure(reason: OverBudget, amount: int) -> str:
    return show_money(amount) if reason.measure == "money" else f"{show_tokens(amount)} tokens"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
