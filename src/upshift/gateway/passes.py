"""Who is this and what may they call? The rules' answer, remembered while what is in force stays the same.

Most calls of a key are alike: same secret, same workload, same model. What identify, dispatch and police said of the
first holds for the next, since they are pure and their inputs are the memory's key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upshift.gateway import accept
from upshift.gateway.accept import Said
from upshift.gateway.accounts import Account
from upshift.http import head
from upshift.model.budget import Bucket
from upshift.model.ids import RequestId
from upshift.model.metered import Metered
from upshift.traffic import disclose, dispatch, identify, police, route
from upshift.traffic.dispatch import Work
from upshift.traffic.identify import Caller
from upshift.traffic.outlook import IMAGE_TOKENS, Outlook
from upshift.traffic.route import Way, Ways
from upshift.traffic.snapshot import Consent, Dialect, InForce, Model
from upshift.traffic.targets import SAME_MODEL, Target
from upshift.traffic.wire.ask import Ask

if TYPE_CHECKING:
    from upshift.gateway.story import Story

_MOST = 20_000


class Pass:
    """One caller of one model of one workload, let through; with what is the same for all calls that are so alike."""

    __slots__ = (
        "_least_context",
        "_plain",
        "_requested",
        "_shown",
        "_sole",
        "accounts",
        "caller",
        "consent",
        "lasts",
        "opening",
        "outlook",
        "tasked",
        "work",
    )  # fmt: skip

    def __init__(
        self, in_force: InForce, ask: Ask, caller: Caller, work: Work, consent: Consent | None, outlook: Outlook
    ) -> None:
        workload, user = work.workload, caller.user
        self.caller = caller
        self.work = work
        self.consent = consent
        self.outlook = outlook
        self.accounts: dict[Bucket, Account] = {}
        """Those asked for lately; each is good while its periods last."""
        self.opening = Metered(
            request=RequestId(""),
            started=0,
            plan=in_force.snapshot.hash,
            tenant=caller.tenant.id,
            user=user.id,
            tier=user.tier,
            workload=workload.id,
            pod=workload.pod,
            project=workload.project,
            key=caller.key.id,
            dialect=ask.dialect.value,
            requested_model=ask.model[:200],
        )
        """The record of a call, as far as it is the same for all."""
        self._requested = ask.model
        self._plain: Ways | None = None
        self._least_context = min(model.context for model in (work.model, *workload.substitutes))
        self._shown: dict[tuple[Bucket, str], bytes] = {}
        self._sole: dict[Bucket, tuple[Way, tuple[Target, ...]]] = {}
        self.tasked = work.open_to_tasks and bool(workload.routing.tasks)
        """Whether a call's task may ask for another model."""
        self.lasts = caller.key.expires is None and caller.key.revoked is None
        """A key that ends by itself is looked at anew each time."""

    def ways(self, ask: Ask) -> Ways:
        """The ways to serve a call; the same for all that need no ability and fit every model. Raises Refused."""
        plain = not (ask.needs or ask.keeps_state)
        # A byte is at most one token: what is short enough by that need not be estimated.
        if plain and ask.text_bytes + ask.images * IMAGE_TOKENS < self._least_context and self._plain is not None:
            return self._plain
        input_tokens = self.outlook.input_tokens(ask.text_bytes, ask.images)
        if not plain or input_tokens >= self._least_context:
            return route.ways(ask, self.work, input_tokens, self.consent)
        if self._plain is None:
            self._plain = route.ways(ask, self.work, input_tokens, self.consent)
        return self._plain

    def sole(self, way: Way, ask: Ask) -> tuple[Target, ...] | None:
        """The one target of a way that has no other whatever happens; None where there is something to choose."""
        if ask.keeps_state:
            return None
        known = self._sole.get(way.bucket)
        if known is not None and known[0] is way:
            return known[1]
        model, routing = way.model, self.work.workload.routing
        if model.offers or routing.same_tier or routing.detours or self.work.tier:
            return None
        found = (Target(model, 0, SAME_MODEL, model.provider.serves(ask.dialect)),)
        self._sole[way.bucket] = (way, found)
        return found

    def shown(self, way: Way, model: Model) -> bytes:
        """The lines of the disclosure that are the same for all calls served this way."""
        name = (way.bucket, model.name)
        known = self._shown.get(name)
        if known is None:
            known = head.lines(disclose.of_way(self.opening.plan, self._requested, model.name, way.bucket))
            self._shown[name] = known
        return known


