"""Does a gate open on time and evidence only, whatever is found, whenever it is looked at?"""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.playbook.small import BEGIN, TEXT, always, finding, moved, of, small, started

from upshift.evidence.pattern import HOUR
from upshift.playbook.advance import FREEZE, Ask, Enter, Extend, RollBack, Wait, advance, changing, criteria, judged
from upshift.playbook.book import Answer
from upshift.playbook.run import (
    Aborted,
    Acted,
    Acting,
    Asked,
    Entered,
    Extended,
    Finding,
    Finished,
    Looked,
    Overridden,
    Record,
    RolledBack,
    Signed,
    State,
    fold,
    from_decision,
    to_decision,
)

PASS, WAITING, UNCLEAR, BROKEN, FAIL = Answer


def in_staged() -> list[Record]:
    records: list[Record] = [started()]
    return [*records, *moved(records, always(PASS), BEGIN)]


def phases(records: list[Record]) -> list[str]:
    return [one.phase for one in records if isinstance(one, Entered)]


def test_a_window_is_not_over_before_it_is_over() -> None:
    records = in_staged()
    assert phases(records) == ["ready", "staged"]
    for now in (BEGIN, BEGIN + HOUR, BEGIN + 48 * HOUR - 1):
        assert moved(records, always(PASS), now) == []
    assert phases(moved(records, always(PASS), BEGIN + 48 * HOUR)) == ["full"]


def test_a_window_counts_from_when_its_actions_were_done() -> None:
    records: list[Record] = [started()]
    records += moved(records, always(WAITING), BEGIN)
    records += moved(records, always(PASS), BEGIN + 5 * HOUR)
    assert fold(records).visit.due == BEGIN + 53 * HOUR


def test_a_clock_that_goes_backwards_opens_nothing() -> None:
    records = in_staged()
    assert moved(records, always(PASS), BEGIN - 1_000 * HOUR) == []
    found = fold(records)
    assert isinstance(advance(found.book, found, [], BEGIN - HOUR), Wait)


@pytest.mark.parametrize("answer", [WAITING, UNCLEAR, BROKEN, None])
def test_nothing_but_a_pass_opens_a_gate(answer: Answer | None) -> None:
    records = in_staged()
    for hour in range(0, 400, 7):
        records += moved(records, always(answer), BEGIN + hour * HOUR)
    assert phases(records) == ["ready", "staged"]
    assert fold(records).state is State.RUNNING
    assert of(records, Asked), "a person has to hear of it"


def test_undecided_at_the_end_extends_once_then_asks() -> None:
    records = in_staged()
    (extended,) = of(moved(records, always(WAITING), BEGIN + 48 * HOUR), Extended)
    assert isinstance(extended, Extended)
    assert extended.by == 24 * HOUR
    records.append(extended)
    assert moved(records, always(WAITING), BEGIN + 71 * HOUR) == []
    assert moved(records, always(PASS), BEGIN + 71 * HOUR) == [], "an extended window is a window"
    (asked,) = moved(records, always(WAITING), BEGIN + 72 * HOUR)
    assert isinstance(asked, Asked)
    records.append(asked)
    assert moved(records, always(WAITING), BEGIN + 73 * HOUR) == []
    assert phases(moved(records, always(PASS), BEGIN + 74 * HOUR)) == ["full"], "evidence may still open it"


def test_a_failure_rolls_back_at_once() -> None:
    records = in_staged()
    made = moved(records, always(FAIL), BEGIN + HOUR)
    (back,) = of(made, RolledBack)
    assert isinstance(back, RolledBack)
    assert back.why == ("no-regression: because",)
    assert fold([*records, *made]).state is State.UNDOING


def test_a_failure_of_the_gate_that_comes_counts_too() -> None:
    text = TEXT.replace("  staged:\n", "  staged:\n    entry: [{check: measured, with: {metric: latency}}]\n")
    run = fold([started(small(text)), Entered(run="small-1", at=BEGIN, step=1, phase="ready")])
    found = [finding(run, "contracts-complete", PASS), finding(run, "measured", FAIL)]
    assert isinstance(advance(run.book, run, found, BEGIN), RollBack)


