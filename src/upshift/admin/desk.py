"""What may an administrator do? Each act checked, recorded with who did it, and in force within a second."""

import secrets
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import structlog

from upshift.admin.amounts import MOST_NANO
from upshift.admin.freezes import frozen, overridden
from upshift.admin.kept import Kept
from upshift.admin.signed import moved, refused
from upshift.model.budget import Amount, Bucket, Claim
from upshift.model.entry import Adjust, Grant
from upshift.model.ids import AgentId, KeyId, TenantId, UserId, WorkloadId
from upshift.model.key import Key, Role
from upshift.model.money import Nano
from upshift.model.span import MICROS, Instant, Window, period_of, to_datetime
from upshift.plan_file import Checked, Consequence, Kind, compile_document, difference, loads, outline_document
from upshift.plan_file import load as load_files
from upshift.planning.outline import Outline
from upshift.store.journal import Journal, OptIn
from upshift.traffic import ceilings
from upshift.traffic.compatibility import objections
from upshift.traffic.identify import LONGEST_USER, digest
from upshift.traffic.snapshot import Consent, InForce, Overage, Snapshot, Tenant, User, Workload

log = structlog.get_logger()

_ADMINS = frozenset((Role.ADMIN, Role.TENANT_ADMIN))
_OF_THE_PLAN = frozenset((Role.FINANCE, Role.ENGINEERING, Role.VIEWER))
_MOST_KEPT = 32
_PREFIXES = {
    Role.CALLER: "upk_",
    Role.TENANT_ADMIN: "upt_",
    Role.ADMIN: "upa_",
    Role.FINANCE: "upf_",
    Role.ENGINEERING: "upe_",
    Role.POD_LEAD: "upl_",
    Role.VIEWER: "upv_",
    Role.METRICS: "upm_",
}


class ActError(Exception):
    """An act that cannot be done, with what to do instead. `status` is the HTTP status that says the same."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class NotCoveredError(ActError):
    """A plan that may not be put in force; `reasons` lists all there are."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        lines = "".join(f"\n  {each}" for each in reasons)
        super().__init__(f"the plan may not be put in force, see 'upshift plan review':{lines}", 409)


class Actor(msgspec.Struct, frozen=True):
    """Who acts. A tenant's admin acts for that tenant alone; `tenant` empty is the whole installation.

    `person` is the name on the key, by which two keys are told to be of one hand; empty without a key.
    """

    name: str
    role: Role
    tenant: str = ""
    person: str = ""


class Issued(msgspec.Struct, frozen=True):
    """A new key and its secret, which is shown this once and never stored."""

    key: Key
    secret: str


