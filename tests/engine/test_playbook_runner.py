"""Does the engine move runs on by what was recorded, undo what it did, and do everything once?"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.engine.rehearsals import DAYS, QUICK, Letterbox, Pigeonhole, quick, rehearsal, rehearsed
from tests.engine.test_notify import bound

from upshift.admin.playbook_views import run_view
from upshift.engine.act import JournalActs
from upshift.engine.gather import Gatherer, scope_of
from upshift.engine.notices import Teller, WebhookWay
from upshift.engine.notify import Webhook
from upshift.engine.recorded import JournalSources
from upshift.engine.rehearsal import BEGIN, TICK, HandClock, Rehearsal, Scenario, history
from upshift.engine.runner import Runner, load
from upshift.evidence.measurement import Of, Scope, Span
from upshift.evidence.pattern import HOUR
from upshift.model.ids import PlanHash
from upshift.model.metered import Metered
from upshift.model.span import MICROS, to_instant
from upshift.plan_file import loads
from upshift.plan_file.books import known_checks, read_book
from upshift.playbook.book import Answer
from upshift.playbook.checks import Check
from upshift.playbook.facts import Judgement
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
    Started,
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
    text = post_mortem(records)
    assert "Every gate opened on evidence and signatures; nobody overrode anything." in text
    assert "Healthy at the end of full: latency " in text
    assert "In force now: gave dora 100% of the sessions; interfaces are active: dora-ada, dora-bob, " in text
    assert "engineering, who answered after 0 min" in text
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
    assert "- **Regressed**: latency " in text
    assert " worse than the snapshot's " in text
    assert "Everything that it had changed was undone at once." in text
    assert text.count("latency against the snapshot") == 1, "the same evidence is not shown twice"


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


FROZEN_FIRST = """
playbook: frozen-first
subject: agent
inputs: {agent: {says: whose}, interfaces: {says: which}}
phases:
  one:
    entering: [{do: freeze-baselines, with: {metrics: [latency], days: 2, values: 10}}]
    exit: [{sign-off: engineering}]
