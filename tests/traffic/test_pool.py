"""Is a pool never fuller than it may be, is its queue fair, and does nobody wait for nothing?"""

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from upshift.model.ids import RequestId, TenantId, UserId, WorkloadId
from upshift.model.pool import UNLIMITED, Limits, Place, Pool, Rate, Reserve, Scarce, Shortage
from upshift.model.span import MICROS
from upshift.traffic.pool import MOST_KEPT, Away, CapacityPool, In

CHAT, BATCH = WorkloadId("chat"), WorkloadId("batch")
MINUTE = 60 * MICROS


def pool(concurrent: int | None = 2, *, queue: int = 10, wait: float = 10.0, **more: object) -> Pool:
    limits = Limits(concurrent)
    made = Pool(id="p", total=limits, common=limits, queue=queue, wait_seconds=wait)
    return msgspec.structs.replace(made, **more)


def shared(total: int, *, chat: int, lends: bool, queue: int = 10) -> Pool:
    """A pool of two workloads, in which chat has a reserve."""
    reserve = Reserve(CHAT, Limits(chat), lends)
    return Pool(
        id="p", total=Limits(total), common=Limits(total - chat), reserves=(reserve,), queue=queue, wait_seconds=10.0
    )


def place(number: int, user: str = "alice", *, workload: WorkloadId = CHAT, tokens: int = 10) -> Place:
    return Place(RequestId(f"r{number}"), workload, TenantId("acme"), UserId(user), tokens)


def entered(at: CapacityPool) -> list[str]:
    """Who has come in from the queue since it was last asked."""
    found, at.news = at.news, []
    return [each.request for each in found if isinstance(each, In)]


def shortage(verdict: object) -> Shortage:
    assert isinstance(verdict, Away)
    return verdict.shortage


def test_beyond_its_limit_calls_wait_and_come_in_as_others_leave() -> None:
    at = CapacityPool(pool())
    assert [at.enter(place(number), 0) for number in range(4)] == [In(RequestId("r0")), In(RequestId("r1")), None, None]
    at.leave(RequestId("r0"), 5, 1)
    assert entered(at) == ["r2"]
    at.leave(RequestId("r0"), 5, 1)
    assert entered(at) == []
    at.leave(RequestId("r3"), None, 2)
    at.leave(RequestId("r1"), 5, 3)
    at.leave(RequestId("r2"), 5, 3)
    assert (entered(at), at.empty) == ([], True)


def test_users_take_turns_and_each_is_served_in_the_order_of_arrival() -> None:
    at = CapacityPool(pool(1))
    at.enter(place(0), 0)
    for number, user in enumerate(("alice", "alice", "alice", "bob", "carol", "bob"), 1):
        assert at.enter(place(number, user), 0) is None
    order = []
    leaving = "r0"
    for _ in range(6):
        at.leave(RequestId(leaving), 0, 1)
        (leaving,) = entered(at)
        order.append(leaving)
    assert order == ["r1", "r4", "r5", "r2", "r6", "r3"]


def test_a_user_at_their_own_limit_keeps_nobody_else_waiting() -> None:
    at = CapacityPool(pool(3, per_user=Limits(1)))
    assert isinstance(at.enter(place(0), 0), In)
    assert at.enter(place(1), 0) is None
    assert isinstance(at.enter(place(2, "bob"), 0), In)
    at.leave(RequestId("r0"), 0, 1)
    assert entered(at) == ["r1"]


def test_who_waits_too_long_is_told_what_is_scarce_and_when_to_come_again() -> None:
    at = CapacityPool(pool(1, wait=2.0))
    at.enter(place(0), 0)
    assert at.enter(place(1), 0) is None
    assert at.due == 2 * MICROS
    at.look(2 * MICROS - 1)
    assert at.news == []
    at.look(2 * MICROS)
    (away,) = at.news
    told = shortage(away)
    assert (told.scarce, told.whose, told.limit) == (Scarce.CONCURRENT, "pool", "1 calls at once")
    assert (told.waited_seconds, told.retry_seconds >= 1, at.refused) == (2.0, True, 1)
    assert at.due is None


def test_a_rate_lets_in_when_its_time_has_come_and_says_when_that_is() -> None:
    at = CapacityPool(pool(None, common=Limits(requests=Rate(60, MINUTE, 2))))
    assert [isinstance(at.enter(place(number), 0), In) for number in range(3)] == [True, True, False]
    assert at.due == MICROS
    at.look(MICROS)
    assert entered(at) == ["r2"]


def test_a_rate_without_a_queue_refuses_with_the_time_to_wait() -> None:
    rate = Limits(tokens=Rate(60, MINUTE, 30))
    at = CapacityPool(pool(None, queue=0, total=rate, common=rate))
    assert isinstance(at.enter(place(0, tokens=30), 0), In)
    told = shortage(at.enter(place(1, tokens=20), 0))
    assert (told.scarce, told.limit, told.retry_seconds) == (Scarce.TOKENS, "60/min tokens", 20)


