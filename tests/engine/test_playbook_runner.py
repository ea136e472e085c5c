"""Does the engine move runs on by what was recorded, undo what it did, and do everything once?"""

import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.engine.rehearsals import DAYS, QUICK, Letterbox, Pigeonhole, quick, rehearsal, rehearsed

from upshift.engine.gather import scope_of
from upshift.engine.notices import Teller, WebhookWay
from upshift.engine.notify import Webhook
from upshift.engine.rehearsal import BEGIN, TICK, Rehearsal, Scenario, history
from upshift.engine.runner import load
from upshift.evidence.measurement import Of, Scope
from upshift.evidence.pattern import HOUR
from upshift.playbook.book import Answer
from upshift.playbook.notices import notices
from upshift.playbook.run import (
    Aborted,
    Acting,
    Asked,
    Entered,
    Extended,
    Finding,
    Overridden,
    Record,
    RolledBack,
    State,
    fold,
    kind_of,
    to_decision,
)
from upshift.playbook.story import post_mortem
from upshift.store.journal import Journal
from upshift.store.sqlite_journal import SqliteJournal
from upshift.store.verify import verify


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = SqliteJournal(tmp_path / "upshift.db")
    yield made
    made.close()
    assert verify(tmp_path / "upshift.db").ok


def entered(records: list[Record]) -> dict[str, int]:
    return {one.phase: one.at - BEGIN for one in records if isinstance(one, Entered)}


def state_of(made: Rehearsal) -> tuple[object, ...]:
    sources = made.sources
    return sources.standing(), sources.structure(), sources.retired()


def test_a_good_agent_gets_in_and_not_before_its_windows_are_over(journal: Journal, tmp_path: Path) -> None:
    records = rehearsed(journal, tmp_path)
    run = fold(records)
    assert run.state is State.FINISHED
    when = entered(records)
    assert list(when) == ["baseline", "staged", "full", "recalibration"]
    assert when["full"] - when["staged"] >= 6 * HOUR
    assert when["recalibration"] - when["full"] >= 6 * HOUR
    sources = rehearsal(journal, tmp_path).sources
    assert sources.standing().interfaces == ("dora-ada", "dora-bob", "dora-cleo", "dora-emil")
    assert sources.standing().share("dora") == 1.0
    retired = {one.baseline for one in sources.retired()}
    assert run.result("baseline/latency") not in retired
    assert len(retired) == 2
    told = sorted(one.id for one in notices(records))
    assert Pigeonhole(tmp_path / "holes").ids() == told
    assert sorted(Letterbox(tmp_path / "letters").ids()) == [one.id for one in notices(records) if one.urgent]


def test_a_slow_agent_is_rolled_back_and_everything_is_as_it_was(journal: Journal, tmp_path: Path) -> None:
    before = state_of(rehearsal(journal, tmp_path))
    records = rehearsed(journal, tmp_path, Scenario.SLOW)
    run = fold(records)
    assert run.state is State.ROLLED_BACK
    assert isinstance(run.ending, RolledBack)
    assert "latency regressed" in run.ending.why[0]
    assert "full" not in entered(records)
    assert {one.at for one in records[-3:]} == {run.ending.at}, "undone at the look that found it"
    assert state_of(rehearsal(journal, tmp_path)) == before
    text = post_mortem(records)
    assert "was rolled back" in text
    assert "latency regressed" in text
    assert "Never entered: full, recalibration." in text


@pytest.mark.parametrize("phase", ["staged", "full", "recalibration"])
def test_an_abort_leaves_everything_as_it_was(journal: Journal, tmp_path: Path, phase: str) -> None:
    """Also what was there before the run: an interface that was active, baselines that were not retired."""
    made = rehearsal(journal, tmp_path)
    for number, (kind, subject, detail) in enumerate(
        [("interface-activated", "dora-bob", {}), ("traffic-share", "dora", {"share": "0.05"})]
    ):
        journal.decide(
            msgspec.structs.replace(
                to_decision(Aborted(run="x", at=BEGIN, step=0, by="mia", reason="")),
                id=f"before/{number}", kind=kind, subject=subject, detail=detail,
            )
        )  # fmt: skip
    before = state_of(made)
    run = made.start(quick(QUICK.replace("sign-off: engineering", "sign-off: finance")))
    while (found := fold(load(journal, run))).visit.phase.name != phase or not found.visit.ready:
        made.runner.tick()
        made.clock.at += TICK
    assert state_of(made) != before
    aborted = Aborted(run=run, at=made.clock.now(), step=found.next_step, by="mia", reason="second thoughts")
    assert journal.decide(to_decision(aborted))
    assert fold(load(journal, run)).state is State.UNDOING
    made.runner.tick()
    assert fold(load(journal, run)).state is State.ABORTED
    assert state_of(made) == before
    size = len(load(journal, run))
    made.runner.tick()
    assert len(load(journal, run)) == size


