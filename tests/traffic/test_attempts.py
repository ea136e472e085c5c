"""Is a call tried again only where it is safe, as often as allowed, where a route is open, and for as long as it may?"""

from collections.abc import Generator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.builders import BIG, NOW, SMALL, provider, steady

from upshift.model.span import MICROS
from upshift.traffic import attempts
from upshift.traffic.attempts import MOST, Done, GiveUp, Happened, KeepWaiting, Step, Try, course
from upshift.traffic.health import Board, State, Verdict
from upshift.traffic.snapshot import Model, Routing, Unsure
from upshift.traffic.targets import SAME_MODEL, SAME_TIER, Target


def at(name: str, base: Model = BIG) -> Model:
    return msgspec.structs.replace(base, provider=provider(name))


def target(name: str, stage: int = 0) -> Target:
    step = (SAME_MODEL, SAME_TIER, "home")[stage]
    return Target(at(name, SMALL if stage else BIG), stage, step, True)


A, B, C = target("a"), target("b"), target("c")
OTHER = target("d", 1)


class Rehearsal:
    """Runs a course against a script, with a clock that moves with the pauses."""

    def __init__(
        self,
        *targets: Target,
        routing: Routing | None = None,
        board: Board | None = None,
        deadline: float | None = None,
        chance: float = 0.0,
    ) -> None:
        self.board = board or Board()
        self.now = NOW
        until = None if deadline is None else NOW + int(deadline * MICROS)
        self.course: Generator[Step, Happened, None] = course(
            targets, routing or Routing(), self.board, NOW, until, chance
        )
        self.steps: list[Step] = [next(self.course)]

    @property
    def step(self) -> Step:
        return self.steps[-1]

    @property
    def trying(self) -> Try:
        assert isinstance(self.step, Try), self.step
        return self.step

    @property
    def done(self) -> Done:
        assert isinstance(self.step, Done), self.step
        return self.step

    @property
    def over(self) -> GiveUp:
        assert isinstance(self.step, GiveUp), self.step
        return self.step

    def tell(self, after: float = 0.01, **said: object) -> "Rehearsal":
        pause = self.step.pause if isinstance(self.step, Try) else 0.0
        self.now += int((pause + after) * MICROS)
        happened = msgspec.convert({"now": self.now, "seconds": after, **said}, Happened, from_attributes=True)
        self.steps.append(self.course.send(happened))
        return self

    def status(self, status: int, retry_after: float | None = None) -> "Rehearsal":
        return self.tell(status=status, retry_after=retry_after)

    def trouble(self, kind: str = "connect", *, sent: bool = False) -> "Rehearsal":
        return self.tell(trouble=kind, request_sent=sent)

    def cut(self) -> "Rehearsal":
        """Its connection ends before anything of an answer has come."""
        return self.tell(trouble="reset", request_sent=True, cut=True)


def test_an_answer_ends_it() -> None:
    run = Rehearsal(A, B)
    assert run.trying.target == A
    assert (run.trying.pause, run.trying.number, run.trying.holds_anew) == (0.0, 1, False)
    assert run.trying.seconds == A.provider.timeouts.first_byte
    assert run.status(200).done == Done(A, (), ())
    assert attempts.reason_of(run.done) == ""
    assert run.board.pace(A.model).typical == pytest.approx(0.01)
    with pytest.raises(StopIteration):
        next(run.course)


@pytest.mark.parametrize("status", [400, 404 + 1, 413, 422, 418])
def test_what_is_wrong_with_the_call_itself_is_an_answer(status: int) -> None:
    assert Rehearsal(A, B).status(status).done.target == A


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529, 401, 402, 403, 404])
def test_what_was_not_served_is_tried_elsewhere(status: int) -> None:
    run = Rehearsal(A, B).status(status)
    assert run.trying.target == B
    assert not run.trying.holds_anew
    done = run.status(200).done
    assert done.target == B
    assert attempts.said(done.trail) == f"a status-{status}"
    assert attempts.reason_of(done) == "failover:same-model"


def test_so_is_what_was_never_sent() -> None:
    assert Rehearsal(A, B).trouble("connect").trying.target == B
    assert Rehearsal(A, B).trouble("pool_timeout").trying.target == B
    assert Rehearsal(A, B).tell(unfit="audio cannot be translated").trying.target == B


