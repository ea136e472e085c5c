"""Where do the tests of the console get runs of playbooks, and agents that speak to each other?"""

import msgspec
from tests.admin.installation import HOUR, NOW, OPERATOR, PLAN, Installation
from tests.conformance.ledger import record
from tests.playbook.small import small

from upshift.admin import interfaces, playbooks
from upshift.admin.desk import Actor
from upshift.model.key import Role
from upshift.playbook.book import Answer
from upshift.playbook.facts import Figure
from upshift.playbook.run import Acted, Acting, Entered, Finding, Later, Looked, RolledBack, Run, to_decision
from upshift.store.sqlite_ledger import SqliteLedger

AGENTS = """
agents:
  planner: {owner: mia}
  researcher: {owner: "<b>tom</b>", workload: chat, url: "https://agents.example/research"}
  alone: {owner: ann}
interfaces:
  plan-research:
    from: planner
    to: researcher
    version: 1.0.0
    owner: mia
    escalation: "<img src=x onerror=alert(1)>"
    review: weekly
    reviewed: 2026-11-01
    request: {volume: 600/h, payload: {type: object, description: "</code><script>x</script>"}}
    response: {latency: 3s, errors: 2%, quality: 80%, payload: {type: object}}
  research-plan: {from: researcher, to: planner, version: 0.1.0}
"""


def with_agents(installation: Installation) -> Installation:
    """A plan with three agents and two interfaces, in force."""
    installation.desk.apply(installation.desk.check(PLAN.read_text() + AGENTS), OPERATOR)
    return installation


async def called(installation: Installation, *more: dict[str, object]) -> None:
    """Calls over the first interface, an hour ago."""
    ledger = await SqliteLedger.open(installation.db, NOW)
    common: dict[str, object] = {"dialect": "a2a", "agent": "planner", "requested_model": "plan-research"}
    common |= {"started": NOW - HOUR, "latency_us": 2_000_000}
    for number, each in enumerate(more):
        ledger.note(msgspec.structs.replace(record(f"r{number}"), **(common | each)), NOW - HOUR)
    await ledger.close()


def begun(installation: Installation, agent: str = "dora", at: int = NOW - 30 * HOUR) -> Run:
    """A run in its second phase: entered, and everything done, so long ago."""
    installation.clock.set(at)
    run = playbooks.start(installation.desk, OPERATOR, small(), {"agent": agent}, ["ops@example.org"])
    kept(installation, Entered(run=run.id, at=at, step=1, phase="ready"))
    kept(installation, Entered(run=run.id, at=at, step=2, phase="staged"))
    for number, action in enumerate(small().phase("staged").entering):
        kept(installation, Acting(run=run.id, at=at, step=2, number=number, action=action, before={}))
        kept(installation, Acted(run=run.id, at=at, step=2, number=number, says=f"did {action.do}"))
    installation.clock.set(NOW)
    return run


def kept(installation: Installation, *records: Later) -> None:
    for each in records:
        assert installation.desk.journal.decide(to_decision(each))


def look(
    run: Run, number: int, at: int, *, latency: float = 4.0, answer: Answer = Answer.WAITING, n: int = 90
) -> Looked:
    """One look at the second phase."""
    figures = [
        Figure(
            what=f"latency against the {against}",
            estimator="mean, normal mixture",
            n=n,
            value=latency,
            reference=reference,
            low=latency / reference - 1.2,
            high=latency / reference - 0.8,
            outcome="undecided",
        )
        for against, reference in (("snapshot", 4.0), ("control", 5.0))
    ]
    says = (f"undecided: E {latency} of 80",)
    found = Finding(
        phase="staged", criterion="no-regression", answer=answer, says=says, until=at + HOUR, figures=tuple(figures)
    )
    return Looked(run=run.id, at=at, step=2, number=number, findings=(found,))


def changing(installation: Installation) -> None:
    """Agents with interfaces; a run that goes on, overridden once, and one that was rolled back."""
    interfaces.activate(with_agents(installation).desk, OPERATOR, "plan-research")
    emil, dora = begun(installation, "emil"), begun(installation, "dora")
    kept(installation, *(look(emil, each, NOW - (4 - each) * HOUR, latency=4.0 + each) for each in range(4)))
    kept(installation, RolledBack(run=emil.id, at=NOW, step=3, why=("latency regressed",)))
    kept(installation, *(look(dora, each, NOW - (4 - each) * HOUR) for each in range(4)))
    mia, end = Actor("mia (key_1)", Role.ADMIN, person="Mia"), NOW + 48 * HOUR
    playbooks.override(installation.desk, mia, dora.id, "no-regression", reason="no traffic", owner="zoe", expires=end)
