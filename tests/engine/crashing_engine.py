"""Which engine do the crash tests kill? One of playbooks, forked anew after each kill, on a clock that is a file.

`python -m tests.engine.crashing_engine FOLDER KILLS SEED REPLICAS [URL ...]` rehearses a playbook again and again,
killing a replica (SIGKILL) at random instants, until so many were killed; each time in the next database: of the URLs,
else files in the folder. Writes one JSON document: the histories, what was told how often, and how many were killed.
"""

import fcntl
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import structlog
from tests.engine.rehearsals import Letterbox, Pigeonhole, quick, rehearsal

from upshift.engine.rehearsal import BEGIN, TICK, history
from upshift.engine.runner import LEASE, load
from upshift.model.span import MICROS
from upshift.playbook.notices import notices
from upshift.playbook.run import fold
from upshift.store import engines
from upshift.store.place import parse

RUN = "quick-rehearsal"
_AFTER = 3
"""Turns after the end, in which what was interrupted is told."""


_LEASE = 6 * TICK / MICROS
"""Seconds: longer than the turn that a replica is in the middle of."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """To read the clock, or to move it; ends with its process.

    Whoever had read it long before it asks for the lease would take the other's for one of a clock set back.
    """
    with (folder / "gate").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield


def work(db: str, folder: Path, replica: str) -> None:
    """Be one replica until the run is over and everything is told."""
    journal = engines.open_journal(parse(db))
    made = rehearsal(journal, folder, holder=replica, lease_seconds=_LEASE)
    made.start(quick())
    clock, left = folder / "turn", _AFTER
    while left:
        with alone(folder):
            turn = int(clock.read_text())
            made.clock.at = BEGIN + turn * TICK
            now = made.clock.now()
            leased = journal.lease(LEASE, replica, now, _LEASE)
        if not leased:
            # Whoever has it moves the clock on, or is started again.
            time.sleep(0.001)
            left -= int(fold(load(journal, RUN)).over and not (folder / "going").exists())
            continue
        over = made.tick(RUN).over
        with alone(folder):
            whole = folder / f"turn.{replica}"
            whole.write_text(str(turn + 1))
            whole.replace(clock)
            # Given up, so that the other one may have the next turn.
            journal.lease(LEASE, replica, now, 0.0)
        left -= over
    (folder / "going").unlink(missing_ok=True)


def start(db: str, folder: Path, replica: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work(db, folder, replica)
        status = 0
    finally:
        os._exit(status)


def round_of(db: str, folder: Path, replicas: int, kills: int, draws: random.Random) -> dict[str, object]:
    """One run from its start to its end, with at most so many kills."""
    folder.mkdir()
    (folder / "turn").write_text("0")
    (folder / "going").touch()
    engines.prepare(parse(db))
    living = {name: start(db, folder, name) for name in "abcdef"[:replicas]}
    killed = 0
    while living:
        if killed < kills:
            time.sleep(draws.uniform(0.0, 0.3))
            name = draws.choice(sorted(living))
            os.kill(living[name], signal.SIGKILL)
        else:
            name = min(living)
        _, status = os.waitpid(living.pop(name), 0)
        if os.WIFSIGNALED(status):
            killed += 1
            living[name] = start(db, folder, name)
        elif status:
            raise RuntimeError(f"replica {name} failed")
    journal = engines.open_journal(parse(db))
    records = load(journal, RUN)
    journal.close()
    wanted = sorted(one.id for one in notices(records))
    letters = Counter(Letterbox(folder / "letters").ids())
    return {
        "killed": killed,
        "state": fold(records).state.value,
        "history": sha256(history(records).encode()).hexdigest(),
        "records": len(records),
        "told_once": Pigeonhole(folder / "holes").ids() == wanted,
        "letters_twice": [each for each, times in letters.items() if times > 1],
        "letters_lost": len([one for one in notices(records) if one.urgent]) - len(letters),
    }


def main(folder: Path, kills: int, seed: int, replicas: int, urls: list[str]) -> dict[str, object]:
    """An undisturbed run, and disturbed ones until so many replicas were killed."""
    draws = random.Random(seed)
    places = iter([*urls, *(str(folder / f"{number}.db") for number in range(kills + 1))])
    began = time.monotonic()
    alone = round_of(next(places), folder / "alone", 1, 0, draws)
    rounds: list[dict[str, object]] = []
    killed = 0
    while killed < kills:
        done = round_of(next(places), folder / f"round-{len(rounds)}", replicas, kills - killed, draws)
        rounds.append(done)
        killed += int(str(done["killed"]))
    return {"alone": alone, "rounds": rounds, "killed": killed, "seconds": round(time.monotonic() - began, 1)}


def _nothing(logger: object, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    raise structlog.DropEvent


if __name__ == "__main__":
    structlog.configure(processors=[_nothing])
    given = sys.argv[1:]
    found = main(Path(given[0]), int(given[1]), int(given[2]), int(given[3]), given[4:])
    sys.stdout.write(json.dumps(found) + "\n")