@pytest.mark.parametrize("kind", ["first_byte_timeout", "reset", "protocol"])
def test_what_may_have_been_billed_is_not_repeated_anywhere(kind: str) -> None:
    over = Rehearsal(A, B, routing=Routing(retries=3)).trouble(kind, sent=True).over
    assert over.why == "may-have-been-billed"
    assert [each.unsure for each in over.trail] == [True]
    assert Rehearsal(A, B).status(504).over.why == "may-have-been-billed"


def test_a_call_that_was_cut_goes_on_once_elsewhere_with_a_hold_of_its_own() -> None:
    run = Rehearsal(A, B, C).cut()
    assert run.trying.target == B
    assert run.trying.holds_anew
    assert [each.unsure for each in run.status(200).done.trail] == [True]
    # No third time, and never where it was cut.
    assert Rehearsal(A, B, C).cut().cut().over.why == "may-have-been-billed"
    assert Rehearsal(A, routing=Routing(retries=3)).cut().over.why == "every-route-failed"
    after = Rehearsal(A, B, routing=Routing(retries=3)).cut().status(500)
    assert after.trying.target == B
    assert Rehearsal(A, B, routing=Routing(retry_unsure=Unsure.NEVER)).cut().over.why == "may-have-been-billed"


def test_what_is_waited_for_in_vain_goes_on_once_the_provider_answers_nobody() -> None:
    board = Board()
    waiting = [Rehearsal(A, B, C, board=board) for _ in range(7)]
    for run in waiting[:4]:
        assert run.trouble("first_byte_timeout", sent=True).over.why == "may-have-been-billed"
    assert waiting[4].trouble("first_byte_timeout", sent=True).trying.target == B
    assert waiting[4].trying.holds_anew
    assert waiting[4].trouble("first_byte_timeout", sent=True).over.why == "may-have-been-billed"
    assert waiting[5].trouble("protocol", sent=True).over.why == "may-have-been-billed"
    assert waiting[6].status(504).over.why == "may-have-been-billed"


def test_what_is_waited_for_in_vain_goes_on_while_a_trial_is_waited_for() -> None:
    board = Board()
    waiting = [Rehearsal(A, B, C, board=board) for _ in range(8)]
    for seconds, run in enumerate(waiting):
        run.tell(float(seconds), trouble="first_byte_timeout")
        if seconds == 5:
            # The pause was over, and another call is the trial.
            assert board.begin(A.model, run.now, 60.0, repeat=False)
    assert [isinstance(run.step, Try) for run in waiting] == [False] * 4 + [True] * 4


def test_what_many_wait_for_in_vain_goes_on_at_once() -> None:
    run = Rehearsal(A, B, C).tell(2.0, trouble="first_byte_timeout", silent=True)
    assert run.trying.target == B
    assert run.tell(2.0, trouble="first_byte_timeout", silent=True).over.why == "may-have-been-billed"
    never = Rehearsal(A, B, routing=Routing(retry_unsure=Unsure.NEVER))
    assert never.tell(2.0, trouble="first_byte_timeout", silent=True).over.why == "may-have-been-billed"


def test_of_two_that_are_cut_beside_each_other_one_goes_on() -> None:
    run = Rehearsal(A, B, C, routing=Routing(hedge_after=2.0)).tell(2.0, slow=True)
    assert isinstance(run.tell(target=A, trouble="reset", cut=True).step, KeepWaiting)
    assert run.tell(target=B, trouble="reset", cut=True).over.why == "may-have-been-billed"


@pytest.mark.parametrize("kind", ["first_byte_timeout", "reset", "protocol"])
def test_whatever_happened_where_the_plan_says_so(kind: str) -> None:
    run = Rehearsal(A, B, routing=Routing(retry_unsure=Unsure.ALWAYS)).trouble(kind, sent=True)
    assert run.trying.target == B
    assert run.trying.holds_anew
    assert [each.unsure for each in run.status(200).done.trail] == [True]


def test_a_hold_that_is_free_again_is_taken_over() -> None:
    run = Rehearsal(A, B, C, routing=Routing(retry_unsure=Unsure.ALWAYS)).trouble("reset", sent=True)
    assert run.trying.holds_anew
    assert not run.status(500).trying.holds_anew


def test_never_past_the_first_byte() -> None:
    run = Rehearsal(A, B, routing=Routing(retry_unsure=Unsure.ALWAYS, retries=3))
    over = run.tell(trouble="idle_timeout", request_sent=True, first_byte_seen=True).over
    assert over.why == "may-have-been-billed"


