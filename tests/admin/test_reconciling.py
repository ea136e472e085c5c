"""Are the right records held against a bill, under the names of their time, and is only what is certain corrected?"""

import json
from pathlib import Path

import msgspec
import pytest
from tests.admin.installation import HOUR, NOW, OPERATOR, PLAN, Installation

from upshift.admin.desk import ActError, Actor
from upshift.admin.reconciling import Asked, Correction, Plans, Reconciled, correct, read_files, reconcile
from upshift.admin.tolerances import narrowed, tolerance
from upshift.model.budget import Amount, Bucket
from upshift.model.key import Role
from upshift.model.metered import Metered, Outcome
from upshift.model.span import MICROS
from upshift.model.tokens import Certainty
from upshift.reviews.findings import Tolerance, Verdict

WIDE = Asked(provider="local", since="30d", until="2026-11-21T10:00")


def line(record: Metered, model: str) -> dict[str, object]:
    usage = {"input": record.usage.input, "output": record.usage.output}
    return {"id": record.upstream_id, "at": record.started, "model": model, "usage": usage}


def held_against(installation: Installation, *lines: dict[str, object], asked: Asked = WIDE) -> Reconciled:
    return reconcile(installation.desk, OPERATOR, read_files([("bill", json.dumps(lines).encode())]), asked)


def recorded(installation: Installation, number: int, **fields: object) -> Metered:
    snapshot = installation.desk.need_snapshot()
    record = msgspec.structs.replace(installation.call(), plan=snapshot.hash, upstream_id=f"req_{number}")
    return msgspec.structs.replace(record, **fields)


async def test_a_record_is_named_by_the_plan_that_it_was_made_under(installation: Installation, tmp_path: Path) -> None:
    old = recorded(installation, 1)
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN.read_text().replace("big: {provider: local,", "big: {provider: local, id: big-two,"))
    installation.apply(plan)
    new = recorded(installation, 2)
    await installation.spend(old, new)
    found = held_against(installation, line(old, "big"), line(new, "big-two"))
    assert (found.report.ok, found.report.matched) == (True, 2)
    swapped = held_against(installation, line(old, "big-two"), line(new, "big"))
    assert [each.verdict for each in swapped.report.findings] == [Verdict.DIFFERENT] * 2


async def test_every_page_of_the_ledger_is_looked_at(installation: Installation) -> None:
    records = [recorded(installation, n, started=NOW - HOUR * 24 * 20 + n * MICROS) for n in range(4_100)]
    await installation.spend(*records)
    found = held_against(installation, *(line(each, "big") for each in records))
    assert (found.report.ok, found.report.matched) == (True, 4_100)


async def test_other_providers_are_none_of_it(installation: Installation) -> None:
    own, other = recorded(installation, 1), recorded(installation, 2, provider="elsewhere")
    await installation.spend(own, other)
    assert held_against(installation, line(own, "big")).report.ok
    with pytest.raises(ActError, match="no provider 'elsewhere'"):
        held_against(installation, asked=Asked(provider="elsewhere"))


async def test_only_an_admin_may(installation: Installation) -> None:
    tess = Actor("tess", Role.TENANT_ADMIN, "acme")
    with pytest.raises(ActError, match="only an admin"):
        reconcile(installation.desk, tess, [], WIDE)
    with pytest.raises(ActError, match="only an admin"):
        correct(installation.desk, tess, [], "why")
    with pytest.raises(ActError, match="needs a reason"):
        correct(installation.desk, OPERATOR, [], " ")


UNKNOWN = {"certainty": Certainty.UNKNOWN, "outcome": Outcome.UPSTREAM_ERROR, "cost": None, "counted": 9_000_000}
"""Charged 1,000 tokens and $0.009."""


async def correction(installation: Installation, **fields: object) -> Correction:
    record = recorded(installation, 1, **{**UNKNOWN, **fields})
    await installation.spend(record)
    (found,) = held_against(installation, {**line(record, "big"), "usage": {"input": 300, "output": 50}}).corrections
    return found


async def test_the_counters_are_those_that_the_call_was_charged_to(installation: Installation) -> None:
    found = await correction(installation)
    # The daily ceiling of the plan has no counter here, since nothing was ever counted under it.
    assert [key.path() for key in found.keys] == ["acme/alice/chat/included/month/2026-11"]
    assert (found.known.correction, found.why_not) == (Amount(350 - 1000, 550_000 - 9_000_000), "")
    (written,) = correct(installation.desk, OPERATOR, [found], "the bill")
    assert written.done == NOW
    assert correct(installation.desk, OPERATOR, [found], "the bill") == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"started": NOW - 11 * HOUR - 10 * MICROS}, "as a period ended"),
        ({"plan": "e" * 64}, "is not kept"),
        ({"user": "nobody", "tenant": "globex"}, "tenant or workload|user"),
        ({"workload": "gone"}, "tenant or workload"),
    ],
)
async def test_what_is_not_certain_is_not_corrected(
    installation: Installation, fields: dict[str, object], says: str
) -> None:
    found = await correction(installation, **fields)
    assert (found.keys, bool(found.why_not)) == ((), True)
    assert any(each in found.why_not for each in says.split("|"))
    assert correct(installation.desk, OPERATOR, [found], "the bill") == []


def test_a_lost_call_is_of_the_model_that_it_asked_for_or_was_degraded_to(installation: Installation) -> None:
    plans = Plans(installation.desk.journal, installation.desk.need_snapshot())
    lost = recorded(installation, 1, served_model="", provider="", outcome=Outcome.LOST)
    assert (plans.upstream_name(lost), plans.provider(lost)) == ("big", "local")
    assert plans.upstream_name(msgspec.structs.replace(lost, bucket=Bucket.DEGRADED)) == "small"
    unheard = msgspec.structs.replace(lost, requested_model="unheard")
    assert (plans.upstream_name(unheard), plans.provider(unheard)) == ("unheard", "")


def test_tolerances_and_conditions_as_people_write_them() -> None:
    assert tolerance([]) == Tolerance()
    assert tolerance(["1%", "$0.05", "tokens=0.1%"]) == Tolerance(
        tokens_share=0.001, money_share=0.01, money=50_000_000
    )
    assert tolerance(["money=2.5%"]).money_share == 0.025
    assert narrowed(["project=proj_1", "key = key_1"]) == {"project": "proj_1", "key": "key_1"}
    for bad in ("colour=red", "project", "project="):
        with pytest.raises(ValueError, match="is not a condition"):
            narrowed([bad])
    with pytest.raises(ValueError, match="is not a tolerance"):
        tolerance(["tokens=5"])
