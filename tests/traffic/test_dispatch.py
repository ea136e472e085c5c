"""Is every call brought to its workload and model, and nothing said of other tenants' ones?"""

from typing import Any

import msgspec
import pytest
from tests.traffic.builders import (
    BIG,
    CLAUDE,
    OTHER,
    SMALL,
    ask,
    caller,
    key,
    model,
    provider,
    snapshot,
    tenant,
    user,
    workload,
)

from upshift.model.ids import ModelTierId, TenantId
from upshift.model.key import Key
from upshift.model.refusal import BadRequest, NotAllowed, Reason, Refused, UnknownModel
from upshift.traffic import dispatch
from upshift.traffic.snapshot import Ability, Dialect, Routing, Shape, Snapshot, Task

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
    assert refused(ONE, "gpt-9") == UnknownModel("gpt-9", ("big", "claude", "small"))
    assert refused(ONE, "gpt-9", dialect=ANTHROPIC) == UnknownModel("gpt-9", ("big", "claude", "small"))
    assert refused(ONE, "gpt-9", dialect=Dialect.EMBEDDINGS) == UnknownModel("gpt-9", ())
    assert refused(ONE, "x" * 5_000) == UnknownModel("x" * 200, ("big", "claude", "small"))


def test_a_tier_or_workload_without_a_model_of_the_dialect_is_served_by_its_first_in_translation() -> None:
    assert to(ONE, "budget", dialect=ANTHROPIC) == ("support", "small")
    assert to(snapshot(workloads=[workload(primary=(BIG,))]), "support", dialect=ANTHROPIC) == ("support", "big")


def test_embeddings_are_not_translated() -> None:
    for asked in ("budget", "support"):
        reason = refused(ONE, asked, dialect=Dialect.EMBEDDINGS)
        assert isinstance(reason, UnknownModel)
        assert reason.model == f"{asked} (none of its models can be asked in openai-embeddings)"


TITLES = Task(name="titles", tier=ModelTierId("budget"), models=(SMALL,))
LONG = Task(name="long", tier=ModelTierId("premium"), models=(CLAUDE, BIG), shape=Shape(above=1_000))
PICTURES = Task(
    name="pictures",
    tier=ModelTierId("premium"),
    models=(BIG,),
    shape=Shape(needs=frozenset({Ability.IMAGES}), without=frozenset({Ability.TOOLS}), below=1_000),
)
TASKED = workload(routing=Routing(tasks=(PICTURES, LONG, TITLES)))


def tasked(
    named: bytes | None = None, *, input_tokens: int = 100, asked: str = "support", **said: Any
) -> tuple[str, str]:
    work = dispatch.to(snapshot(workloads=[TASKED]), caller(ONE), None, asked, said.get("dialect", OPENAI))
    work = dispatch.for_task(work, named, ask(model=asked, **said), input_tokens)
    return work.task, work.model.name


def test_a_task_is_named_by_header() -> None:
    assert tasked(b"titles") == ("titles", "small")
    assert tasked(b"long") == ("long", "big")
    assert tasked(b"long", dialect=ANTHROPIC) == ("long", "claude")


def test_embeddings_are_of_a_task_only_by_name() -> None:
    """Long texts and short ones embedded by two models could not be compared."""
    work = dispatch.to(snapshot(workloads=[TASKED]), caller(ONE), None, "support", OPENAI)
    call = ask(model="support", dialect=Dialect.EMBEDDINGS)
    assert dispatch.for_task(work, None, call, 5_000) is work
    assert dispatch.for_task(work, b"titles", call, 5_000).task == "titles"


def test_or_recognised_by_the_shape_of_the_request() -> None:
    assert tasked() == ("", "big")
    assert tasked(input_tokens=1_000) == ("", "big")
    assert tasked(input_tokens=1_001) == ("long", "big")
    assert tasked(needs=[Ability.IMAGES]) == ("pictures", "big")
    assert tasked(needs=[Ability.IMAGES], input_tokens=1_000) == ("", "big")
    assert tasked(needs=[Ability.IMAGES, Ability.TOOLS]) == ("", "big")


def test_who_asks_for_a_model_or_a_tier_gets_it() -> None:
    assert tasked(b"titles", asked="big") == ("", "big")
    assert tasked(b"titles", asked="premium") == ("", "big")


def test_a_task_that_the_workload_does_not_have_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        tasked(b"poems")
    assert caught.value.reason == BadRequest(
        "x-upshift-task", "workload support has no task 'poems'; it has pictures, long, titles"
    )
    work = dispatch.to(ONE, caller(ONE), None, "support", OPENAI)
    assert dispatch.for_task(work, b"poems", ask(), 100) is work


def test_a_task_prefers_a_model_that_can_do_what_is_asked() -> None:
    plain = model("plain", abilities=())
    mixed = workload(routing=Routing(tasks=(Task(name="t", tier=ModelTierId("x"), models=(plain, BIG)),)))
    work = dispatch.to(snapshot(workloads=[mixed]), caller(ONE), None, "support", OPENAI)
    assert dispatch.for_task(work, b"t", ask(needs=[Ability.TOOLS]), 9).model is BIG
    assert dispatch.for_task(work, b"t", ask(), 9).model is plain


def test_the_workloads_own_version_of_a_model_is_asked_for() -> None:
    elsewhere = msgspec.structs.replace(BIG, provider=provider("eu"))
    pinned = snapshot(workloads=[workload(primary=(elsewhere,), substitutes=())], models=[BIG, SMALL, CLAUDE])
    assert dispatch.to(pinned, caller(pinned), None, "big-latest", OPENAI).model is elsewhere
    by_tier = dispatch.to(pinned, caller(pinned), None, "premium", OPENAI)
    assert by_tier.model is elsewhere
    assert by_tier.tier == (elsewhere,)


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
    assert dispatch.speaking(both, OPENAI) == ("big", "claude", "small", "other")
    assert dispatch.speaking(both, Dialect.EMBEDDINGS) == ()
    embedder = msgspec.structs.replace(OTHER, provider=provider("e", Dialect.EMBEDDINGS))
    assert dispatch.speaking(workload(primary=(BIG, embedder), substitutes=()), Dialect.EMBEDDINGS) == ("other",)
    assert dispatch.speaking(workload(primary=(BIG, embedder), substitutes=()), ANTHROPIC) == ("big",)
