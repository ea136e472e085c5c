"""Is a workload kept to the model tiers of its policy?"""

import pytest
from tests.traffic.builders import BIG, CLAUDE, OTHER, SMALL, workload

from upshift.model.ids import ModelTierId
from upshift.model.refusal import NotAllowed, Reason, Refused
from upshift.traffic import police
from upshift.traffic.dispatch import Work
from upshift.traffic.snapshot import Dialect, Pin, Routing, Task


def refused(work: Work, dialect: Dialect) -> Reason:
    with pytest.raises(Refused) as caught:
        police.allow(work, dialect)
    return caught.value.reason


def test_models_of_both_tiers_may_be_asked_for() -> None:
    police.allow(Work(workload(), BIG), Dialect.OPENAI)
    police.allow(Work(workload(), SMALL), Dialect.OPENAI)
    police.allow(Work(workload(), CLAUDE), Dialect.ANTHROPIC)


def test_a_model_outside_them_may_not() -> None:
    assert refused(Work(workload(), OTHER), Dialect.OPENAI) == NotAllowed(
        "model 'other' for workload 'support' (policy: premium, degrading to budget)", ("big", "claude", "small")
    )


def test_nor_may_the_budget_tier_where_degrading_is_not_allowed() -> None:
    strict = workload(substitutes=(), substitute_tier=None)
    assert refused(Work(strict, SMALL), Dialect.OPENAI) == NotAllowed(
        "model 'small' for workload 'support' (policy: premium)", ("big", "claude")
    )


def test_models_of_tasks_may_be_asked_for() -> None:
    tasked = workload(routing=Routing(tasks=(Task(name="t", tier=ModelTierId("x"), models=(OTHER,)),)))
    police.allow(Work(tasked, OTHER), Dialect.OPENAI)


def test_a_pinned_workload_says_that_it_is() -> None:
    pinned = workload(routing=Routing(pin=Pin(models=frozenset({BIG.name}))), substitutes=())
    reason = refused(Work(pinned, SMALL), Dialect.OPENAI)
    assert isinstance(reason, NotAllowed)
    assert "it is pinned" in reason.what


def test_a_model_may_be_asked_for_in_another_dialect_but_not_for_embeddings() -> None:
    police.allow(Work(workload(), CLAUDE), Dialect.OPENAI)
    assert refused(Work(workload(), CLAUDE), Dialect.EMBEDDINGS) == NotAllowed(
        "model 'claude' in the openai-embeddings dialect (it speaks anthropic)", ()
    )