def test_what_was_begun_and_never_noted_is_undone_too(journal: Journal, tmp_path: Path) -> None:
    """The engine died in the middle of an action; the abort came before anybody could finish it."""
    made = rehearsal(journal, tmp_path)
    before = state_of(made)
    run = made.start(quick())
    while fold(load(journal, run)).visit.phase.name != "staged":
        made.runner.tick()
        made.clock.at += TICK
    whole = load(journal, run)
    begun = next(
        place for place, one in enumerate(whole) if isinstance(one, Acting) and one.action.do == "share-of-traffic"
    )
    other = SqliteJournal(tmp_path / "other.db")
    try:
        for record in whole[: begun + 1]:
            other.decide(to_decision(record))
        found = fold(load(other, run))
        assert found.visit.phase.name == "staged"
        assert not found.visit.ready
        other.decide(to_decision(Aborted(run=run, at=found.latest, step=found.next_step, by="mia", reason="no")))
        second = rehearsal(other, tmp_path, at=made.clock.now())
        second.runner.tick()
        assert fold(load(other, run)).state is State.ABORTED
        assert state_of(second) == before
        acting = whole[begun]
        assert isinstance(acting, Acting)
        # A straggler that has slept through it all does it now, and changes nothing.
        name = f"playbook/{run}/{acting.step}/act/{acting.number}"
        second.acts.do(name, acting.action, found, acting.at)
        assert state_of(second) == before
    finally:
        other.close()


@pytest.mark.parametrize("scenario", [Scenario.NO_TRAFFIC, Scenario.STOPS_HALF_WAY, Scenario.ONE_METRIC_MISSING])
def test_missing_data_is_never_a_pass(journal: Journal, tmp_path: Path, scenario: Scenario) -> None:
    text = QUICK
    if scenario is Scenario.STOPS_HALF_WAY:
        text = QUICK.replace("window: 6h\n    extend: 3h", "window: 36h\n    extend: 3h")
    if scenario is Scenario.ONE_METRIC_MISSING:
        text = QUICK.replace(
            "metrics: [latency]}}\n      - {check: measured",
            "metrics: [latency, task-failure-rate]}}\n      - {check: measured",
        )
    records = rehearsed(journal, tmp_path, scenario, text)
    run = fold(records)
    assert run.state is State.RUNNING
    assert run.visit.phase.name == "staged"
    assert sum(isinstance(one, Extended) for one in records) == 1
    asked = [one for one in records if isinstance(one, Asked)]
    assert asked
    assert run.visit.look is not None
    assert any(one.answer is Answer.BROKEN for one in run.visit.look.findings)
    assert len(Letterbox(tmp_path / "letters").ids()) == len(asked)


def test_two_replicas_that_take_turns_do_what_one_does(journal: Journal, tmp_path: Path) -> None:
    alone = history(rehearsed(journal, tmp_path))
    pair = SqliteJournal(tmp_path / "pair.db")
    try:
        folder = tmp_path / "pair"
        folder.mkdir()
        one, other = (rehearsal(pair, folder, holder=name) for name in "ab")
        run = one.start(quick())
        for turn in range(int(DAYS * 48)):
            # Half an hour apart every lease has run out: whoever looks first has it.
            first, second = (one, other) if turn % 3 else (other, one)
            first.clock.at = second.clock.at = BEGIN + turn * TICK
            first.tick(run)
            first.clock.at -= TICK
            assert second.runner.tick() == 0
            if fold(load(pair, run)).over:
                break
        records = load(pair, run)
        assert history(records) == alone
        assert Pigeonhole(folder / "holes").ids() == sorted(each.id for each in notices(records))
        letters = Letterbox(folder / "letters").ids()
        assert len(letters) == len(set(letters))
    finally:
        pair.close()