class Desk:
    """The acts of administrators over one journal."""

    def __init__(self, journal: Journal, now: Callable[[], Instant], patience: float | None = None) -> None:
        """`patience`: how many seconds to wait at most for what takes long to compute; None is until it is made."""
        self.journal = journal
        self.now = now
        self.patience = patience
        self.kept: Kept[Any] = Kept(_MOST_KEPT, patience)
        """What takes long to compute, by what it is, of which plan and for when; it stays as it is."""
        self._read: tuple[str, Snapshot, Outline] | None = None
        """The plan that was read last, by its hash."""

    # what is in force ---------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot | None:
        """The plan in force, compiled; None before the first."""
        plan = self._plan()
        return None if plan is None else plan[1]

    def _plan(self) -> tuple[str, Snapshot, Outline] | None:
        plan = self.journal.plan_in_force()
        if plan is None:
            return None
        found = self._read
        if found is None or found[0] != plan.hash:
            text = plan.document.decode()
            found = self._read = plan.hash, compile_document(text), outline_document(text)
        return found

    def need_snapshot(self) -> Snapshot:
        """The plan in force. Raises ActError before the first."""
        snapshot = self.snapshot()
        if snapshot is None:
            raise ActError("no plan is in force yet; apply one with: upshift plan apply FILE", 409)
        return snapshot

    def in_force(self) -> InForce:
        """Everything the gateway judges by."""
        plan = self._plan()
        return in_force(self.journal, None if plan is None else plan[1])

    def today(self) -> date:
        return to_datetime(self.now()).date()

    # plans --------------------------------------------------------------------------------------------------------

    def check(self, source: str | Sequence[Path]) -> Checked:
        """Check a plan. Raises PlanError with every problem."""
        if isinstance(source, str):
            return loads(source, today=self.today())
        return load_files(source, today=self.today())

    def compare(self, checked: Checked) -> list[Consequence]:
        """What applying a plan would change."""
        return self.difference(checked.snapshot, checked.outline)

    def refusals(self, outline: Outline) -> tuple[str, ...]:
        """Why a plan may not be put in force: what is not signed off, or beyond a ceiling of ops hours."""
        return tuple(each.text for each in refused(self.journal, outline, self.today()))

    def frozen(self) -> tuple[str, ...]:
        """Why no plan is put in force today, by the calendar of the plan in force, and what to do; or nothing."""
        return frozen(self.readable()[1], self.now())

    def outline(self) -> Outline | None:
        """What planning reads of the plan in force; None before the first."""
        plan = self._plan()
        return None if plan is None else plan[2]

    def readable(self) -> tuple[Snapshot | None, Outline | None]:
        """The plan in force; nothing where this version cannot read it, for that must not keep a good one out."""
        try:
            return self.snapshot(), self.outline()
        except ValueError:
            return None, None

    def need_outline(self) -> Outline:
        """What planning reads of the plan in force. Raises ActError before the first."""
        outline = self.outline()
        if outline is None:
            raise ActError("no plan is in force yet; apply one with: upshift plan apply FILE", 409)
        return outline

    def apply(self, checked: Checked, actor: Actor, override: str = "") -> list[Consequence]:
        """Put a checked plan in force; running gateways take it up without dropping a call.

        `override` says why that may not wait until the calendar of the plan in force lets plans change, and is
        recorded. Raises NotCoveredError where a workload of it is not signed off, ActError where plans do not change.
        """
        self.only_admin(actor, "apply a plan")
        self.only_covered(checked.outline)
        self._only_compatible(checked.snapshot)
        consequences = self.compare(checked)
        at, snapshot, why, closed = self.now(), checked.snapshot, override.strip(), self.frozen()
        if closed and not why:
            raise ActError("\n  ".join(closed), 409)
        if closed:
            self.journal.decide(overridden(snapshot.hash, actor.name, at, closed[0], why))
        self.journal.apply_plan(snapshot.hash, checked.document.encode(), snapshot.name, actor.name, at)
        return consequences

    def _only_compatible(self, snapshot: Snapshot) -> None:
        before, _ = self.readable()
        found = objections(before.interfaces, snapshot.interfaces) if before is not None else ()
        if found:
            lines = "".join(f"\n  {each}" for each in found)
            raise ActError(f"contracts do not keep what their versions promise:{lines}", 409)

    def only_covered(self, outline: Outline) -> None:
        """Raises NotCoveredError for a plan that may not be put in force."""
        reasons = self.refusals(outline)
        if reasons:
            raise NotCoveredError(reasons)

    def difference(self, snapshot: Snapshot, outline: Outline) -> list[Consequence]:
        """What putting this in force would change, for whom, and which sign-offs are lost."""
        before, planned = self.readable()
        portfolio = [
            Consequence(Kind.SIGN_OFF if each.signing else Kind.STATUS, each.workload, each.text)
            for each in moved(self.journal, planned, outline, self.today())
        ]
        return [*difference(before, snapshot), *portfolio]

    # keys ---------------------------------------------------------------------------------------------------------

    def first_admin(self) -> Issued | None:
        """The key of the first run; None when an admin key exists already."""
        known = self.journal.keys()
        if any(key.role is Role.ADMIN and key.revoked is None for key in known):
            return None
        return self._add(Role.ADMIN, "first admin", Actor("first run", Role.ADMIN))

    def issue(
        self,
        actor: Actor,
        *,
        role: Role = Role.CALLER,
        name: str,
        tenant: str = "",
        user: str = "",
        workloads: Sequence[str] = (),
        agent: str = "",
        expires: Instant | None = None,
    ) -> Issued:
        """Issue a key. Raises ActError when it would name what the plan in force does not have."""
        self.only_own(actor, tenant)
        if not name.strip():
            raise ActError("a key needs a name that says who or what uses it")
        if role is Role.ADMIN:
            self.only_admin(actor, "issue an admin key")
            if tenant or user or workloads:
                raise ActError("an admin key belongs to no tenant; for one tenant use the role tenant-admin")
        elif role is Role.METRICS:
            self.only_admin(actor, "issue a key with the role metrics")
            if tenant or user or workloads:
                raise ActError("a key with the role metrics sees all tenants: name no tenant, user or workload")
        elif role in _OF_THE_PLAN:
            self.only_admin(actor, f"issue a key with the role {role}")
            if tenant or user or workloads:
                raise ActError(f"a key with the role {role} is one person's: name the person, and no tenant or user")
        else:
            if role is Role.POD_LEAD:
                self.only_admin(actor, "issue a key with the role pod-lead")
            self._check_scope(role, tenant, user, workloads)
        if agent:
            self._check_agent(role, agent)
        if expires is not None and expires <= self.now():
            raise ActError("the expiry has passed already")
        return self._add(role, name, actor, tenant, user, tuple(workloads), expires, agent=agent)

    def rotate(self, actor: Actor, key_id: str, overlap_seconds: float = 0) -> Issued:
        """A new secret with the same scope; the old one goes on for `overlap_seconds`, so that nobody is cut off."""
        old, now = self._live_key(actor, key_id), self.now()
        if old.expires is not None and old.expires <= now:
            raise ActError(f"key {key_id} has expired; issue another", 409)
        if overlap_seconds < 0:
            raise ActError("the overlap cannot be negative")
        issued = self._add(
            old.role,
            old.name,
            actor,
            old.tenant,
            old.user,
            old.workloads,
            old.expires,
            replaces=old.id,
            agent=old.agent,
        )
        self.journal.expire_key(old.id, now + int(overlap_seconds * MICROS), actor.name, now)
        return issued

    def revoke(self, actor: Actor, key_id: str) -> Key:
        """End a key now."""
        key, now = self._live_key(actor, key_id), self.now()
        self.journal.revoke_key(key.id, now, actor.name)
        return msgspec.structs.replace(key, revoked=now)

    def keys(self, actor: Actor) -> list[Key]:
        """The keys that the actor may see."""
        known = self.journal.keys()
        return [key for key in known if not actor.tenant or key.tenant == actor.tenant]

    def actor_of(self, secret: str) -> Actor:
        """Who holds this secret. Raises ActError for a caller's, and for one that is not live."""
        return self.actor_with(digest(secret))

    def actor_with(self, asked: str) -> Actor:
        """Who holds the secret with this digest. Raises ActError for a caller's, and for one that is not live."""
        return self.acting(self.live_key(asked))

    def acting(self, found: Key) -> Actor:
        """Who holds a key. Raises ActError for a caller's."""
        if found.role is Role.CALLER:
            raise ActError("this is a caller's key; administration needs an admin key", 403)
        return Actor(f"{found.name} ({found.id})", found.role, found.tenant, found.name)

    def live_key(self, asked: str) -> Key:
        """The key with this digest, whatever its role. Raises ActError 401 for one that is unknown or not live."""
        now, known = self.now(), self.journal.keys()
        found = next((key for key in known if key.digest == asked), None)
        if found is None:
            raise ActError("the key is unknown", 401)
        if found.revoked is not None:
            raise ActError(f"the key {found.hint}… is revoked", 401)
        if found.expires is not None and found.expires <= now:
            raise ActError(f"the key {found.hint}… is expired", 401)
        return found

    # budgets ------------------------------------------------------------------------------------------------------

    def grant(
        self, actor: Actor, *, tenant: str, user: str, workload: str, window: Window, amount: Amount, reason: str
    ) -> Grant:
        """Lift one user's ceiling of one workload for the present period.

        Only an admin of the installation may: it is the installation that pays for what is included.
        """
        self.only_admin(actor, "lift a ceiling")
        if amount.tokens < 0 or amount.nano < 0 or not (amount.tokens or amount.nano):
            raise ActError("a grant is a positive number of tokens or amount of money")
        if not reason.strip():
            raise ActError("a grant needs a reason")
        claim = self._claim(tenant, user, workload, window)
        for granted, limit, kind, other in (
            (amount.tokens, claim.limit.tokens, "tokens", "money"),
            (amount.nano, claim.limit.nano, "money", "tokens"),
        ):
            if granted and limit is None:
                raise ActError(f"the {window} ceiling of {user} for {workload} does not limit {kind}; grant {other}")
        grant = Grant(id=_name("grant"), at=self.now(), keys=(claim.key,), amount=amount, by=actor.name, reason=reason)
        self.journal.ask(grant)
        return grant

    def adjust(
        self, actor: Actor, *, tenant: str, user: str, workload: str, window: Window, amount: Amount, reason: str
    ) -> Adjust:
        """Correct what a counter has spent (a credit note, a provider's invoice)."""
        self.only_admin(actor, "adjust what was spent")
        if not (amount.tokens or amount.nano):
            raise ActError("an adjustment is a number of tokens or amount of money other than zero")
        if not reason.strip():
            raise ActError("an adjustment needs a reason")
        claim = self._claim(tenant, user, workload, window)
        adjust = Adjust(
            id=_name("adjust"), at=self.now(), keys=(claim.key,), amount=amount, by=actor.name, reason=reason
        )
        self.journal.ask(adjust)
        return adjust

    def opt_in(self, actor: Actor, *, tenant: str, workload: str, limit: Nano | None) -> OptIn:
        """Switch pay-as-you-go on. Only the tenant's own admin may: nobody else can agree to its invoice."""
        self._own_admin(actor, tenant)
        found = self._workload(tenant, workload)
        if Overage.PAY_AS_YOU_GO not in found.gate.ladder:
            raise ActError(
                f"gate {found.gate.id} of workload {workload} does not offer pay-as-you-go (it has"
                f" {', '.join(found.gate.ladder)}); the plan would have to offer it first"
            )
        if limit is not None and not 0 < limit <= MOST_NANO:
            raise ActError("the limit is an amount of money above zero; leave it out for the gate's own")
        consent = OptIn(TenantId(tenant), WorkloadId(workload), limit, actor.name, self.now())
        self.journal.opt_in(consent.tenant, consent.workload, limit, consent.by, consent.at)
        return consent

    def opt_out(self, actor: Actor, *, tenant: str, workload: str) -> None:
        """Switch pay-as-you-go off, also of a workload that the plan does not serve any more."""
        self._own_admin(actor, tenant)
        if not any((each.tenant, each.workload) == (tenant, workload) for each in self.journal.consents()):
            raise ActError(f"pay-as-you-go is not on for workload {workload!r} of tenant {tenant}", 404)
        self.journal.opt_out(TenantId(tenant), WorkloadId(workload), actor.name, self.now())

    # checks -------------------------------------------------------------------------------------------------------

    def only_admin(self, actor: Actor, act: str) -> None:
        """Raises ActError unless the actor administers the whole installation."""
        if actor.role is not Role.ADMIN:
            raise ActError(f"only an admin may {act}", 403)

    def only_seen(self, actor: Actor, tenant: str) -> None:
        """Raises ActError when somebody of one tenant looks for another's."""
        if actor.tenant and actor.tenant != tenant:
            raise ActError(f"no tenant {tenant!r} that you may see", 404)

    def only_own(self, actor: Actor, tenant: str) -> None:
        """Raises ActError when a tenant's admin reaches for another tenant, or anybody else for any."""
        if actor.role not in _ADMINS or (actor.tenant and actor.tenant != tenant):
            raise ActError(f"no tenant {tenant!r} that you administer", 404)

    def _own_admin(self, actor: Actor, tenant: str) -> None:
        if actor.role is not Role.TENANT_ADMIN or actor.tenant != tenant:
            raise ActError(
                f"only an admin of tenant {tenant} may decide about its pay-as-you-go; use a key with the role"
                " tenant-admin of that tenant",
                403,
            )

    def _workload(self, tenant: str, workload: str) -> Workload:
        snapshot = self.need_snapshot()
        found = snapshot.workloads.get(WorkloadId(workload))
        if found is None or TenantId(tenant) not in found.tenants:
            # Workloads of other tenants are not named, since this is also what a tenant's admin is told.
            own = sorted(each.id for each in snapshot.workloads.values() if TenantId(tenant) in each.tenants)
            names = ", ".join(own) or "none"
            raise ActError(f"tenant {tenant!r} has no workload {workload!r}; served: {names}", 404)
        return found

    def _tenant(self, tenant: str) -> Tenant:
        tenants = self.need_snapshot().tenants
        found = tenants.get(TenantId(tenant))
        if found is None:
            names = ", ".join(sorted(tenants)) or "none"
            raise ActError(f"the plan has no tenant {tenant!r}; it has {names}", 404)
        return found

    def _user(self, tenant: Tenant, user: str) -> User:
        found = tenant.users.get(UserId(user))
        if found is not None:
            return found
        if tenant.default_tier is None:
            raise ActError(f"tenant {tenant.id} lists no user {user!r} and has no default tier for others", 404)
        if len(user) > LONGEST_USER or not user.isprintable() or "*" in user or user != user.strip():
            raise ActError(f"a user's name is at most {LONGEST_USER} printable characters without '*': {user!r} is not")
        return User(UserId(user), tenant.default_tier)

    def _check_scope(self, role: Role, tenant: str, user: str, workloads: Sequence[str]) -> None:
        found = self._tenant(tenant)
        if role is Role.POD_LEAD and (not user or workloads):
            raise ActError("a pod lead's key is for looking, not for calls: name the user, and no workload")
        if role is Role.TENANT_ADMIN and (user or workloads):
            raise ActError("a tenant's admin key is for administration, not for calls: name no user or workload")
        if user:
            self._user(found, user)
        for workload in workloads:
            self._workload(tenant, workload)

    def _check_agent(self, role: Role, agent: str) -> None:
        if role is not Role.CALLER:
            raise ActError("only a caller's key is an agent's own")
        known = self.need_snapshot().agents
        if AgentId(agent) not in known:
            raise ActError(f"the plan has no agent {agent!r}; it has {', '.join(sorted(known)) or 'none'}", 404)

    def _claim(self, tenant: str, user: str, workload: str, window: Window) -> Claim:
        """The ceiling that a person means by these names."""
        found, served, now = self._tenant(tenant), self._workload(tenant, workload), self.now()
        claims = ceilings.claims(
            found,
            self._user(found, user),
            served,
            Bucket.INCLUDED,
            None,
            lambda each, zone: period_of(each, zone, now),
        )
        for claim in claims:
            if claim.period.window is window:
                return claim
        windows = ", ".join(claim.key.window for claim in claims)
        raise ActError(f"{user} has no ceiling per {window} for workload {workload}; there is one per {windows}")

    def _live_key(self, actor: Actor, key_id: str) -> Key:
        found = next((key for key in self.keys(actor) if key.id == key_id), None)
        if found is None:
            raise ActError(f"no key {key_id!r}; list them with: upshift key list", 404)
        if found.revoked is not None:
            raise ActError(f"key {key_id} is revoked already", 409)
        if found.role not in (Role.CALLER, Role.TENANT_ADMIN):
            self.only_admin(actor, f"touch a key with the role {found.role}")
        return found

    def _add(
        self,
        role: Role,
        name: str,
        actor: Actor,
        tenant: str = "",
        user: str = "",
        workloads: tuple[str, ...] = (),
        expires: Instant | None = None,
        replaces: str = "",
        agent: str = "",
    ) -> Issued:
        secret = _PREFIXES[role] + secrets.token_urlsafe(32)
        key = Key(
            id=KeyId(_name("key")),
            digest=digest(secret),
            hint=secret[:8],
            role=role,
            name=name,
            tenant=tenant,
            user=user,
            workloads=workloads,
            agent=agent,
            created=self.now(),
            expires=expires,
            replaces=replaces,
            by=actor.name,
        )
        self.journal.add_key(key)
        return Issued(key, secret)


def in_force(journal: Journal, present: Snapshot | None = None) -> InForce:
    """What the gateway judges by, read from the journal and compiled.

    A plan that cannot be compiled (kept by another version) leaves the `present` one in force, with the keys and
    consents of now. Raises ActError before the first plan, ValueError where there is no present one.
    """
    plan = journal.plan_in_force()
    if plan is None:
        raise ActError("no plan is in force yet; apply one with: upshift plan apply FILE", 409)
    keys = journal.keys()
    snapshot = present
    if present is None or present.hash != plan.hash:
        try:
            snapshot = compile_document(plan.document.decode())
        except ValueError as error:
            if present is None:
                raise
            log.error("plan.unreadable", plan=plan.hash, in_force=present.hash, problem=str(error))
    assert snapshot
    standing = journal.standing()
    return InForce(
        snapshot=snapshot,
        keys={key.digest: key for key in keys},
        consents={
            (each.tenant, each.workload): Consent(each.tenant, each.workload, each.by, each.limit)
            for each in journal.consents()
        },
        activations=standing.active,
        shares=standing.shares,
    )


def _name(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(8)}"