def test_the_last_failure_is_what_remains() -> None:
    over = Rehearsal(A, B).status(503).status(500).over
    assert over.why == "no-tries-left"
    assert attempts.said(over.trail) == "a status-503, b status-500"
    assert Rehearsal(A).status(500).over.why == "no-tries-left"


def test_the_same_route_is_tried_again_where_no_other_of_the_model_is_left() -> None:
    run = Rehearsal(A, B, OTHER, routing=Routing(retries=1)).status(500).status(500)
    assert run.trying.target == A
    assert run.trying.pause == 0.25
    run.status(500)
    assert run.trying.target == OTHER
    done = run.status(200).done
    assert attempts.reason_of(done) == "failover:same-tier"
    again = Rehearsal(A, routing=Routing(retries=1)).status(500).status(200).done
    assert attempts.reason_of(again) == "retried"


def test_a_tier_named_is_said() -> None:
    done = Rehearsal(A, target("e", 2)).status(500).status(200).done
    assert attempts.reason_of(done) == "failover:tier home"


def test_pauses_grow_and_spread() -> None:
    for chance, expected in ((0.0, [0.125, 0.25, 0.5]), (1.0, [0.25, 0.5, 1.0])):
        run = Rehearsal(A, routing=Routing(retries=3), chance=chance)
        assert [run.status(500).trying.pause for _ in range(3)] == expected


def test_retry_after_is_waited_for_where_it_is_short() -> None:
    assert Rehearsal(A, routing=Routing(retries=1)).status(429, 3.0).trying.pause == pytest.approx(3.0, abs=0.1)
    over = Rehearsal(A, routing=Routing(retries=1)).status(429, 60.0).over
    assert over.why == "every-route-failed"
    assert over.retry_after == pytest.approx(60.0, abs=0.1)
    # Another model is rather taken than a pause that a person would notice.
    assert Rehearsal(A, OTHER, routing=Routing(retries=1)).status(429, 3.0).trying.target == OTHER


def test_a_credential_that_is_refused_is_not_tried_again() -> None:
    assert Rehearsal(A, routing=Routing(retries=3)).status(401).over.why == "every-route-failed"
    assert Rehearsal(A, routing=Routing(retries=3)).trouble("not-configured").over.why == "every-route-failed"


def test_a_deadline_bounds_every_attempt() -> None:
    run = Rehearsal(A, B, C, deadline=10.0)
    assert run.trying.seconds == pytest.approx(10.0)
    run.tell(9.0, status=500)
    assert run.trying.seconds == pytest.approx(1.0)
    assert run.tell(0.99, status=500).over.why == "deadline"
    late = Rehearsal(A, routing=Routing(retries=3), deadline=1.0).status(429, 2.0)
    assert late.over.why == "every-route-failed"
    assert Rehearsal(A, deadline=0.0).over.why == "deadline"


def outage(board: Board, each: Target) -> None:
    for _ in range(5):
        board.begin(each.model, NOW, 1.0, repeat=False)
        board.end(each.model, Verdict.DOWN, NOW)


def test_a_provider_that_is_out_is_passed_over() -> None:
    board = Board()
    outage(board, A)
    assert Rehearsal(A, B, board=board).trying.target == B
    over = Rehearsal(A, board=board).over
    assert (over.why, over.trail) == ("no-route-open", ())
    assert over.retry_after == pytest.approx(1.0)


def test_it_is_tried_again_by_one_call() -> None:
    board = Board()
    outage(board, A)
    later = NOW + 2 * MICROS
    first, second = (course((A, B), Routing(), board, later, None, 0.0) for _ in range(2))
    one, two = next(first), next(second)
    assert isinstance(one, Try)
    assert isinstance(two, Try)
    assert (one.target, two.target) == (A, B)
    assert isinstance(first.send(Happened(now=later + 5, status=200, seconds=0.1)), Done)
    assert board.circuit(A.provider.id).state(later + 6) is State.CLOSED


def test_a_trial_whose_client_left_makes_room_for_another() -> None:
    board = Board()
    outage(board, A)
    later = NOW + 2 * MICROS
    first = course((A,), Routing(), board, later, None, 0.0)
    next(first)
    assert board.circuit(A.provider.id).state(later) is State.ON_TRIAL
    first.close()
    assert board.circuit(A.provider.id).state(later) is State.HALF_OPEN


def test_a_model_that_asked_for_rest_is_left_alone_while_there_is_another() -> None:
    board = Board()
    board.rest(A.model, NOW, 30.0)
    assert Rehearsal(A, B, board=board).trying.target == B
    assert Rehearsal(A, OTHER, board=board).trying.target == OTHER
    assert Rehearsal(A, board=board).trying.target == A
    assert Rehearsal(A, B, board=board).status(500).over.why == "every-route-failed"