def test_a_failure_that_lasts_is_not_taken_back_by_a_later_look() -> None:
    run = fold([started(small(TEXT.replace("window: 48h", "window: 48h\n    on-fail: ask"))), *in_staged()[1:]])
    failed = finding(run, "no-regression", FAIL, "worse", lasting=True)
    first = advance(run.book, run, [failed], BEGIN + HOUR)
    assert isinstance(first, Ask)
    looked = Looked(run=run.id, at=BEGIN + HOUR, step=run.visit.step, number=0, findings=(failed,))
    later = fold([run.started, *in_staged()[1:], looked])
    coming = advance(run.book, later, [finding(run, "no-regression", PASS)], BEGIN + 50 * HOUR)
    assert isinstance(coming, Ask)
    assert coming.why == ("no-regression: worse",)


def test_drift_asks_before_the_window_is_over() -> None:
    run = fold(in_staged())
    coming = advance(run.book, run, [finding(run, "no-regression", UNCLEAR)], BEGIN + HOUR)
    assert isinstance(coming, Ask)


def test_drift_may_be_let_to_wait_or_rolled_back() -> None:
    for how, kind in (("wait", Wait), ("roll-back", RollBack)):
        run = fold(
            [started(small(TEXT.replace("window: 48h", f"window: 48h\n    on-unclear: {how}"))), *in_staged()[1:]]
        )
        assert isinstance(advance(run.book, run, [finding(run, "no-regression", UNCLEAR)], BEGIN + HOUR), kind)


def test_a_signature_is_asked_for_when_the_evidence_is_there() -> None:
    records = in_staged()
    records += moved(records, always(PASS), BEGIN + 48 * HOUR)
    end = BEGIN + 120 * HOUR
    (asked,) = of(moved(records, always(PASS), end), Asked)
    assert isinstance(asked, Asked)
    assert asked.roles == ("engineering",)
    assert not of(moved(records, always(WAITING), end), Finished)
    run = fold(records)
    signed = Signed(run=run.id, at=end, step=run.visit.step, criterion="closed", role="engineering", by="mia")
    assert of(moved([*records, signed], always(PASS), end), Finished)
    assert not of(moved([*records, signed], always(BROKEN), end), Finished)


def test_a_signature_does_not_shorten_a_window() -> None:
    records = in_staged()
    records += moved(records, always(PASS), BEGIN + 48 * HOUR)
    run = fold(records)
    signed = Signed(run=run.id, at=run.latest, step=run.visit.step, criterion="closed", role="engineering", by="mia")
    assert moved([*records, signed], always(PASS), BEGIN + 119 * HOUR) == []


def override(records: list[Record], *, expires: int) -> Overridden:
    run = fold(records)
    return Overridden(
        run=run.id, at=run.latest, step=run.visit.step, number=0, criterion="no-regression", by="mia", reason="board",
        owner="tom", expires=expires,
    )  # fmt: skip


def test_an_override_stands_in_for_evidence_until_it_expires() -> None:
    records = in_staged()
    for expires, opened in ((BEGIN + 49 * HOUR, ["full"]), (BEGIN + 47 * HOUR, [])):
        overridden = [*records, override(records, expires=expires)]
        assert moved(overridden, always(BROKEN), BEGIN + 47 * HOUR - 1) == [], "no window is shortened"
        made = moved(overridden, always(BROKEN), BEGIN + 48 * HOUR)
        assert phases(made) == opened
        if opened:
            (entered,) = of(made, Entered)
            assert isinstance(entered, Entered)
            assert entered.findings[0].override == "mia"
            assert "the risk is tom's" in entered.findings[0].says[0]


def test_an_override_does_not_cover_a_failure() -> None:
    records = in_staged()
    records.append(override(records, expires=BEGIN + 1_000 * HOUR))
    assert of(moved(records, always(FAIL), BEGIN + HOUR), RolledBack)


def test_a_book_that_was_edited_is_not_what_a_run_is_judged_by() -> None:
    run = fold(in_staged())
    edited = small(TEXT.replace("48h", "1h"))
    with pytest.raises(ValueError, match="was started with book"):
        advance(edited, run, [], BEGIN + 2 * HOUR)


