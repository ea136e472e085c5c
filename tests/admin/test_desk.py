"""Is each act of an administrator checked, recorded, and held to who may do it?"""

import asyncio

import pytest
from tests.admin.installation import HOUR, NOW, OPERATOR, PLAN, Installation, month

from upshift.admin.desk import ActError, Actor
from upshift.model.budget import Amount
from upshift.model.ids import TenantId, WorkloadId
from upshift.model.key import Role
from upshift.model.span import Window
from upshift.store.sqlite_ledger import SqliteLedger

ACME_ADMIN = Actor("ada", Role.TENANT_ADMIN, "acme")


def test_the_first_admin_key_is_made_once(empty: Installation) -> None:
    issued = empty.desk.first_admin()
    assert issued is not None
    assert issued.secret.startswith("upa_")
    assert empty.desk.first_admin() is None
    assert empty.desk.actor_of(issued.secret).role is Role.ADMIN


def test_a_new_first_admin_key_is_made_when_all_are_revoked(empty: Installation) -> None:
    issued = empty.desk.first_admin()
    assert issued is not None
    empty.desk.revoke(OPERATOR, issued.key.id)
    assert empty.desk.first_admin() is not None


def test_nothing_is_in_force_before_the_first_plan(empty: Installation) -> None:
    assert empty.desk.snapshot() is None
    with pytest.raises(ActError, match="no plan is in force") as caught:
        empty.desk.in_force()
    assert caught.value.status == 409


def test_applying_a_plan_puts_it_in_force_and_says_who_did(installation: Installation) -> None:
    applied = installation.desk.journal.plan_in_force()
    assert applied is not None
    assert (applied.name, applied.by, applied.at) == ("two-tenants", "operator", NOW)
    assert installation.desk.need_snapshot().hash == applied.hash
    installation.apply()
    assert len(installation.desk.journal.plans()) == 1


def test_only_an_admin_applies_plans(installation: Installation) -> None:
    checked = installation.desk.check([PLAN])
    with pytest.raises(ActError, match="only an admin") as caught:
        installation.desk.apply(checked, ACME_ADMIN)
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"tenant": "initech"}, "no tenant 'initech'"),
        ({"tenant": "globex", "user": "alice"}, "lists no user 'alice'"),
        ({"tenant": "acme", "workloads": ("nothing",)}, "no workload 'nothing'; served: chat, docs"),
        ({"tenant": "acme", "workloads": ("secret-project",)}, "served: chat, docs"),
        ({"tenant": "acme", "role": Role.TENANT_ADMIN, "user": "alice"}, "not for calls"),
        ({"tenant": "acme", "role": Role.ADMIN}, "belongs to no tenant"),
        ({"tenant": "acme", "name": " "}, "needs a name"),
        ({"tenant": "acme", "expires": NOW}, "passed already"),
    ],
)
def test_a_key_names_only_what_the_plan_has(installation: Installation, asked: dict[str, object], says: str) -> None:
    with pytest.raises(ActError, match=says):
        installation.desk.issue(OPERATOR, **{"name": "app", **asked})  # type: ignore[arg-type] # by hand


def test_rotation_lets_the_old_secret_go_on_for_the_overlap(installation: Installation) -> None:
    desk = installation.desk
    old = desk.issue(OPERATOR, role=Role.TENANT_ADMIN, name="ada", tenant="acme")
    new = desk.rotate(OPERATOR, old.key.id, overlap_seconds=3600)
    assert new.key.replaces == old.key.id
    installation.clock.set(NOW + HOUR - 1)
    assert desk.actor_of(old.secret).tenant == "acme"
    installation.clock.set(NOW + HOUR)
    with pytest.raises(ActError, match="expired"):
        desk.actor_of(old.secret)
    assert desk.actor_of(new.secret).tenant == "acme"
    with pytest.raises(ActError, match="has expired; issue another"):
        desk.rotate(OPERATOR, old.key.id)


def test_an_overlap_never_lengthens_a_key(installation: Installation) -> None:
    desk = installation.desk
    old = desk.issue(OPERATOR, name="app", tenant="acme", expires=NOW + HOUR)
    desk.rotate(OPERATOR, old.key.id, overlap_seconds=86_400)
    assert next(key for key in desk.keys(OPERATOR) if key.id == old.key.id).expires == NOW + HOUR