def test_tokens_are_charged_as_expected_and_corrected_at_the_end() -> None:
    at = CapacityPool(pool(None, queue=0, common=Limits(tokens=Rate(60, MINUTE, 30))))
    at.enter(place(0, tokens=30), 0)
    at.leave(RequestId("r0"), 10, 0)
    assert isinstance(at.enter(place(1, tokens=20), 0), In)
    at.leave(RequestId("r1"), 50, 0)
    assert shortage(at.enter(place(2, tokens=1), 0)).retry_seconds == 31


def test_a_call_that_was_never_sent_costs_no_request() -> None:
    at = CapacityPool(pool(None, queue=0, common=Limits(requests=Rate(60, MINUTE, 1))))
    at.enter(place(0), 0)
    at.leave(RequestId("r0"), None, 0)
    assert isinstance(at.enter(place(1), 0), In)
    at.leave(RequestId("r1"), 0, 0)
    assert isinstance(at.enter(place(2), 0), Away)


def test_small_calls_do_not_keep_a_large_one_out() -> None:
    at = CapacityPool(pool(None, common=Limits(tokens=Rate(60, MINUTE, 60))))
    at.enter(place(0, tokens=60), 0)
    assert at.enter(place(1, "alice", tokens=60), 0) is None
    assert at.enter(place(2, "bob", tokens=1), 30 * MICROS) is None
    at.look(60 * MICROS)
    assert entered(at) == ["r1"]


def test_a_full_queue_takes_from_the_longest_line_for_somebody_with_a_shorter_one() -> None:
    at = CapacityPool(pool(1, queue=3))
    for number in range(4):
        at.enter(place(number), 0)
    assert at.enter(place(4, "bob"), 0) is None
    (away,) = at.news
    assert (away.request, shortage(away).scarce) == ("r3", Scarce.QUEUE)
    told = shortage(at.enter(place(5), 0))
    assert (told.scarce, told.limit) == (Scarce.QUEUE, "1 calls at once, and 3 calls in its queue")


def test_a_reserve_is_there_for_its_owner_whatever_others_do() -> None:
    at = CapacityPool(shared(4, chat=2, lends=False, queue=1))
    found = [at.enter(place(number, workload=BATCH), 0) for number in range(4)]
    assert [type(each) for each in found] == [In, In, type(None), Away]
    assert [isinstance(at.enter(place(10 + number), 0), In) for number in range(2)] == [True, True]
    # The queue is one for each workload too.
    assert at.enter(place(12), 0) is None
    assert at.use().by_workload == ((BATCH, 2, 1), (CHAT, 2, 1))


def test_only_what_is_lent_is_used_by_others_and_it_returns_to_its_owner_first() -> None:
    at = CapacityPool(shared(4, chat=2, lends=True))
    assert all(isinstance(at.enter(place(number, workload=BATCH), 0), In) for number in range(4))
    assert at.enter(place(4, workload=BATCH), 0) is None
    assert at.enter(place(10), 0) is None
    at.leave(RequestId("r3"), 0, 1)
    assert entered(at) == ["r10"]
    at.leave(RequestId("r0"), 0, 2)
    assert entered(at) == ["r4"]


def test_a_change_of_plan_lets_waiting_calls_in_and_nobody_out() -> None:
    at = CapacityPool(pool(1))
    for number in range(4):
        at.enter(place(number, f"u{number}"), 0)
    at.change(pool(3), 1)
    assert entered(at) == ["r1", "r2"]
    at.change(pool(1), 2)
    for leaving in ("r0", "r1"):
        at.leave(RequestId(leaving), 0, 3)
        assert entered(at) == []
    at.leave(RequestId("r2"), 0, 4)
    assert entered(at) == ["r3"]


def test_a_call_that_somebody_else_let_in_counts_though_there_is_no_room() -> None:
    at = CapacityPool(pool(1))
    at.enter(place(0), 0)
    at.enter(place(1), 0)
    at.adopt(place(1), 0)
    at.adopt(place(1), 0)
    assert (at.use().in_use, at.use().waiting) == (2, 0)
    assert isinstance(at.enter(place(1), 0), In)
    assert at.enter(place(2), 0) is None
    at.leave(RequestId("r0"), 0, 1)
    assert entered(at) == []
    at.leave(RequestId("r1"), 0, 1)
    assert entered(at) == ["r2"]


def test_users_who_rest_are_forgotten() -> None:
    at = CapacityPool(pool(None, common=UNLIMITED, per_user=Limits(1), per_tenant=Limits(100)))
    for number in range(MOST_KEPT + 5):
        at.enter(place(number, f"u{number}"), 0)
        at.leave(RequestId(f"r{number}"), 0, 0)
    assert len(at._users) < 10


@pytest.mark.parametrize(("per", "whose"), [("per_user", "user"), ("per_tenant", "tenant")])
def test_a_refusal_names_whose_limit_it_is(per: str, whose: str) -> None:
    limits = {per: Limits(1)}
    at = CapacityPool(msgspec.structs.replace(pool(9, queue=0), **limits))
    at.enter(place(0), 0)
    told = shortage(at.enter(place(1), 0))
    assert (told.whose, told.limit) == (whose, "1 calls at once")