def test_the_gate_before_the_first_phase_is_one() -> None:
    text = TEXT.replace("  ready:\n", "  ready:\n    entry: [{check: measured, with: {metric: latency}}]\n")
    records: list[Record] = [started(small(text))]
    assert phases(moved(records, always(BROKEN), BEGIN)) == []
    assert phases(moved(records, always(PASS), BEGIN))[0] == "ready"


def test_only_the_first_that_ends_a_phase_does() -> None:
    records = in_staged()
    step = fold(records).next_step
    aborted = Aborted(run="small-1", at=BEGIN, step=step, by="mia", reason="no")
    entered = Entered(run="small-1", at=BEGIN, step=step, phase="full")
    assert fold([*records, aborted, entered]).state is State.UNDOING
    assert fold([*records, entered, aborted]).visit.phase.name == "full"


def test_records_of_no_run_are_refused() -> None:
    with pytest.raises(ValueError, match="no records"):
        fold([])
    with pytest.raises(ValueError, match="not a record of a run"):
        fold([Entered(run="small-1", at=BEGIN, step=1, phase="ready")])


ANSWERS = st.sampled_from([*Answer, None])
LOOKS = st.lists(
    st.tuples(
        st.integers(-100, 60), st.dictionaries(st.sampled_from(["contracts-complete", "no-regression"]), ANSWERS)
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(LOOKS, st.booleans())
def test_no_sequence_enters_a_phase_early_or_without_evidence(
    looks: list[tuple[int, dict[str, Answer | None]]], signs: bool
) -> None:
    """Findings of any kind, a clock that goes either way, restarts and doubled records at every look."""
    records: list[Record] = [started()]
    now = BEGIN
    for hours, answers in looks:
        now += hours * HOUR
        before = fold(records)
        if signs and before.ending is None:
            step = before.visit.step
            records.append(Signed(run="small-1", at=now, step=step, criterion="closed", role="engineering", by="mia"))
        made = moved(records, answers.get, now)
        records += made
        for record in made:
            if isinstance(record, Entered | Finished):
                left = before.visit
                assert now >= left.due or left.phase.name == "ready" or not left.phase.window
                assert all(one.answer is PASS for one in record.findings)
                wanted = {one.name for _, one in criteria(before.book, left)}
                assert {one.criterion for one in record.findings} == wanted
                assert all(answers.get(name) is PASS for name in wanted - {"closed"})
                before = fold(records[: records.index(record) + 1])
        again = [from_decision(to_decision(one)) for one in records]
        assert fold(again) == fold(records) == fold([*records, *records])
    for one, next_ in zip(phases(records), phases(records)[1:], strict=False):
        assert (one, next_) in {("ready", "staged"), ("staged", "full")}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=30))
def test_missing_data_never_advances(hours: list[int]) -> None:
    records = in_staged()
    for hour in hours:
        records += moved(records, always(None), BEGIN + hour * HOUR)
    assert phases(records) == ["ready", "staged"]


def test_an_answer_that_changes_is_asked_about_again_and_no_oftener() -> None:
    run = fold(in_staged())
    first = advance(run.book, run, [finding(run, "no-regression", UNCLEAR)], BEGIN + HOUR)
    assert isinstance(first, Ask)
    asked = Asked(run=run.id, at=BEGIN, step=run.visit.step, key=first.key, why=first.why)
    later = fold([*in_staged(), asked])
    assert isinstance(advance(run.book, later, [finding(run, "no-regression", UNCLEAR)], BEGIN + 2 * HOUR), Wait)
    end = BEGIN + 48 * HOUR
    assert isinstance(advance(run.book, later, [finding(run, "no-regression", BROKEN)], end), Extend)
    assert isinstance(advance(run.book, later, [finding(run, "no-regression", PASS)], end), Enter)


def test_records_survive_the_journal_as_they_are() -> None:
    for record in in_staged():
        decision = to_decision(record)
        assert from_decision(msgspec.json.decode(msgspec.json.encode(decision), type=type(decision))) == record
    with pytest.raises(ValueError, match="holds no record"):
        from_decision(msgspec.structs.replace(to_decision(started()), detail={}))


