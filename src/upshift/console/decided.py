"""Where is what was decided shown, and what is it called?"""

from urllib.parse import quote

from upshift.console.roles import May, may
from upshift.console.shown import words
from upshift.model.entry import Decision
from upshift.model.key import Role
from upshift.playbook.run import Entered, from_decision

_PLACES: tuple[tuple[str, May, str], ...] = (
    ("sign-off", May.SEE_PLAN, "/console/workloads/{}"),
    ("plan-", May.SEE_PLAN, "/console/plan"),
    ("key-", May.KEYS, "/console/keys?q={}"),
    ("payg-", May.SEE_PLAN, "/console/workloads/{}"),
    ("buffer-draw", May.SEE_PLAN, "/console/capacity#buffer"),
    ("interface-", May.SEE_PLAN, "/console/interfaces/{}"),
    ("traffic-share", May.SEE_PLAN, "/console/interfaces"),
    ("playbook-started", May.SEE_PLAN, "/console/playbooks/{}"),
)
_TITLES = {"payg-opt-in": "pay-as-you-go on", "payg-opt-out": "pay-as-you-go off"}
_RUN = "playbook/"
_ROUTINE = frozenset({"looked:", "acting:", "acted:"})


def place(role: Role, kind: str, subject: str) -> str:
    """The page of what a decision is about; '' where there is none that the role may see."""
    if kind.startswith(_RUN):
        return f"/console/playbooks/{quote(kind.removeprefix(_RUN), safe='')}" if may(role, May.SEE_PLAN) else ""
    for beginning, act, path in _PLACES:
        if kind.startswith(beginning):
            return path.format(quote(subject, safe="")) if may(role, act) else ""
    return ""


def title(decision: Decision) -> str:
    """What was decided, in words; of a run of a playbook, what happened in it."""
    if decision.kind.startswith(_RUN):
        return f"playbook {_happened(decision)}".strip()
    return _TITLES.get(decision.kind, words(decision.kind))


def routine(decision: Decision) -> bool:
    """Whether it only says that a run was looked at or acted: what it did is a decision of its own."""
    return decision.kind.startswith(_RUN) and _happened(decision) in _ROUTINE


def _happened(decision: Decision) -> str:
    try:
        record = from_decision(decision)
    except ValueError:
        return ""
    return f"entered {words(record.phase)}:" if isinstance(record, Entered) else f"{type(record).__name__.lower()}:"


def named(decision: Decision) -> str:
    """Whom or what it is about, as people call it: a key by its name, not its id."""
    name = decision.detail.get("name")
    if isinstance(name, str) and name:
        return name
    return decision.kind.removeprefix(_RUN) if decision.kind.startswith(_RUN) else decision.subject
