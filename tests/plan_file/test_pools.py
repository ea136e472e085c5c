"""Is what a plan says of capacity read, refused, divided and compared as it is meant?"""

import pytest
from tests.end_to_end.stack import plan_text

from upshift.model.ids import WorkloadId
from upshift.model.pool import Limits, Pool, Rate
from upshift.model.span import MICROS
from upshift.plan_file import PlanError, compile_document, difference, loads

MINUTE = 60 * MICROS


def text(chat: str = "", soft: str = "", calls: str = "", pools: str = "{}") -> str:
    said = {"hard}": chat, "soft}": soft, "payg}": calls}
    extra = [(f"gate: {gate}", f"gate: {gate[:-1]}{words and ', '}{words}}}") for gate, words in said.items()]
    return plan_text("http://127.0.0.1:1", extra=[*extra, ("workloads:\n", f"pools: {pools}\nworkloads:\n")])


def pool_of(plan: str, workload: str) -> Pool | None:
    checked = loads(plan)
    assert compile_document(checked.document) == checked.snapshot
    return checked.snapshot.workloads[WorkloadId(workload)].pool


def problems(plan: str) -> list[str]:
    with pytest.raises(PlanError) as refused:
        loads(plan)
    return [f"{each.path}: {each.what}" for each in refused.value.problems if each.severity == "error"]


def test_a_capacity_of_its_own() -> None:
    found = pool_of(
        text("capacity: {concurrent: 40, requests: 600/min, tokens: 2M/min, per_user: {requests: 5/s, burst: 2s}}"),
        "chat",
    )
    limits = Limits(40, Rate(600, MINUTE, 60), Rate(2_000_000, MINUTE, 200_000))
    assert found == Pool(
        id="chat", total=limits, common=limits, per_user=Limits(requests=Rate(5, MICROS, 10)), queue=100,
        wait_seconds=10.0,
    )  # fmt: skip
    assert pool_of(text("capacity: {concurrent: 1}"), "soft") is None


def test_a_plan_that_says_nothing_of_capacity_keeps_its_hash() -> None:
    assert loads(text()).snapshot.hash == loads(plan_text("http://127.0.0.1:1")).snapshot.hash


def test_a_shared_pool_is_divided_without_losing_a_call() -> None:
    shared = "{p: {concurrent: 10, requests: 60/min, queue: 3, wait: 0s}}"
    plan = text("pool: {name: p, reserve: 33%}", "pool: {name: p, reserve: 33%, lend: true}", "pool: p", shared)
    found = pool_of(plan, "chat")
    assert found is not None
    parts = [each.limits for each in found.reserves] + [found.common]
    assert sum(each.concurrent or 0 for each in parts) == 10
    assert found == pool_of(plan, "calls")
    assert [(each.workload, each.lends) for each in found.reserves] == [("chat", False), ("soft", True)]
    rates = [each.requests for each in parts if each.requests is not None]
    assert sum(rate.amount for rate in rates) == 60 * 100
    assert {rate.period for rate in rates} == {100 * MINUTE}
    assert found.queue == 0, "without time to wait nobody queues"


def test_what_is_all_reserved_leaves_nothing_in_common() -> None:
    shared = "{p: {requests: 60/min}}"
    found = pool_of(text("pool: {name: p, reserve: 60%}", "pool: {name: p, reserve: 40%}", pools=shared), "soft")
    assert found is not None
    assert found.common == Limits(concurrent=0)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (text("capacity: {}"), "workloads.chat.capacity: this capacity has no limit"),
        (text("capacity: {requests: 600}"), "workloads.chat.capacity.requests: '600' is not a rate"),
        (text("capacity: {requests: 0/min}"), "workloads.chat.capacity.requests: '0/min' lets nothing through"),
        (text("capacity: {tokens: 1.5/min}"), "workloads.chat.capacity.tokens: '1.5/min' is not a rate"),
        (text("pool: none-such"), "workloads.chat.pool: 'none-such' is not a pool"),
        (
            text("capacity: {concurrent: 1}, pool: p", pools="{p: {concurrent: 1}}"),
            "workloads.chat.pool: a workload has either a capacity of its own or a part in a pool",
        ),
        (
            text("pool: {name: p, lend: true}", pools="{p: {concurrent: 1}}"),
            "workloads.chat.pool.lend: there is no reserve here that could be lent",
        ),
        (
            text("pool: {name: p, reserve: 60%}", "pool: {name: p, reserve: 50%}", pools="{p: {concurrent: 9}}"),
            "workloads.soft.pool.reserve: the reserves in pool 'p' come to 110%",
        ),
        (
            text("pool: {name: p, reserve: 5%}", pools="{p: {concurrent: 9}}"),
            "workloads.chat.pool.reserve: 5% of 9 calls at once may be no call at all",
        ),
        (
            text("pool: {name: p, reserve: 100%}", "pool: p", pools="{p: {concurrent: 9}}"),
            "workloads.soft.pool: all of pool 'p' is reserved for others, so 'soft' could never be served",
        ),
        (text("pool: calls", pools="{calls: {concurrent: 9}}"), "pools.calls: 'calls' is both a pool and a workload"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_its_place(plan: str, expected: str) -> None:
    assert expected in problems(plan)


def test_the_difference_says_what_happens_to_whom() -> None:
    plain = loads(text()).snapshot
    before = loads(text("capacity: {concurrent: 4}")).snapshot
    after = loads(
        text("capacity: {concurrent: 5, requests: 600/min, wait: 1s}", "pool: p", pools="{p: {tokens: 1M/h}}")
    )
    assert [(each.subject, each.text) for each in difference(plain, before)] == [
        ("chat", "calls of chat need a place in pool chat"),
        ("chat", "pool chat begins with 4 at once"),
    ]
    assert [(each.kind, each.text) for each in difference(before, after.snapshot)] == [
        ("capacity", "calls of soft need a place in pool p"),
        ("capacity", "pool chat: limits 4 at once -> 5 at once, 600/min requests (bursts of 60 requests)"),
        ("capacity", "pool chat: queue 100 calls for 10s -> 100 calls for 1s"),
        ("capacity", "pool p begins with 1,000,000/h tokens (bursts of 100,000 tokens)"),
    ]
    gone = [each.text for each in difference(before, plain)]
    assert gone == ["calls of chat need no place in a pool any more"]