def test_a_restart_at_every_look_changes_nothing(journal: Journal, tmp_path: Path) -> None:
    alone = history(rehearsed(journal, tmp_path))
    again = SqliteJournal(tmp_path / "again.db")
    try:
        folder, turn, over = tmp_path / "again", 0, False
        folder.mkdir()
        run = rehearsal(again, folder).start(quick())
        while not over:
            made = rehearsal(again, folder, at=BEGIN + turn * TICK)
            over = made.tick(run).over
            turn += 1
        assert history(load(again, run)) == alone
    finally:
        again.close()


def test_a_clock_that_jumps_back_shortens_nothing(journal: Journal, tmp_path: Path) -> None:
    made = rehearsal(journal, tmp_path)
    run = made.start(quick())
    while fold(load(journal, run)).visit.phase.name != "staged":
        made.tick(run)
    since = fold(load(journal, run)).visit.since
    made.clock.at = since - 10 * HOUR
    made.tick(run)
    made.tick(run)
    assert fold(load(journal, run)).visit.phase.name == "staged"
    assert fold(load(journal, run)).visit.since == since
    made.clock.at = since + 6 * HOUR - 1
    made.runner.tick()
    assert fold(load(journal, run)).visit.phase.name == "staged"


def test_an_edited_book_changes_no_run_that_was_started(journal: Journal, tmp_path: Path) -> None:
    made = rehearsal(journal, tmp_path)
    run = made.start(quick())
    made.tick(run)
    assert made.start(quick(QUICK.replace("6h", "1h"))) == run, "started once"
    assert fold(load(journal, run)).book == quick()


def test_an_override_opens_what_evidence_did_not_and_is_shown_for_ever(journal: Journal, tmp_path: Path) -> None:
    text = QUICK.replace("    extend: 3h\n", "")
    made = rehearsal(journal, tmp_path, Scenario.NO_TRAFFIC)
    run = made.start(quick(text))
    while not (found := fold(load(journal, run))).visit.asked or found.visit.phase.name != "staged":
        made.tick(run)
    for criterion in ("no-regression", "few-failures"):
        journal.decide(
            to_decision(
                Overridden(
                    run=run, at=made.clock.now(), step=found.visit.step, number=0, criterion=criterion, by="mia",
                    reason="the board wants it", owner="tom", expires=made.clock.now() + HOUR,
                )
            )
        )  # fmt: skip
    made.tick(run)
    records = load(journal, run)
    assert fold(records).visit.phase.name == "full"
    text = post_mortem(records)
    assert "mia let it pass without evidence" in text
    assert "The risk is tom's" in text
    assert any("is overridden by mia" in one.title for one in notices(records))


def test_a_check_that_breaks_is_no_pass(journal: Journal, tmp_path: Path) -> None:
    made = rehearsal(journal, tmp_path)
    run = made.start(quick())
    made.tick(run)
    found = fold(load(journal, run))
    started = msgspec.structs.replace(found.started, inputs={**found.started.inputs, "scope": "nobody"})
    other = msgspec.structs.replace(found, started=started)
    for finding in made.gatherer.findings(other, made.clock.now()):
        assert isinstance(finding, Finding)
        assert finding.answer is Answer.BROKEN or finding.criterion == "baseline-frozen"


@pytest.mark.parametrize(
    ("text", "scope"),
    [("system", Scope()), ("workload chat", Scope(Of.WORKLOAD, "chat")), ("pod blue", Scope(Of.POD, "blue"))],
)
def test_scopes(journal: Journal, tmp_path: Path, text: str, scope: Scope) -> None:
    made = rehearsal(journal, tmp_path)
    run = fold(load(journal, made.start(quick())))
    given = msgspec.structs.replace(run.started, inputs={"scope": text})
    assert scope_of(msgspec.structs.replace(run, started=given)) == scope
    wrong = msgspec.structs.replace(run.started, inputs={"scope": f"{text} x" if text == "system" else text[:3]})
    with pytest.raises(ValueError, match="scope"):
        scope_of(msgspec.structs.replace(run, started=wrong))


def test_a_webhook_that_is_down_is_told_later(journal: Journal, tmp_path: Path) -> None:
    records = rehearsed(journal, tmp_path, Scenario.SLOW)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    teller = Teller(journal, [WebhookWay(Webhook(f"http://127.0.0.1:{port}", ""))])
    now = BEGIN + 100 * HOUR
    assert not teller.tell(records, now)
    assert not teller.tell(records, now + 1), "and not at once again"
    kinds = journal.decisions([kind_of("quick-rehearsal")], limit=1_000)
    assert len(kinds) == len(records) - 1, "trouble with a channel is no part of the run"
