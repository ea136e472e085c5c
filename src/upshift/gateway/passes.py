"""Who is this and what may they call? The rules' answer, remembered while what is in force stays the same.

Most calls of a key are alike: same secret, same workload, same model. What identify, dispatch and police said of the
first holds for the next, since they are pure and their inputs are the memory's key.
"""

from upshift.gateway.story import Story
from upshift.traffic import dispatch, identify, police
from upshift.traffic.dispatch import Work
from upshift.traffic.identify import Caller
from upshift.traffic.outlook import Outlook
from upshift.traffic.snapshot import Consent, InForce
from upshift.traffic.wire.ask import Ask

_MOST = 20_000


class Pass:
    """One caller of one model of one workload, let through."""

    __slots__ = ("caller", "consent", "outlook", "work")

    def __init__(self, caller: Caller, work: Work, consent: Consent | None, outlook: Outlook) -> None:
        self.caller = caller
        self.work = work
        self.consent = consent
        self.outlook = outlook


class Passes:
    """Passes by what was asked with; forgotten as a whole when what is in force changes."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes | str | None, ...], Pass] = {}
        self._under: InForce | None = None
        self._outlooks: dict[tuple[str, str], Outlook] = {}

    def outlook(self, workload: str, model: str) -> Outlook:
        """What was learnt about a workload on a model."""
        found = self._outlooks.get((workload, model))
        if found is None:
            if len(self._outlooks) >= _MOST:
                self._outlooks.clear()
            found = self._outlooks[workload, model] = Outlook()
        return found

    def of(self, story: Story, ask: Ask) -> Pass:
        """The pass of a call. Raises Refused from identify, dispatch or police; who asked is in the story by then."""
        in_force = story.in_force
        if in_force is not self._under:
            self._known.clear()
            self._under = in_force
        header = story.exchange.header
        workload = header(dispatch.WORKLOAD_HEADER)
        name = (
            header(b"authorization"),
            header(b"x-api-key"),
            header(b"x-goog-api-key"),
            header(identify.USER_HEADER),
            workload,
            ask.user_hint,
            ask.model,
            ask.dialect,
        )
        known = self._known.get(name)
        if known is not None:
            return known
        story.caller = caller = identify.who(in_force, header, ask.user_hint, story.started)
        work = dispatch.to(in_force.snapshot, caller, workload, ask.model, ask.dialect)
        police.allow(work, ask.dialect)
        consent = in_force.consents.get((caller.tenant.id, work.workload.id))
        found = Pass(caller, work, consent, self.outlook(work.workload.id, work.model.name))
        if caller.key.expires is None and caller.key.revoked is None:
            # A key that ends by itself is looked at anew each time.
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[name] = found
        return found
