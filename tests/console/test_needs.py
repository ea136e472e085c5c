"""Which playbooks wait for whom, said to each role in its own words?"""

import pytest

from upshift.admin.playbook_views import RunView
from upshift.console.needs import Need, needs
from upshift.model.key import Role
from upshift.model.span import to_datetime


def run(*waits_for: str) -> RunView:
    return RunView(
        run="let-dörte-in-1", book="let-in", hash="h", subject="dörte", state="running", phase="trying", since="", started="",
        window_ends=None, extended=False, by="mia", needs=("closed: to be signed off by engineering",),
        waits_for=waits_for, overrides=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("role", "whom"), [(Role.ENGINEERING, "you"), (Role.ADMIN, "engineering"), (Role.VIEWER, "engineering")]
)
def test_a_playbook_that_waits_for_a_person_is_the_first_thing_to_see(role: Role, whom: str) -> None:
    today = to_datetime(0).date()
    found = needs(role, (), (), None, (), None, today, [run(), run("engineering")])
    text = f"the playbook let-dörte-in-1 waits for {whom}: closed: to be signed off by engineering"
    assert found == [Need("asked", text, "/console/playbooks/let-d%C3%B6rte-in-1")]
