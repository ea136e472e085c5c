"""Do administrators report on what is theirs, see it, and get figures that say how much they are of?"""

from typing import Any

import msgspec
import pytest
from tests.admin.installation import HOUR, NOW, OPERATOR, Installation
from tests.admin.test_api import Api

from upshift.admin.desk import Actor
from upshift.admin.feedback import BadReportsError, add, conditions, listed
from upshift.admin.measured import MetricView, metrics, scope
from upshift.model.contract import A2A
from upshift.model.feedback import About, Operation, OperationKind, Origin, Reported, Source
from upshift.model.key import Role
from upshift.model.span import show_instant

ACME = Actor("mia", Role.TENANT_ADMIN, "acme")


def task(id_: str, session: str, at: int = NOW - HOUR, outcome: str = "done", **more: Any) -> dict[str, Any]:
    return {"kind": "task", "id": id_, "session": session, "at": show_instant(at), "outcome": outcome} | more


def send(installation: Installation, *items: dict[str, Any], actor: Actor = OPERATOR) -> int:
    return add(installation.desk, actor, msgspec.json.encode(items)).new


def figure(installation: Installation, name: str, actor: Actor = OPERATOR, since: str = "2d", **of: str) -> MetricView:
    (found,) = metrics(installation.desk, actor, scope(**of), since, names=[name]).metrics
    return found


@pytest.fixture
async def api(installation: Installation) -> Api:
    await installation.spend(installation.call(), installation.call(tenant="globex", user="frank", workload="docs"))
    return Api(installation)


def test_both_admins_report_and_see_their_own(api: Api) -> None:
    score = {"kind": "quality", "id": "1", "agent": "ada", "score": 0.5, "rubric": "tone"}
    assert api.ask("POST", "/feedback", "own", json=score).json() == {"received": 1, "new": 1}
    assert api.ask("POST", "/feedback", "admin", json=[score, score | {"tenant": "globex"}]).json()["new"] == 2
    assert api.ask("POST", "/feedback", "caller", json=score).status_code == 403
    assert {each["tenant"] for each in api.get("/feedback")} == {"acme", "globex", ""}
    (mine,) = api.get("/feedback", "own")
    assert (mine["id"], mine["says"], mine["source"]) == ("acme/1", "0.5 for tone", "admin")
    assert api.get("/feedback?where=tenant=acme&where=agent=ada&since=1d&limit=1") == [mine]
    assert api.ask("GET", "/feedback?where=tenant=globex", "own").status_code == 404
    assert api.ask("GET", "/feedback?where=colour=red").status_code == 400
    assert api.get("/metrics?agent=ada&metric=quality", "own")["metrics"][0]["n"] == 1
    assert api.get("/metrics?agent=ada&metric=quality")["metrics"][0]["n"] == 3


def test_what_is_not_theirs_is_unknown_and_all_of_it_is_named(api: Api) -> None:
    (foreign,) = api.get("/calls?where=tenant=globex")
    report = {"kind": "escalation", "request": foreign["id"]}
    answer = api.ask("POST", "/feedback", "own", json=[report | {"id": "1"}, report | {"id": "2", "tenant": "globex"}])
    assert answer.status_code == 404
    assert [each["where"] for each in answer.json()["fields"]] == ["[0].request", "[1].tenant"]
    answer = api.ask("POST", "/feedback", json=[{"kind": "quality", "id": "1"}])
    assert answer.status_code == 400
    assert [each["where"] for each in answer.json()["fields"]] == ["[0]", "[0].score", "[0].rubric"]
    assert api.ask("POST", "/feedback", json=report | {"id": "1"}).json() == {"received": 1, "new": 1}
    assert api.get("/feedback")[0]["tenant"] == "globex"


def test_a_window_that_is_none_is_refused(api: Api) -> None:
    for query in ("since=soon", "since=1d&until=2d", "agent=a&pod=b", "metric=joy"):
        answer = api.ask("GET", f"/metrics?{query}")
        assert answer.status_code == 400, query


async def test_a_task_has_all_that_was_done_for_it(installation: Installation) -> None:
    call = installation.call
    begun = msgspec.structs.replace(call(at=NOW - 26 * HOUR, cost=1_000_000_000), session="s", agent="ada")
    later = msgspec.structs.replace(call(at=NOW - 24 * HOUR, cost=500_000_000), session="s", agent="ada")
    other = msgspec.structs.replace(call(tenant="globex", user="frank", workload="docs"), session="s", agent="ada")
    await installation.spend(begun, later, other)
    send(
        installation, task("1", "s", NOW - 23 * HOUR, tenant="acme", agent="ada", started=show_instant(NOW - 26 * HOUR))
    )
    send(installation, {"kind": "escalation", "id": "1", "session": "s", "agent": "ada", "tenant": "acme"})
    cost = figure(installation, "cost-per-task", since="25h", agent="ada")
    # The first call was before the window, and what another tenant did in a session of that name is not in it.
    assert (cost.value, cost.n, cost.missing, cost.plans) == (1.5, 1, 0, ("f" * 64,))
    assert figure(installation, "task-duration", agent="ada").value == 3 * 3600
    assert figure(installation, "escalation-rate", agent="ada").value == 1
    assert figure(installation, "escalation-rate", ACME, agent="ada").value == 1
    assert figure(installation, "cost-per-task", Actor("gus", Role.TENANT_ADMIN, "globex"), agent="ada").n == 0


