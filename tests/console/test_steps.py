"""Does a call's story have nine steps, and does the one that refused it say so?"""

import msgspec
import pytest

from upshift.console.steps import STEPS, steps
from upshift.gateway import flow
from upshift.model import refusal
from upshift.model.ids import PlanHash, RequestId
from upshift.model.metered import Metered, Outcome

CALL = Metered(
    request=RequestId("up_1"), started=0, plan=PlanHash("f" * 64), tenant="acme", user="alice", workload="chat",
    dialect="openai", requested_model="big", served_model="big", provider="local", status=200, latency_us=150_000,
    first_byte_us=90_000,
)  # fmt: skip
WHERE = {
    "bad_request": "accept", "too_large": "accept", "no_route": "accept", "stopping": "accept", "unknown_model": "dispatch",
    "not_allowed": "police", "interface_closed": "police", "contract_broken": "police", "cannot_serve": "route",
    "over_budget": "gate", "busy": "gate", "pool_full": "gate", "ledger_down": "gate", "none_open": "call",
}  # fmt: skip


def refused(reason: str, **fields: str) -> Metered:
    return msgspec.structs.replace(CALL, outcome=Outcome.REFUSED, reason=reason, status=402, **fields)


def test_the_steps_are_those_of_the_request_path() -> None:
    named = (flow.__doc__ or "").partition("? ")[2].partition(", in one")[0]
    assert named.split(", ") == list(STEPS)
    assert len(STEPS) == 9


def test_a_call_that_was_served_went_through_all_of_them() -> None:
    found = steps(CALL)
    assert [each.name for each in found] == list(STEPS)
    assert {each.state for each in found} == {"done"}
    assert {each.name: each.at_ms for each in found if each.at_ms is not None} == {
        "accept": 0.0,
        "call": 90.0,
        "answer": 150.0,
    }


@pytest.mark.parametrize(("reason", "step"), WHERE.items())
def test_a_refusal_is_told_where_it_was_said(reason: str, step: str) -> None:
    found = {each.name: each for each in steps(refused(reason))}
    assert (found[step].state, found[step].says) == ("stopped", reason.replace("_", " "))
    order = list(STEPS)
    after = order[order.index(step) + 1 : -1]
    assert {found[name].state for name in after} <= {"skipped"}
    assert {found[name].state for name in order[: order.index(step)]} <= {"done"}
    assert found["answer"].state == "done"


def test_every_refusal_there_is_has_its_step() -> None:
    kinds = [each for each in vars(refusal).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    tags = {each.__struct_config__.tag for each in kinds if each.__struct_config__.tag}
    assert tags - {"no_key", "bad_key"} == set(WHERE)


def test_who_was_not_known_was_stopped_before_that() -> None:
    nobody = steps(refused("bad_key", tenant="", user="", workload=""))
    assert [each.name for each in nobody if each.state == "stopped"] == ["identify"]
    nowhere = steps(refused("not_allowed", workload=""))
    assert [each.name for each in nowhere if each.state == "stopped"] == ["dispatch"]
    unread = steps(refused("bad_request", tenant="", user="", workload=""))
    assert [each.name for each in unread if each.state == "stopped"] == ["accept"]
