"""Is what is reported read for what it says, and are all faults of a post named at once?"""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.model.feedback import (
    Delivery,
    Escalation,
    Operation,
    OperationKind,
    Origin,
    Quality,
    Reported,
    Source,
    TaskEnded,
    TaskOutcome,
    counted,
)
from upshift.model.ids import PlanHash, RequestId
from upshift.model.metered import Metered
from upshift.model.span import MICROS
from upshift.sources.feedback import MOST_BYTES, MOST_ITEMS, BadFeedbackError, Item, attribute, read, requests

NOW = 1_795_255_200 * MICROS
"""2026-11-21T10:00:00Z."""


def taken(*items: dict[str, Any]) -> tuple[Item, ...]:
    return read(json.dumps(items).encode(), NOW)


def faults(body: bytes | list[Any]) -> list[str]:
    with pytest.raises(BadFeedbackError) as caught:
        read(body if isinstance(body, bytes) else json.dumps(body).encode(), NOW)
    return [str(each) for each in caught.value.faults]


def call(request: str, **more: Any) -> Metered:
    return Metered(request=RequestId(request), started=NOW, plan=PlanHash("p"), **{"tenant": "acme", **more})


def test_every_kind_says_what_it_says() -> None:
    said = taken(
        {"kind": "quality", "id": "1", "session": "s", "score": 0.5, "rubric": "tone", "by": "judge", "at": NOW // MICROS},
        {"kind": "escalation", "id": "2", "agent": "ada", "to": "sam", "reason": "angry\ncustomer"},
        {"kind": "task", "id": "3", "workload": "chat", "outcome": "failed", "started": "2026-11-21T09:00:00Z",
         "ended": "2026-11-21T10:30:00+01:00"},
        {"kind": "task", "id": "4", "task": "T-9", "outcome": "abandoned"},
        {"kind": "delivery", "id": "5", "interface": "a-b", "seconds": 1.5, "failed": True, "violations": ["p95"]},
        {"kind": "violation", "id": "6", "interface": "a-b", "terms": ["payload"], "tenant": "acme"},
    )  # fmt: skip
    assert [each.record for each in said] == [
        Quality("1", NOW, Origin(session="s"), 0.5, "judge", "tone"),
        Escalation("2", NOW, Origin(agent="ada"), "sam", "angry\ncustomer"),
        TaskEnded("3", NOW - 1800 * MICROS, Origin(workload="chat", task="3"), TaskOutcome.FAILED, NOW - 3600 * MICROS),
        TaskEnded("4", NOW, Origin(task="T-9"), TaskOutcome.ABANDONED),
        Delivery("5", NOW, Origin(interface="a-b"), 1_500_000, True, ("p95",)),
        Delivery("6", NOW, Origin(interface="a-b"), violations=("payload",)),
    ]
    assert [each.tenant for each in said] == ["", "", "", "", "", "acme"]


def test_lists_objects_and_lines_are_the_same() -> None:
    one = {"kind": "quality", "id": "1", "session": "s", "score": 1, "rubric": "tone"}
    two = one | {"id": "2"}
    assert [each.record for each in read(json.dumps(one, indent=2).encode(), NOW)] == [
        each.record for each in taken(one)
    ]
    lines = f"{json.dumps(one)}\r\n\n{json.dumps(two)}\n".encode()
    assert [each.record for each in read(lines, NOW)] == [each.record for each in taken(one, two)]


def test_all_that_is_wrong_is_said_at_once() -> None:
    good = {"kind": "quality", "id": "1", "session": "s", "score": 1, "rubric": "tone"}
    found = faults(
        [
            good,
            good | {"score": 1.01, "rubrik": "tone"},
            {"kind": "praise", "id": "2"},
            "nothing",
            {"kind": "task", "id": 7, "agent": "a\x00b", "outcome": "won", "started": "soon"},
            {"kind": "violation", "id": "x" * 201, "terms": []},
            good | {"at": "2026-11-21T10:06:00Z"},
            good | {"at": "2020-01-01T00:00:00Z", "score": True},
            good | {"session": "\u202e", "score": float(10**30)},
            {
                "kind": "task",
                "id": "8",
                "agent": "a",
                "outcome": "done",
                "started": NOW // MICROS,
                "ended": NOW // MICROS - 9,
            },
        ]
    )
    places = sorted(each.partition(":")[0] for each in found)
    assert places == sorted(
        [
            "[1].rubrik", "[1].score", "[2].kind", "[3]", "[4].id", "[4].agent", "[4].outcome", "[4].started", "[5].id",
            "[5].interface", "[5].terms", "[5]", "[6].at", "[7].at", "[7].score", "[8].session", "[8].score",
            "[9].started",
        ]
    )  # fmt: skip
    assert "[1].score: 1.01 is not a number from 0 to 1; scale it before it is sent" in found


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the body: nothing"),
        (b"[]", "the body: nothing"),
        (b"[{", "the body: '[{' is not JSON"),
        (b'{"kind": 1}\n{', "line 2: '{' is not JSON"),
        (b"\xff\xfe", "line 1"),
        (b"5", "[0]: 5 is not an object"),
        (b"[" * 100_000, "JSON"),
        (b'[{"kind": "quality", "id": "\\ud800"}]', "JSON"),
        (b" " * (MOST_BYTES + 1), "at most 8,388,608 bytes"),
        (b"[" + b"{}," * MOST_ITEMS + b"{}]", "at most 10,000 items"),
    ],
    ids=range(10),
)
def test_a_body_that_is_none_is_refused(body: bytes, says: str) -> None:
    assert any(says in each for each in faults(body))


