"""Rehearsals for the tests: a playbook of a few simulated hours, and ways out that remember."""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from upshift.engine.rehearsal import Rehearsal, Scenario
from upshift.engine.runner import LEASE_SECONDS
from upshift.model.span import Instant
from upshift.plan_file.books import known_checks, read_book
from upshift.playbook.book import Book
from upshift.playbook.notices import Notice
from upshift.playbook.run import Record
from upshift.store.journal import Journal

PER_HOUR = 60
QUICK = """
playbook: quick
title: A quick one
subject: agent
inputs:
  agent: {says: whose}
  interfaces: {says: which}
phases:
  baseline:
    entry: [{check: baseline-possible, with: &usual {metrics: [latency, task-failure-rate], days: 2, values: 200}}]
    entering: [{do: freeze-baselines, with: *usual}]
    exit: [{check: baseline-frozen, with: {metrics: [latency, task-failure-rate]}}]
  staged:
    window: 6h
    extend: 3h
    entering: [{do: share-of-traffic, with: {share: 50%}}, {do: activate-interfaces, with: {first: 2}}]
    exit:
      - {check: no-regression, with: {metrics: [latency]}}
      - {check: measured, name: few-failures, with: {metric: task-failure-rate, at-most: 0.5, values: 10}}
  full:
    window: 6h
    entering: [{do: share-of-traffic, with: {share: 100%}}, {do: activate-interfaces}]
    exit: [{check: no-regression, with: {metrics: [latency]}}]
  recalibration:
    entering: [{do: recalibrate, with: {metrics: [latency, task-failure-rate], days: 0.2, values: 50, since: full}}]
    exit: [{sign-off: engineering, name: closed}]
"""
DAYS = 2.0


def quick(text: str = QUICK) -> Book:
    return read_book(text, "quick.yaml")


class Pigeonhole:
    """A receiver that drops a second copy by its id, as a webhook's does."""

    name = "pigeonhole"
    again = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def wants(self, notice: Notice, tell: Sequence[str]) -> bool:
        return True

    def send(self, notice: Notice, tell: Sequence[str]) -> None:
        hole = self._folder / sha256(notice.id.encode()).hexdigest()
        if not hole.exists():
            whole = hole.with_suffix(f".{os.getpid()}")
            whole.write_text(notice.id)
            whole.replace(hole)

    def ids(self) -> list[str]:
        return sorted(each.read_text() for each in self._folder.iterdir() if not each.suffix)


class Letterbox:
    """A receiver that keeps every copy, as a mailbox does."""

    name = "letterbox"
    again = False

    def __init__(self, path: Path) -> None:
        self._path = path

    def wants(self, notice: Notice, tell: Sequence[str]) -> bool:
        return notice.urgent

    def send(self, notice: Notice, tell: Sequence[str]) -> None:
        with self._path.open("a") as letters:
            letters.write(f"{notice.id}\n")

    def ids(self) -> list[str]:
        return self._path.read_text().split() if self._path.exists() else []


def rehearsal(
    journal: Journal,
    folder: Path,
    scenario: Scenario = Scenario.GOOD,
    *,
    at: Instant | None = None,
    holder: str = "a",
    lease_seconds: float = LEASE_SECONDS,
) -> Rehearsal:
    ways = (Pigeonhole(folder / "holes"), Letterbox(folder / "letters"))
    made = Rehearsal(
        journal,
        known_checks(),
        scenario,
        ways=ways,
        per_hour=PER_HOUR,
        holder=holder,
        lease_seconds=lease_seconds,
    )
    if at is not None:
        made.clock.at = at
    return made


def rehearsed(journal: Journal, folder: Path, scenario: Scenario = Scenario.GOOD, text: str = QUICK) -> list[Record]:
    made = rehearsal(journal, folder, scenario)
    return made.finish(made.start(quick(text)), DAYS)
