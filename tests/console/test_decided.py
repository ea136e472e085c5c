"""Does what was decided lead to its page for those who may see it, under the name that people know?"""

import pytest
from tests.admin.installation import NOW

from upshift.console.decided import named, place, routine, title
from upshift.model.entry import Decision
from upshift.model.key import Role
from upshift.playbook.run import Entered, Looked, to_decision


def decision(kind: str, subject: str = "x", **detail: str) -> Decision:
    return Decision("d1", NOW, kind, "", subject, "mia", {**detail})


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("sign-off", "/console/workloads/a%2Fb%3Fc"),
        ("sign-off-withdrawn", "/console/workloads/a%2Fb%3Fc"),
        ("plan-applied", "/console/plan"),
        ("key-issued", "/console/keys?q=a%2Fb%3Fc"),
        ("payg-opt-out", "/console/workloads/a%2Fb%3Fc"),
        ("buffer-draw", "/console/capacity#buffer"),
        ("interface-activated", "/console/interfaces/a%2Fb%3Fc"),
        ("traffic-share", "/console/interfaces"),
        ("playbook-started", "/console/playbooks/a%2Fb%3Fc"),
        ("playbook/run-1", "/console/playbooks/run-1"),
        ("recovered", ""),
    ],
)
def test_a_decision_leads_to_its_page(kind: str, path: str) -> None:
    assert place(Role.ADMIN, kind, "a/b?c") == path
    assert place(Role.POD_LEAD, kind, "a/b?c") == ""


def test_who_issues_keys_of_a_tenant_is_led_to_them_alone() -> None:
    assert place(Role.TENANT_ADMIN, "key-issued", "key_1") == "/console/keys?q=key_1"
    assert place(Role.TENANT_ADMIN, "plan-applied", "f") == ""
    assert place(Role.VIEWER, "key-issued", "key_1") == ""


def test_decisions_are_called_by_what_people_know() -> None:
    assert (title(decision("key-issued")), named(decision("key-issued", "key_1", name="Vera"))) == (
        "key issued",
        "Vera",
    )
    assert named(decision("sign-off", "support-chat")) == "support-chat"
    assert title(decision("payg-opt-in")) == "pay-as-you-go on"
    entered = to_decision(Entered(run="run-1", at=NOW, step=1, phase="staged-deployment"))
    assert (title(entered), named(entered)) == ("playbook entered staged deployment:", "run-1")
    assert title(decision("playbook/run-1")) == "playbook"


def test_a_look_of_the_engine_is_routine_and_a_phase_is_not() -> None:
    assert routine(to_decision(Looked(run="r", at=NOW, step=1, number=1, findings=())))
    assert not routine(to_decision(Entered(run="r", at=NOW, step=1, phase="staged", findings=())))
    assert not routine(decision("interface-activated"))