def test_an_outage_is_no_reason_for_a_storm() -> None:
    board = Board()
    tried = 0
    for _ in range(100):
        run = Rehearsal(A, routing=Routing(retries=5), board=board)
        while isinstance(run.step, Try):
            tried += 1
            run.status(500)
            board.end(A.model, Verdict.WELL, run.now)
    assert tried <= 100 + 10 + 100 * 0.1


def test_a_hedge_is_begun_beside_a_slow_attempt_and_the_first_answer_wins() -> None:
    run = Rehearsal(A, B, C, routing=Routing(hedge_after=2.0))
    assert run.trying.hedge_after == 2.0
    hedge = run.tell(2.0, slow=True).trying
    assert (hedge.target, hedge.holds_anew) == (B, True)
    assert hedge.hedge_after is None
    assert isinstance(run.tell(2.0, slow=True).step, KeepWaiting)
    done = run.tell(0.5, target=A, status=200).done
    assert (done.target, done.left) == (A, (B,))


def test_the_hedge_goes_on_when_the_first_fails_for_good() -> None:
    run = Rehearsal(A, B, C, routing=Routing(hedge_after=2.0)).tell(2.0, slow=True)
    assert isinstance(run.tell(target=A, trouble="reset", request_sent=True).step, KeepWaiting)
    assert run.tell(target=B, status=200).done.target == B
    lost = Rehearsal(A, B, C, routing=Routing(hedge_after=2.0)).tell(2.0, slow=True)
    lost.tell(target=A, trouble="reset", request_sent=True).tell(target=B, status=500)
    assert lost.over.why == "may-have-been-billed"


def test_a_call_is_said_to_be_hedged_only_where_the_second_attempt_won() -> None:
    for winner, said in ((A, ""), (B, "hedged")):
        run = Rehearsal(A, B, routing=Routing(hedge_after=0.1)).tell(slow=True).tell(target=winner, status=200)
        assert (attempts.reason_of(run.done), len(run.done.left)) == (said, 1)
    run = Rehearsal(A, B, routing=Routing(hedge_after=0.1)).tell(slow=True).tell(target=B, unfit="no-budget")
    assert isinstance(run.step, KeepWaiting)
    done = run.tell(target=A, status=200).done
    assert (attempts.reason_of(done), attempts.said(done.trail)) == ("", "b no-budget")


@pytest.mark.parametrize(("status", "tried"), [(503, 2), (200, 1)])
def test_a_course_goes_on_from_an_attempt_that_was_made_without_asking(status: int, tried: int) -> None:
    board = Board()
    outage(board, A)
    # It found the circuit closed, and others have opened it meanwhile.
    made = Happened(now=NOW, status=status, seconds=0.1)
    steps = course([A, B], Routing(), board, NOW, None, 0.0, made)
    step = next(steps)
    if tried == 1:
        assert step == Done(A, (), ())
    else:
        assert isinstance(step, Try)
        assert (step.target, step.number) == (B, 2)
    assert board.circuit(A.provider.id).state(NOW) is State.OPEN
    steps.close()


def test_a_client_without_patience_says_nothing_of_a_provider() -> None:
    board = Board()
    for _ in range(30):
        Rehearsal(A, B, board=board, deadline=0.1).tell(0.1, trouble="first_byte_timeout", request_sent=True)
    assert board.circuit(A.provider.id).state(NOW) is State.CLOSED
    board.quick(A.model, 0.01)
    for _ in range(30):
        Rehearsal(A, B, board=board, deadline=0.1).tell(0.1, trouble="first_byte_timeout", request_sent=True)
    assert board.circuit(A.provider.id).state(NOW) is State.OPEN, "that is usually quicker"


def test_another_model_is_no_hedge() -> None:
    assert isinstance(Rehearsal(A, OTHER, routing=Routing(hedge_after=2.0)).tell(2.0, slow=True).step, KeepWaiting)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [((None,), None), ((b"600",), 600.0), ((b"600", b"20"), 20.0), ((b"x", b"-1", b"nan", b"inf"), None)],
)
def test_what_a_client_says_of_its_patience(said: tuple[bytes | None, ...], seconds: float | None) -> None:
    assert attempts.asked_seconds(*said) == seconds