def test_a_revoked_key_cannot_be_revoked_or_rotated_again(installation: Installation) -> None:
    issued = installation.desk.issue(OPERATOR, name="app", tenant="acme")
    installation.desk.revoke(OPERATOR, issued.key.id)
    for act in (installation.desk.revoke, installation.desk.rotate):
        with pytest.raises(ActError, match="revoked already"):
            act(OPERATOR, issued.key.id)


def test_a_tenants_admin_reaches_no_other_tenant(installation: Installation) -> None:
    desk = installation.desk
    other = desk.issue(OPERATOR, name="app", tenant="globex")
    admin = desk.issue(OPERATOR, role=Role.ADMIN, name="root")
    for key in (other, admin):
        with pytest.raises(ActError) as caught:
            desk.revoke(ACME_ADMIN, key.key.id)
        assert caught.value.status == 404
    with pytest.raises(ActError) as caught:
        desk.issue(ACME_ADMIN, name="app", tenant="globex")
    assert caught.value.status == 404
    assert {key.tenant for key in desk.keys(ACME_ADMIN)} <= {"acme"}


async def test_a_grant_is_taken_in_by_the_ledger(installation: Installation) -> None:
    installation.desk.grant(
        OPERATOR,
        tenant="acme",
        user="alice",
        workload="chat",
        window=Window.MONTH,
        amount=Amount(tokens=5_000),
        reason="a big week",
    )
    ledger = await SqliteLedger.open(installation.db, NOW)
    try:
        key = month("acme", "alice", "chat")
        async with asyncio.timeout(60):
            while ledger.balance(key).granted != Amount(tokens=5_000):  # noqa: ASYNC110 - the writer thread's doing
                await asyncio.sleep(0.01)
    finally:
        await ledger.close()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"amount": Amount()}, "positive"),
        ({"amount": Amount(tokens=-1)}, "positive"),
        ({"reason": " "}, "needs a reason"),
        ({"window": Window.WEEK}, "no ceiling per week for workload chat; there is one per day, month"),
        ({"window": Window.DAY, "amount": Amount(nano=1)}, "does not limit money; grant tokens"),
        ({"user": "frank", "tenant": "globex"}, "no workload 'chat'"),
        ({"tenant": "globex", "user": "nobody", "workload": "docs"}, "lists no user 'nobody'"),
    ],
)
def test_a_grant_that_would_change_nothing_is_refused(
    installation: Installation, asked: dict[str, object], says: str
) -> None:
    usual = {
        "tenant": "acme",
        "user": "alice",
        "workload": "chat",
        "window": Window.MONTH,
        "amount": Amount(tokens=1),
        "reason": "why",
    }
    with pytest.raises(ActError, match=says):
        installation.desk.grant(OPERATOR, **{**usual, **asked})  # type: ignore[arg-type] # by hand


def test_only_the_tenants_own_admin_opts_in(installation: Installation) -> None:
    desk = installation.desk
    for actor in (OPERATOR, Actor("gus", Role.TENANT_ADMIN, "globex")):
        with pytest.raises(ActError, match="only an admin of tenant acme"):
            desk.opt_in(actor, tenant="acme", workload="chat", limit=None)
    with pytest.raises(ActError, match="does not offer pay-as-you-go"):
        desk.opt_in(ACME_ADMIN, tenant="acme", workload="docs", limit=None)
    with pytest.raises(ActError, match="above zero"):
        desk.opt_in(ACME_ADMIN, tenant="acme", workload="chat", limit=0)
    desk.opt_in(ACME_ADMIN, tenant="acme", workload="chat", limit=5_000_000_000)
    consent = desk.in_force().consents[TenantId("acme"), WorkloadId("chat")]
    assert (consent.by, consent.limit) == ("ada", 5_000_000_000)
    desk.opt_out(ACME_ADMIN, tenant="acme", workload="chat")
    assert not desk.in_force().consents
    with pytest.raises(ActError, match="is not on"):
        desk.opt_out(ACME_ADMIN, tenant="acme", workload="chat")
