"""Is every call brought to its workload and model, and nothing said of other tenants' ones?"""

import pytest
from tests.traffic.builders import (
    BIG,
    CLAUDE,
    OTHER,
    SMALL,
    caller,
    key,
    snapshot,
    tenant,
    user,
    workload,
)

from upshift.model.ids import TenantId
from upshift.model.key import Key
from upshift.model.refusal import BadRequest, NotAllowed, Reason, Refused, UnknownModel
from upshift.traffic import dispatch
from upshift.traffic.snapshot import Dialect, Snapshot

OPENAI, ANTHROPIC = Dialect.OPENAI, Dialect.ANTHROPIC

ONE = snapshot()
TWO = snapshot(
    tenants=[tenant(), tenant("rival", users=[user("rita")])],
    workloads=[
        workload("support"),
        workload("coding", primary=(SMALL, CLAUDE), substitutes=(), substitute_tier=None),
        workload("merger", tenants=["rival"]),
        workload("shared", tenants=["rival"]),
    ],
)


def to(
    plan: Snapshot, model: str, named: bytes | None = None, *, held: Key | None = None, dialect: Dialect = OPENAI
) -> tuple[str, str]:
    work = dispatch.to(plan, caller(plan, held), named, model, dialect)
    return work.workload.id, work.model.name


def refused(
    plan: Snapshot, model: str, named: bytes | None = None, *, held: Key | None = None, dialect: Dialect = OPENAI
) -> Reason:
    with pytest.raises(Refused) as caught:
        dispatch.to(plan, caller(plan, held), named, model, dialect)
    return caught.value.reason


def test_the_only_workload_open_to_a_key_needs_no_name() -> None:
    assert to(ONE, "big") == ("support", "big")
    assert to(TWO, "big", held=key(workloads=("coding",))) == ("coding", "big")


def test_a_workload_is_named_by_header() -> None:
    assert to(TWO, "big", b"coding") == ("coding", "big")
    assert to(TWO, "big", b"support") == ("support", "big")
    assert to(ONE, "big", b"") == ("support", "big")


def test_a_workload_is_named_as_the_model_and_served_by_its_first_model_of_the_dialect() -> None:
    assert to(TWO, "coding") == ("coding", "small")
    assert to(TWO, "coding", dialect=ANTHROPIC) == ("coding", "claude")
    assert to(TWO, "support", b"support") == ("support", "big")


def test_models_are_asked_for_by_name_alias_or_tier() -> None:
    assert to(ONE, "big-latest") == ("support", "big")
    assert to(ONE, "premium") == ("support", "big")
    assert to(ONE, "premium", dialect=ANTHROPIC) == ("support", "claude")
    assert to(ONE, "budget") == ("support", "small")


def test_a_model_outside_the_workload_is_left_to_the_police() -> None:
    assert to(ONE, "other") == ("support", "other")


def test_an_unknown_model_is_answered_with_those_that_can_be_asked_for() -> None:
    assert refused(ONE, "gpt-9") == UnknownModel("gpt-9", ("big", "small"))
    assert refused(ONE, "gpt-9", dialect=ANTHROPIC) == UnknownModel("gpt-9", ("claude",))
    assert refused(ONE, "x" * 5_000) == UnknownModel("x" * 200, ("big", "small"))


def test_a_tier_or_workload_without_a_model_of_the_dialect_is_refused() -> None:
    for plan, asked in ((ONE, "budget"), (snapshot(workloads=[workload(primary=(BIG,))]), "support")):
        reason = refused(plan, asked, dialect=ANTHROPIC)
        assert isinstance(reason, UnknownModel)
        assert reason.model == f"{asked} (none of its models speaks anthropic)"


def test_with_several_workloads_one_has_to_be_named() -> None:
    reason = refused(TWO, "big")
    assert isinstance(reason, BadRequest)
    assert reason.where == "x-upshift-workload"
    assert "support, coding" in reason.what
    assert "merger" not in reason.what


def test_with_none_the_key_is_of_no_use() -> None:
    held = key(tenant="rival", user="rita", workloads=("support",))
    assert refused(TWO, "big", held=held) == NotAllowed("any workload of the plan with this key", ())


def test_a_key_may_not_leave_its_scope() -> None:
    held = key(workloads=("coding",))
    assert refused(TWO, "big", b"support", held=held) == NotAllowed("workload 'support'", ("coding",))
    assert refused(TWO, "support", held=held) == NotAllowed("workload 'support'", ("coding",))


def without(name: str, reason: Reason) -> str:
    return repr(reason).replace(name, "NAME")


@pytest.mark.parametrize("held", [None, key(workloads=("coding",)), key(workloads=("coding", "merger"))])
def test_other_tenants_workloads_are_as_unknown_as_any_word(held: Key | None) -> None:
    by_header = refused(TWO, "big", b"merger", held=held)
    assert without("merger", by_header) == without("absent", refused(TWO, "big", b"absent", held=held))
    as_model = refused(TWO, "merger", held=held)
    assert without("merger", as_model) == without("absent", refused(TWO, "absent", held=held))
    both = refused(TWO, "merger", b"coding", held=held)
    assert without("merger", both) == without("absent", refused(TWO, "absent", b"coding", held=held))


def test_a_name_that_is_no_text_is_refused_like_an_unknown_one() -> None:
    assert refused(ONE, "big", b"\xff" * 100) == NotAllowed("workload '" + "\ufffd" * 64 + "'", ("support",))


def test_what_is_open_to_a_key() -> None:
    assert [each.id for each in dispatch.open_to(TWO, TenantId("acme"), ())] == ["support", "coding"]
    assert [each.id for each in dispatch.open_to(TWO, TenantId("acme"), ("coding", "merger"))] == ["coding"]
    assert dispatch.open_to(TWO, TenantId("nobody"), ()) == ()


def test_models_of_a_workload_in_a_dialect_are_listed_once() -> None:
    both = workload(primary=(BIG, CLAUDE, SMALL), substitutes=(SMALL, OTHER))
    assert dispatch.speaking(both, OPENAI) == ("big", "small", "other")
    assert dispatch.speaking(both, ANTHROPIC) == ("claude",)