def frozen(phase: str, until: int) -> Finding:
    return Finding(phase=phase, criterion=FREEZE.name, answer=WAITING, says=("the books are closed",), until=until)


def in_ready() -> list[Record]:
    return [started(), Entered(run="small-1", at=BEGIN, step=1, phase="ready")]


def test_what_changes_what_is_in_force_waits_for_the_end_of_a_freeze() -> None:
    run, ends = fold(in_ready()), BEGIN + 30 * HOUR
    ready = finding(run, "contracts-complete", PASS)
    coming = advance(run.book, run, [ready, frozen("staged", ends)], BEGIN + HOUR)
    assert coming == Wait(ends, ("change-freeze: the books are closed",)), "and nobody is asked"
    assert isinstance(advance(run.book, run, [ready], ends), Enter)
    other = fold([started()])
    assert changing(other) is None
    assert isinstance(advance(other.book, other, [frozen("ready", ends)], BEGIN), Enter), "it changes nothing yet"


def test_a_freeze_is_overridden_like_a_check_and_recorded() -> None:
    said = Overridden(
        run="small-1", at=BEGIN, step=1, number=0, criterion=FREEZE.name, by="mia", reason="a leak", owner="tom",
        expires=BEGIN + 9 * HOUR,
    )  # fmt: skip
    run = fold([*in_ready(), said])
    found = [finding(run, "contracts-complete", PASS), frozen("staged", BEGIN + 30 * HOUR)]
    coming = advance(run.book, run, found, BEGIN + HOUR)
    assert isinstance(coming, Enter)
    (opened,) = [one for one in coming.findings if one.criterion == FREEZE.name]
    assert (opened.answer, opened.override) == (PASS, "mia")
    assert "a leak" in opened.says[0]
    assert isinstance(advance(run.book, run, found, BEGIN + 9 * HOUR), Wait), "it has expired"
    entered = fold([*in_ready(), said, Entered(run="small-1", at=BEGIN + HOUR, step=2, phase="staged")])
    (still,) = [one for one in judged(entered, [frozen("staged", 0)], BEGIN + HOUR) if one.criterion == FREEZE.name]
    assert still.override == "mia", "its actions may be due after midnight"
    later = [said, *in_staged()[3:]]
    run = fold([*in_ready(), *later])
    assert run.visit.phase.name == "staged"
    (next_,) = [one for one in judged(run, [frozen("full", 0)], BEGIN + HOUR) if one.criterion == FREEZE.name]
    assert next_.answer is WAITING, "the next change takes one of its own"


def test_a_freeze_keeps_nobody_from_rolling_back_and_nobody_from_signing() -> None:
    run = fold(in_staged())
    found = [finding(run, "no-regression", FAIL, "worse"), frozen("full", BEGIN + 99 * HOUR)]
    assert isinstance(advance(run.book, run, found, BEGIN + HOUR), RollBack)
    text = TEXT.replace("    exit: [{check: contracts-complete}]", "    exit: [{sign-off: engineering, name: read}]")
    run = fold([started(small(text)), Entered(run="small-1", at=BEGIN, step=1, phase="ready")])
    asked = advance(run.book, run, [frozen("staged", BEGIN + HOUR)], BEGIN)
    assert isinstance(asked, Ask)
    assert (asked.roles, asked.why) == (("engineering",), ("read: to be signed off by engineering",))


def test_what_has_begun_to_change_is_changed_to_its_end() -> None:
    records = [*in_ready(), Entered(run="small-1", at=BEGIN, step=2, phase="staged")]
    run = fold(records)
    assert changing(run) is run.book.phase("staged")
    action = run.visit.phase.entering[0]
    begun = Acting(run="small-1", at=BEGIN, step=2, number=0, action=action, before={})
    assert changing(fold([*records, begun])) is None
    done = Acted(run="small-1", at=BEGIN, step=2, number=0, says="done")
    assert changing(fold([*records, begun, done])) is None