USERS = ("alice", "bob", "carol")
RATE = Rate(120, MINUTE, 4)


class PoolMachine(RuleBasedStateMachine):
    """A shared pool under whatever may happen to it, beside a plain account of who is in."""

    def __init__(self) -> None:
        super().__init__()
        self.now = MINUTE
        self.lends = False
        self.total = 4
        self.at = CapacityPool(self.plan())
        self.inside: dict[str, Place] = {}
        self.waiting: dict[str, tuple[Place, int]] = {}
        self.number = 0
        self.let_in: list[int] = []
        self.over = False
        """Since a plan with less room, there may be more inside than that."""

    def plan(self) -> Pool:
        reserve = Reserve(CHAT, Limits(2), self.lends)
        return Pool(
            id="p", total=Limits(self.total, RATE), common=Limits(self.total - 2, RATE), reserves=(reserve,),
            per_user=Limits(2), per_tenant=Limits(5), queue=4, wait_seconds=5.0,
        )  # fmt: skip

    def hear(self) -> None:
        news, self.at.news = self.at.news, []
        for each in news:
            found, since = self.waiting.pop(each.request)
            if isinstance(each, In):
                self.come_in(found)
            elif each.shortage.scarce is not Scarce.QUEUE:
                assert self.now - since >= 5 * MICROS

    def come_in(self, found: Place) -> None:
        # Per user and workload, in the order of arrival.
        line = (found.workload, found.user)
        for other, _ in self.waiting.values():
            assert (other.workload, other.user) != line or int(other.request[1:]) > int(found.request[1:])
        self.inside[found.request] = found
        if found.workload == BATCH:
            self.let_in.append(self.now)

    @rule(user=st.sampled_from(USERS), workload=st.sampled_from([CHAT, BATCH]))
    def enter(self, user: str, workload: WorkloadId) -> None:
        self.number += 1
        wanted = place(self.number, user, workload=workload)
        verdict = self.at.enter(wanted, self.now)
        if verdict is None:
            self.waiting[wanted.request] = wanted, self.now
            self.hear()
            return
        self.hear()
        if isinstance(verdict, In):
            self.come_in(wanted)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.inside:
            request = data.draw(st.sampled_from(sorted(self.inside)))
            del self.inside[request]
            self.at.leave(RequestId(request), 10, self.now)
            self.hear()

    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        if self.waiting:
            request = data.draw(st.sampled_from(sorted(self.waiting)))
            del self.waiting[request]
            self.at.leave(RequestId(request), None, self.now)
            self.hear()

    @rule(seconds=st.sampled_from([0.001, 0.3, 1.0, 6.0]))
    def pass_time(self, seconds: float) -> None:
        until = self.now + int(seconds * MICROS)
        while self.at.due is not None and self.at.due <= until:
            assert self.at.due > self.now, "it asks to be looked at again at once"
            self.now = self.at.due
            self.at.look(self.now)
            self.hear()
        self.now = until

    @rule(total=st.integers(3, 6), lends=st.booleans())
    def change(self, total: int, lends: bool) -> None:
        self.over = self.over or total < self.total or lends != self.lends
        self.total, self.lends = total, lends
        self.at.change(self.plan(), self.now)
        self.hear()

    @invariant()
    def never_more_than_the_limits(self) -> None:
        by = {each: sum(held.workload == each for held in self.inside.values()) for each in (CHAT, BATCH)}
        if not self.inside:
            self.over = False
        if not self.over:
            assert len(self.inside) <= self.total
            if not self.lends:
                assert by[BATCH] <= self.total - 2
        for user in USERS:
            assert sum(held.user == user for held in self.inside.values()) <= 2
        assert len(self.inside) <= 5 or self.over

    @invariant()
    def the_rate_holds_over_every_window(self) -> None:
        # Chat's reserve has no rate here, and batch has no other way in than what is common or lent.
        if self.lends or self.over:
            self.let_in.clear()
        for first in range(len(self.let_in)):
            count = len(self.let_in) - first
            assert (
                count * RATE.period <= RATE.burst * RATE.period + (self.let_in[-1] - self.let_in[first]) * RATE.amount
            )

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        use = self.at.use()
        assert (use.in_use, use.waiting) == (len(self.inside), len(self.waiting))
        if self.over or len(self.inside) >= 5:
            return
        owned = sum(held.workload == CHAT for held in self.inside.values())
        for waits, _ in self.waiting.values():
            own = sum(held.user == waits.user for held in self.inside.values())
            if waits.workload == CHAT and own < 2 and not self.lends:
                assert owned >= 2, "its reserve is free"

    @invariant()
    def somebody_will_look_again_while_anybody_waits(self) -> None:
        assert (self.at.due is not None) == bool(self.waiting)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