"""


def test_a_run_that_cannot_go_on_stops_no_other(journal: Journal, tmp_path: Path) -> None:
    """A book that a careless hand wrote into the ledger: one scope that is none, one record that cannot be read."""
    made = rehearsal(journal, tmp_path)
    book = quick(FROZEN_FIRST)
    for name, scope in (("nobody", "bogus"), ("torn", "system")):
        inputs = {"agent": name, "interfaces": "", "scope": scope}
        journal.decide(to_decision(Started(run=name, at=BEGIN, by="mia", book=book, hash=book.hash, inputs=inputs)))
    torn = to_decision(Aborted(run="torn", at=BEGIN, step=1, by="mia", reason=""))
    journal.decide(msgspec.structs.replace(torn, detail={"record": '{"type":"from a later version"}'}))
    run = made.start(quick())
    for _ in range(3):
        made.tick(run)
    assert fold(load(journal, run)).visit.phase.name == "staged"
    nobody = fold(load(journal, "nobody"))
    assert (nobody.state, nobody.visit.ready) == (State.RUNNING, False)
    assert "freeze-baselines is not done yet" in run_view(nobody, BEGIN).needs[0]
    with pytest.raises(ValueError, match="cannot be read"):
        load(journal, "torn")


@pytest.mark.parametrize("says", [("fine", 7), "fine"])
def test_what_a_check_of_ones_own_answers_is_read_before_it_is_kept(
    journal: Journal, tmp_path: Path, says: Any
) -> None:
    odd = Check(name="odd", says="", needs=frozenset(), judge=lambda *_: Judgement(answer=Answer.PASS, says=says))
    made = Rehearsal(journal, {"odd": odd}, Scenario.GOOD)
    text = "playbook: mine\nphases: {one: {exit: [{check: odd}]}}"
    run = made.start(read_book(text, "mine.yaml", {"odd": odd}))
    made.runner.tick()
    found = fold(load(journal, run))
    assert found.visit.look is not None
    (finding,) = found.visit.look.findings
    assert finding.answer is Answer.BROKEN
    assert "the check odd broke" in finding.says[0]


class Counting(JournalSources):
    """Counts how often calls are read from the journal."""

    read = 0

    def _calls(self, span: Span) -> list[Metered]:
        self.read += 1
        return super()._calls(span)


def test_looks_within_a_quarter_of_an_hour_read_the_journal_once(journal: Journal, tmp_path: Path) -> None:
    clock = HandClock(BEGIN)
    sources = Counting(journal, clock.now)
    gatherer = Gatherer(sources, known_checks())
    runner = Runner(journal, gatherer, JournalActs(journal, gatherer), clock.now, "a")
    book = quick(QUICK)
    for agent in ("dora", "emil"):
        started = Started(run=agent, at=BEGIN, by="mia", book=book, hash=book.hash, inputs={"agent": agent})
        journal.decide(to_decision(started))
    for _ in range(20):
        runner.tick()
        clock.at += 5 * MICROS
    assert sources.read == 2, "what is long is read once for each run"
    span = Span(BEGIN - 7 * HOUR, BEGIN - HOUR)
    for _ in range(3):
        sources.calls(span)
        sources.feedback(span)
    assert sources.read == 3, "what is short is kept for whoever asks next"


ZONED = """
upshift: 1
name: zoned
calendar: {timezone: Europe/Berlin, freezes: {moving: {from: 2026-11-20, to: 2026-12-02}}}
providers: {local: {dialect: openai, base_url: "http://127.0.0.1:9/v1"}}
models: {big: {provider: local, context: 128k, price: {input: $1, output: $5}}}
model_tiers: {premium: [big]}
tiers: [free]
tenants: {acme: {default_tier: free}}
gates: {hard: {ceilings: {free: {month: $1}}}}
workloads: {chat: {status: committed, models: {primary: premium}, gate: hard}}
"""


def test_a_baseline_follows_the_clocks_of_the_plan_and_the_change_waits_for_its_freeze(
    journal: Journal, tmp_path: Path
) -> None:
    checked = loads(ZONED)
    journal.apply_plan(checked.snapshot.hash, checked.document.encode(), "zoned", "mia", BEGIN - HOUR)
    made = rehearsal(journal, tmp_path, Scenario.SLOW)
    run = made.start(quick())
    while made.clock.now() < BEGIN + 3 * HOUR:
        made.tick(run)
    found = fold(load(journal, run))
    assert found.visit.phase.name == "baseline", "nothing is changed on a day of the freeze"
    baseline = made.sources.baseline(found.result("baseline/latency"))
    assert baseline is not None
    assert baseline.zone == "Europe/Berlin"
    assert found.visit.look is not None
    assert [one.criterion for one in found.visit.look.findings if one.answer is not Answer.PASS] == ["change-freeze"]
    made.clock.at = to_instant(datetime(2026, 12, 2, 23, tzinfo=UTC))
    made.tick(run)
    assert fold(load(journal, run)).visit.phase.name == "staged", "midnight in Berlin"


def test_a_plan_that_cannot_be_read_opens_nothing(journal: Journal, tmp_path: Path) -> None:
    made = rehearsal(journal, tmp_path)
    run = made.start(quick())
    journal.apply_plan(PlanHash("f" * 64), b'{"from": "a later version"}', "later", "mia", BEGIN - HOUR)
    for _ in range(4):
        made.tick(run)
    found = fold(load(journal, run))
    assert found.visit.phase.name == "baseline"
    assert found.visit.look is not None
    (broken,) = [one for one in found.visit.look.findings if one.criterion == "change-freeze"]
    assert broken.answer is Answer.BROKEN
    assert "cannot be read here, nor its freezes" in broken.says[0]
    assert made.sources.zone(Scope()) == "UTC"


def test_a_webhook_that_is_down_is_told_later(journal: Journal, tmp_path: Path) -> None:
    records = rehearsed(journal, tmp_path, Scenario.SLOW)
    with bound() as nobody:
        teller = Teller(journal, [WebhookWay(Webhook(f"http://127.0.0.1:{nobody.getsockname()[1]}", ""))])
        now = BEGIN + 100 * HOUR
        assert not teller.tell(records, now)
        assert not teller.tell(records, now + 1), "and not at once again"
    kinds = journal.decisions([kind_of("quick-rehearsal")], limit=1_000)
    assert len(kinds) == len(records) - 1, "trouble with a channel is no part of the run"
