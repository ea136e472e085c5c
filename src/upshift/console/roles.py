"""Which role may see and do what in the console?"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from upshift.model.key import Role


class May(StrEnum):
    """What can be allowed. The desk checks every act again; this decides what is offered."""

    MINE = "see their own budget"
    SEE = "see spend, budgets and calls"
    SEE_PLAN = "see the plan, its forecasts and who signed for it"
    GRANT = "lift a ceiling"
    OPT_IN = "decide about pay-as-you-go"
    SIGN = "sign a workload off"
    DRAW = "draw on the buffer"
    RUN = "start, override and abort a playbook"
    APPLY = "put a plan in force"
    KEYS = "issue and revoke keys"
    VERIFY = "verify the ledger"
    EXPORT = "take costs and calls away"
    RECONCILE = "hold bills against the ledger"


_ALL_BUT = frozenset(May) - {May.MINE, May.OPT_IN, May.SIGN}
ROLES: Mapping[Role, frozenset[May]] = MappingProxyType(
    {
        Role.ADMIN: _ALL_BUT,
        Role.FINANCE: frozenset({May.SEE, May.SEE_PLAN, May.SIGN, May.DRAW, May.VERIFY, May.EXPORT}),
        Role.ENGINEERING: frozenset({May.SEE, May.SEE_PLAN, May.SIGN, May.RUN}),
        Role.VIEWER: frozenset({May.SEE, May.SEE_PLAN}),
        Role.TENANT_ADMIN: frozenset({May.SEE, May.OPT_IN, May.KEYS, May.EXPORT}),
        Role.POD_LEAD: frozenset({May.SEE, May.MINE}),
        Role.CALLER: frozenset({May.MINE}),
        Role.METRICS: frozenset(),
    }
)


def may(role: Role, act: May) -> bool:
    """Whether a role is offered an act."""
    return act in ROLES[role]
