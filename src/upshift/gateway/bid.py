"""What does a call offer the ledger, each time that it is asked?"""

import msgspec

from upshift.gateway.accounts import Accounts
from upshift.gateway.clock import Clock
from upshift.gateway.passes import Pass, Passes
from upshift.gateway.story import Story
from upshift.model.refusal import Busy, CannotServe, OverBudget, Refused
from upshift.model.span import Instant
from upshift.store.ledger import Admit, Deny, Read, Wait
from upshift.traffic import dispatch, gate
from upshift.traffic.affinity import Affinity
from upshift.traffic.gate import Crowded, Fare, Fit, Full, Offer
from upshift.traffic.health import Board
from upshift.traffic.route import Way, Ways, targets
from upshift.traffic.targets import Known, Target
from upshift.traffic.wire.ask import Ask


class Bid(msgspec.Struct, eq=False):
    """One call at the gate. What the ledger was last told is noted in the call's story."""

    story: Story
    ask: Ask
    let_in: Pass
    ways: Ways
    accounts: Accounts
    passes: Passes
    clock: Clock
    board: Board
    affinity: Affinity
    chance: float
    """A random number in [0, 1), the same for all that is decided of this call."""
    asked_at: int
    """A tick of the clock."""
    decided: tuple[Target, ...] = ()
    """Where it may be sent, where that is known from an attempt before."""
    now: Instant = 0
    """When the rule was last asked."""

    def __call__(self, read: Read, may_wait: bool) -> Admit | Wait | Deny:
        """The gate's verdict on these balances, at this moment, in the ledger's words."""
        self.now = self.clock.now()
        # Fares are made one at a time, so the story's account is that of the one that fits.
        return self._in_words(gate.admit(map(self._fare, self.ways.tried), read, may_wait), may_wait)

    def offer(self) -> Offer:
        """What the rule would be asked with now, for a ledger that decides elsewhere."""
        self.now = self.clock.now()
        fares = tuple(map(self._fare, self.ways.tried))
        return Offer(fares, min(claim.period.end for fare in fares for claim in fare.claims))

    def told(self, verdict: Fit | Crowded | Full) -> Admit | Deny:
        """What was decided elsewhere on the last offer, when waiting was over, in the ledger's words."""
        if isinstance(verdict, Fit):
            self._fare(self.ways.tried[verdict.step])
        answer = self._in_words(verdict, may_wait=False)
        assert not isinstance(answer, Wait)
        return answer

    def _in_words(self, verdict: Fit | Crowded | Full, may_wait: bool) -> Admit | Wait | Deny:
        if isinstance(verdict, Fit):
            account = self.story.account
            assert account
            self.story.fit = verdict
            return Admit(verdict.step, account.keys, verdict.amount)
        if isinstance(verdict, Full):
            return Deny(_over_budget(self.story, self.let_in, verdict, self.ways))
        return Wait(verdict.key) if may_wait else Deny(self._busy(verdict))

    def _fare(self, way: Way) -> Fare:
        story, let_in, now, ask = self.story, self.let_in, self.now, self.ask
        workload = let_in.work.workload
        targets = self.decided or let_in.sole(way, ask) or self._choice(way)
        account = let_in.accounts.get(way.bucket)
        if account is None or not account.start <= now < account.end:
            caller = let_in.caller
            account = self.accounts.of(caller.tenant, caller.user, workload, way.bucket, let_in.consent, now)
            let_in.accounts[way.bucket] = account
        first = targets[0].model
        outlook = let_in.outlook if first is let_in.work.model else self.passes.outlook_of(let_in, first)
        if len(targets) == 1:
            fare = gate.fare(ask, first, workload.gate.hold, account.claims, outlook)
        else:
            options = [(each.model, self.passes.outlook_of(let_in, each.model)) for each in targets]
            fare = gate.fare_for_any(ask, options, workload.gate.hold, account.claims)
        story.targets, story.account, story.outlook, story.input_tokens = targets, account, outlook, fare.input
        return fare

    def _choice(self, way: Way) -> tuple[Target, ...]:
        """Where the call may be sent on a way that has several routes. Raises Refused when nothing can carry it."""
        let_in = self.let_in
        session = self.story.session
        known = Known(
            board=self.board,
            now=self.now,
            input_tokens=let_in.outlook.input_tokens(self.ask.text_bytes, self.ask.images),
            output_tokens=let_in.outlook.output_tokens(),
            chance=self.chance,
            kept=self.affinity.of(session, self.now) if session else None,
        )
        found = targets(way, let_in.work, self.ask, known)
        if not found:
            needs = (f"a provider that takes it as {self.ask.dialect}",)
            raise Refused(CannotServe(way.model.name, needs, "ask for another model of the workload"))
        return found

    def _busy(self, crowded: Crowded) -> Busy:
        waited = (self.clock.tick() - self.asked_at) / 1e9
        return Busy(key=crowded.key, waited_seconds=waited, retry_seconds=5)


def _over_budget(story: Story, let_in: Pass, full: Full, ways: Ways) -> OverBudget:
    """The refusal of a call that no way is open for."""
    caller, workload = let_in.caller, let_in.work.workload
    claim, balance = full.claim, full.balance
    tokens = full.measure == "tokens"
    limit = (claim.limit.tokens if tokens else claim.limit.nano) or 0
    used, held, granted = balance.settled, balance.held, balance.granted
    ladder = ", then ".join(workload.gate.ladder)
    why = "; ".join(ways.closed) if ways.closed else f"the overage rule of this workload is {ladder}"
    others = dispatch.open_to(story.in_force.snapshot, caller.tenant.id, caller.key.workloads)
    return OverBudget(
        key=claim.key,
        measure=full.measure,
        used=(used.tokens + held.tokens) if tokens else (used.nano + held.nano),
        held=held.tokens if tokens else held.nano,
        limit=limit + (granted.tokens if tokens else granted.nano),
        needed=full.needed,
        resets_at=claim.period.end,
        zone=claim.period.zone,
        owner=caller.tenant.owner,
        why=why,
        still_open=(
            *(f"workload {each.id}" for each in others if each.id != workload.id),
            "the budget view and the list of models",
        ),
        how_to_ask=workload.gate.how_to_ask,
    )