HAPPENINGS = st.one_of(
    st.builds(lambda status: {"status": status}, st.sampled_from([200, 400, 401, 404, 429, 500, 503, 504, 529])),
    st.builds(
        lambda kind, sent, seen: {"trouble": kind, "request_sent": sent or seen, "first_byte_seen": seen},
        st.sampled_from(["connect", "reset", "first_byte_timeout", "pool_timeout", "not-configured"]),
        st.booleans(),
        st.booleans(),
    ),
    st.just({"trouble": "reset", "request_sent": True, "cut": True}),
    st.just({"trouble": "first_byte_timeout", "request_sent": True, "silent": True}),
    st.just({"unfit": "no"}),
    st.just({"slow": True}),
)
ROUTINGS = st.builds(
    Routing,
    retries=st.integers(0, 5),
    retry_unsure=st.sampled_from(Unsure),
    hedge_after=st.none() | st.just(2.0),
)
TARGETS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(0, 2)), max_size=6, unique_by=lambda each: each[0]
).map(lambda each: [target(name, stage) for name, stage in sorted(each, key=lambda one: one[1])])


@steady
@given(TARGETS, ROUTINGS, st.lists(HAPPENINGS, max_size=30), st.none() | st.floats(0, 100), st.floats(0, 1), st.data())
def test_every_course_ends_within_its_bounds(
    targets: list[Target],
    routing: Routing,
    script: list[dict[str, object]],
    deadline: float | None,
    chance: float,
    data: st.DataObject,
) -> None:
    run = Rehearsal(*targets, routing=routing, deadline=deadline, chance=chance)
    in_flight: list[Target] = []
    tried: list[Target] = []
    unsafe, outages = False, 0
    failing: list[dict[str, object]] = [{"status": 500} for _ in range(40)]
    for said in [*script, *failing]:
        step = run.step
        if isinstance(step, Done | GiveUp):
            break
        if isinstance(step, Try):
            assert step.target in targets
            assert step.seconds > 0
            assert not unsafe
            if deadline is not None:
                assert run.now + (step.pause + step.seconds) * MICROS <= NOW + deadline * MICROS + MICROS
            in_flight.append(step.target)
            tried.append(step.target)
        assert 1 <= len(in_flight) <= 2
        if said.get("slow"):
            run.tell(2.0, **said)
            continue
        ended = data.draw(st.sampled_from(in_flight)) if len(in_flight) > 1 else in_flight[0]
        in_flight.remove(ended)
        billed = bool(said.get("trouble") and said.get("request_sent")) or said.get("status") == 504
        run.tell(0.01, target=ended, **said)
        closed = run.board.circuit(ended.provider.id).state(run.now) is State.CLOSED
        in_vain = said.get("trouble") == "first_byte_timeout" and (bool(said.get("silent")) or not closed)
        outage = billed and (bool(said.get("cut")) or in_vain)
        outages += outage
        taken = routing.retry_unsure is Unsure.ALWAYS or (
            routing.retry_unsure is Unsure.OUTAGE and outage and outages == 1
        )
        unsafe |= bool(said.get("first_byte_seen")) or (billed and not taken)
    assert isinstance(run.step, Done | GiveUp)
    assert len(tried) <= min(MOST, len(targets) + routing.retries)
    assert set(run.step.left) == set(in_flight)
    fresh = [each for index, each in enumerate(tried) if each not in tried[:index]]
    assert len(tried) - len(fresh) <= routing.retries
    if not targets:
        assert isinstance(run.step, GiveUp)


@steady
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([200, 500, 503, 429]), st.integers(0, MICROS)), max_size=60)
)
def test_an_open_circuit_is_only_tried_by_one_call_at_a_time(script: list[tuple[int, int, int]]) -> None:
    board, now = Board(), NOW
    outage(board, A)
    running: dict[int, tuple[Generator[Step, Happened, None], Try, bool]] = {}
    for number, status, wait in script:
        now += wait
        if number in running:
            call, _, _ = running.pop(number)
            step = call.send(Happened(now=now, status=status, seconds=0.1))
        else:
            was = board.circuit(A.provider.id).state(now)
            call = course((A, B), Routing(retries=1), board, now, None, 0.0)
            step = next(call)
            if isinstance(step, Try) and step.target == A:
                assert was in (State.CLOSED, State.HALF_OPEN)
        if isinstance(step, Try):
            trial = step.target == A and board.circuit(A.provider.id).state(now) is State.ON_TRIAL
            running[number] = (call, step, trial)
        trials = [each for each in running.values() if each[2]]
        assert len(trials) <= 1