class _Last(msgspec.Struct, frozen=True, eq=False):
    """The pass of the call before on a connection, and by what else than its head it was found."""

    era: object
    """Of what was in force then; not that itself, which would live as long as an idle connection."""
    model: str
    hint: str
    found: Pass


class Passes:
    """Passes by what was asked with; forgotten as a whole when what is in force changes."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes | str | None, ...], Pass] = {}
        self._under: InForce | None = None
        self._era = object()
        """Another one for each that is in force."""
        self._outlooks: dict[tuple[str, str, str], Outlook] = {}

    def outlook(self, tenant: str, workload: str, model: str) -> Outlook:
        """What was learnt about a tenant's workload on a model: one tenant's calls never size another's holds."""
        found = self._outlooks.get((tenant, workload, model))
        if found is None:
            if len(self._outlooks) >= _MOST:
                self._outlooks.clear()
            found = self._outlooks[tenant, workload, model] = Outlook()
        return found

    def outlook_of(self, let_in: Pass, model: Model) -> Outlook:
        """The same of a model that may serve the calls of a pass."""
        work = let_in.work
        if model.name == work.model.name:
            return let_in.outlook
        return self.outlook(let_in.caller.tenant.id, work.workload.id, model.name)

    def of(self, story: Story, ask: Ask, said: Said) -> Pass:
        """The pass of a call. Raises Refused from identify, dispatch or police; who asked is in the story by then."""
        in_force, memory = story.in_force, story.exchange.known
        if in_force is not self._under:
            self._known.clear()
            self._under, self._era = in_force, object()
        last = memory.get(_Last)
        if isinstance(last, _Last) and last.era is self._era and last.model == ask.model and last.hint == ask.user_hint:
            found = last.found
        else:
            found = self._of(story, ask, said)
            if found.lasts:
                memory[_Last] = _Last(self._era, ask.model, ask.user_hint, found)
        if not found.tasked:
            return found
        story.caller = found.caller
        return self._for_task(found, said.task, story, ask)

    def _of(self, story: Story, ask: Ask, said: Said) -> Pass:
        in_force = story.in_force
        name = (*said.names, ask.user_hint, ask.model, ask.dialect)
        known = self._known.get(name)
        if known is not None:
            return known
        exchange = story.exchange
        header = exchange.header if ask.dialect is not Dialect.GEMINI else accept.headers_of(exchange)
        story.caller = caller = identify.who(in_force, header, ask.user_hint, story.started)
        work = dispatch.to(in_force.snapshot, caller, header(dispatch.WORKLOAD_HEADER), ask.model, ask.dialect)
        police.allow(work, ask.dialect)
        consent = in_force.consents.get((caller.tenant.id, work.workload.id))
        outlook = self.outlook(caller.tenant.id, work.workload.id, work.model.name)
        found = Pass(in_force, ask, caller, work, consent, outlook)
        if found.lasts:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[name] = found
        return found

    def _for_task(self, found: Pass, named: bytes | None, story: Story, ask: Ask) -> Pass:
        """The pass for the task that a call is of, in a workload that has tasks, where the client left it to them."""
        work = found.work
        input_tokens = found.outlook.input_tokens(ask.text_bytes, ask.images)
        for_task = dispatch.for_task(work, named, ask, input_tokens)
        if for_task is work:
            return found
        caller = found.caller
        outlook = self.outlook(caller.tenant.id, work.workload.id, for_task.model.name)
        return Pass(story.in_force, ask, caller, for_task, found.consent, outlook)