def test_what_a_call_knows_is_taken_from_it() -> None:
    items = taken({"kind": "quality", "id": "1", "request": "r1", "agent": "eve", "score": 1, "rubric": "tone"})
    assert requests(items) == ["r1"]
    known = {RequestId("r1"): call("r1", session="s", agent="ada", workload="chat", pod="p")}
    for tenant in ("acme", ""):
        (kept,) = attribute(items, known, tenant, "key_1", Source.CALLER, NOW)
        assert kept.tenant == "acme"
        assert kept.record.id == "acme/1"
        assert kept.record.origin == Origin(session="s", agent="eve", workload="chat", pod="p", request="r1")


def test_a_long_session_is_cut_as_that_of_a_call_is() -> None:
    (found,) = taken({"kind": "escalation", "id": "1", "session": "s" * 200, "agent": "a" * 129})
    assert found.record.origin == Origin(session="s" * 128, agent="a" * 128)


def test_what_another_tenant_has_is_unknown() -> None:
    items = taken(
        {"kind": "escalation", "id": "1", "request": "r1"},
        {"kind": "escalation", "id": "2", "request": "r2"},
        {"kind": "escalation", "id": "3", "agent": "a", "tenant": "acme"},
        {"kind": "escalation", "id": "4", "agent": "a"},
    )
    with pytest.raises(BadFeedbackError) as caught:
        attribute(items, {RequestId("r1"): call("r1")}, "globex", "k", Source.CALLER, NOW)
    assert caught.value.unknown
    assert [str(each) for each in caught.value.faults] == [
        "[0].request: 'r1' is not a call that is recorded",
        "[1].request: 'r2' is not a call that is recorded",
        "[2].tenant: 'acme' is not a tenant that you may report on",
    ]


def test_tenants_do_not_share_ids() -> None:
    items = taken({"kind": "escalation", "id": "globex/1", "agent": "a"})
    (one,) = attribute(items, {}, "acme", "k", Source.CALLER, NOW)
    (none,) = attribute(items, {}, "", "k", Source.ADMIN, NOW)
    (other,) = attribute(taken({"kind": "escalation", "id": "1", "agent": "a"}), {}, "globex", "k", Source.CALLER, NOW)
    assert len({one.record.id, none.record.id, other.record.id}) == 3


OWN = {"kind": "quality", "score": 1, "rubric": "tone"}


@pytest.mark.parametrize(
    ("about", "source"),
    [
        ({"agent": "ada"}, Source.OWN),
        ({"session": "s"}, Source.OWN),
        ({"interface": "ada-bob"}, Source.OWN),
        # Its own call, whosever it says that it was.
        ({"request": "r-ada", "agent": "bob"}, Source.OWN),
        ({"agent": "bob"}, Source.OWN),
        # A call of another agent is the one thing that it may judge, and as what it was.
        ({"request": "r-bob"}, Source.CALLER),
        ({"request": "r-bob", "agent": "bob", "session": "t"}, Source.CALLER),
        ({"request": "r-bob", "agent": "ada"}, Source.OWN),
        ({"request": "r-bob", "session": "s"}, Source.OWN),
        ({"request": "r-bob", "interface": "ada-bob"}, Source.OWN),
        ({"request": "r-none"}, Source.OWN),
    ],
)
def test_an_agent_is_no_judge_of_its_own_work(about: dict[str, str], source: Source) -> None:
    known = {
        RequestId("r-ada"): call("r-ada", session="s", agent="ada"),
        RequestId("r-bob"): call("r-bob", session="t", agent="bob"),
        RequestId("r-none"): call("r-none", session="u"),
    }
    items = taken(OWN | {"id": "1"} | about)
    (kept,) = attribute(items, known, "acme", "key_1", Source.CALLER, NOW, "ada")
    assert kept.source is source
    (others,) = attribute(items, known, "acme", "key_2", Source.CALLER, NOW)
    assert others.source is Source.CALLER
    found = counted(kept)
    assert (found is None) == (source is Source.OWN)
    assert found is None or found.origin.tenant == "acme"


def test_what_an_agents_instrumentation_saw_counts_as_its_word() -> None:
    operation = Operation(id="acme/o", at=NOW, origin=Origin(agent="ada"), kind=OperationKind.AGENT)
    ended = TaskEnded("acme/t", NOW, Origin(agent="ada"))
    first, second = (counted(Reported(each, "acme", "key_1", Source.OWN, NOW)) for each in (operation, ended))
    assert (type(first), second) == (Operation, None)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
_FIELDS = st.sampled_from(
    ["kind", "id", "at", "tenant", "agent", "session", "score", "rubric", "outcome", "started", "ended", "interface",
     "terms", "violations", "seconds", "failed", "reason", "to", "by", "task", "odd"]
)  # fmt: skip
_KIND = st.sampled_from(["quality", "escalation", "task", "delivery", "violation"])
_ITEM = st.builds(
    lambda kind, rest: rest | {"kind": kind}, _KIND, st.dictionaries(_FIELDS, _JSON | st.just("1") | st.just(0.5))
)


@given(st.lists(_ITEM | _JSON, max_size=4))
def test_whatever_is_sent_is_kept_or_refused(items: list[Any]) -> None:
    try:
        found = read(json.dumps(items).encode(), NOW)
    except BadFeedbackError:
        return
    for each in found:
        msgspec.json.encode(each.record)
        assert "\x00" not in str(each.record)
    assert len(found) == len(items)


@given(st.binary(max_size=60))
def test_whatever_bytes_are_sent_nothing_breaks(body: bytes) -> None:
    with pytest.raises(BadFeedbackError):
        read(body, NOW)