async def test_missing_data_is_said_and_never_zero(installation: Installation) -> None:
    none = figure(installation, "latency", workload="chat")
    assert (none.value, none.n, none.says) == (None, 0, "nothing of this was recorded in the window")
    send(installation, task("1", "never called", tenant="acme", workload="chat"))
    lost = figure(installation, "cost-per-task", workload="chat")
    assert (lost.value, lost.n, lost.missing, lost.says) == (None, 0, 1, "nothing but 1 record without what it takes")
    unknown = msgspec.structs.replace(installation.call(), session="s")
    await installation.spend(unknown)
    send(installation, task("2", "s", tenant="acme", workload="chat"))
    half = figure(installation, "cost-per-task", workload="chat")
    assert (half.n, half.missing, half.says) == (1, 1, "and 1 record without what it takes")
    slow = figure(installation, "latency-p95", workload="chat")
    assert slow.value == slow.p95 == 0.15


async def test_messages_between_agents_are_of_their_interface(installation: Installation) -> None:
    message = msgspec.structs.replace(installation.call(latency_us=2_000_000), dialect=A2A, requested_model="a-b")
    await installation.spend(message)
    send(installation, {"kind": "violation", "id": "1", "interface": "a-b", "terms": ["tone"]})
    broken = figure(installation, "contract-violations", interface="a-b")
    assert (broken.value, broken.n) == (0.5, 2)
    assert figure(installation, "latency", interface="a-b").value == 2
    assert figure(installation, "contract-violations", interface="b-a").n == 0


def test_all_metrics_are_shown_also_those_without_values(installation: Installation) -> None:
    view = metrics(installation.desk, OPERATOR, scope())
    assert (view.of, view.name) == ("system", "")
    assert {each.metric for each in view.metrics} > {"latency", "quality", "reported-tokens-per-task", "tasks-per-hour"}
    assert all(each.value is None and each.query and each.says for each in view.metrics)


def test_every_kind_is_shown_in_words(installation: Installation) -> None:
    begun = show_instant(NOW - HOUR - 90_000_000)
    send(
        installation,
        {"kind": "quality", "id": "1", "agent": "ada", "score": 1, "rubric": "tone", "by": "judge"},
        {"kind": "escalation", "id": "1", "agent": "ada", "to": "sam", "reason": "angry"},
        {"kind": "escalation", "id": "2", "agent": "ada"},
        task("1", "s", tenant="acme", started=begun),
        {"kind": "delivery", "id": "1", "interface": "a-b", "seconds": 2, "failed": True, "violations": ["tone"]},
        {"kind": "violation", "id": "2", "interface": "a-b", "terms": ["p95", "tone"]},
    )
    seen = [
        Operation(id="1", at=NOW, origin=Origin(), kind=OperationKind.MODEL, name="big", input_tokens=1000),
        Operation(id="2", at=NOW, origin=Origin(), kind=OperationKind.TOOL, failed=True, error="timeout"),
    ]
    installation.desk.journal.add_feedback([Reported(each, "acme", "key_1", Source.OTLP, NOW) for each in seen])
    assert {each.says for each in listed(installation.desk, OPERATOR, {})} == {
        "1 for tone by judge", "handed to sam: angry", "handed to somebody", "done after 90.00 s",
        "failed in 2.00 s, broke tone", "delivered in 0.00 s, broke p95, tone", "model big done in 0.00 s, 1,000 in",
        "tool failed with timeout in 0.00 s",
    }  # fmt: skip


def test_conditions_and_lists_in_the_order_of_time(installation: Installation) -> None:
    mine = {"tenant": "acme"}
    send(installation, task("1", "a", NOW - 2 * HOUR, **mine), task("2", "b", NOW - HOUR, "failed", **mine))
    found = listed(installation.desk, OPERATOR, conditions(["kind=task"]), "90m")
    assert [(each.outcome, each.task) for each in found] == [("failed", "2")]
    assert [each.task for each in listed(installation.desk, OPERATOR, {About.KIND: "task"})] == ["2", "1"]
    with pytest.raises(BadReportsError, match=r"\[0\].at"):
        send(installation, task("3", "a", NOW + HOUR, **mine))
    with pytest.raises(BadReportsError, match=r"\[0\].tenant: nothing is not the tenant whose session it is"):
        send(installation, task("3", "a"))
