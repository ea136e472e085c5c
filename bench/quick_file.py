"""How do ten million calls get into an SQLite file in minutes? Made up by the rules of quick.py, which see."""

import random
import sqlite3
from collections.abc import Iterator
from itertools import product
from math import exp

from bench.month import BEGIN, END, MODELS, PLAN, TENANTS, USERS, WORKLOADS
from upshift.store.schema import (
    BUDGET_COLUMNS,
    CALL_COLUMNS,
    COUNTER_COLUMNS,
    DEED_COLUMNS,
    GROUP_COLUMNS,
    PROFILE_COLUMNS,
)
from upshift.store.totals import DAY

_DAYS = (END - BEGIN) // DAY
_DEEDS = 3_000
_PER_GROUP = 1_000
_PIECE = 500_000
_DETAIL = '{"threshold":70,"measure":"tokens","used":70,"limit":100,"runs_out":null}'


def _budget(day: int, tenant: int, user: int, which: int) -> int:
    return 1 + ((day * TENANTS + tenant) * USERS + user) * 2 + which


def _profile(budget: int, model: int, failed: int) -> int:
    return 1 + ((budget - 1) * len(MODELS) + model) * 2 + failed


def _workload(user: int, which: int) -> str:
    return WORKLOADS[(user + which) % len(WORKLOADS)]


def _budgets() -> Iterator[tuple[object, ...]]:
    for day, tenant, user, which in product(range(_DAYS + 1), range(TENANTS), range(USERS), range(2)):
        window, period = ("day", f"2026-10-{day + 1:02}") if day < _DAYS else ("month", "2026-10")
        yield (
            _budget(day, tenant, user, which), 1, f"tenant-{tenant}", f"user-{tenant}-{user}", _workload(user, which),
            "included", window, period,
        )  # fmt: skip


def _profiles() -> Iterator[tuple[object, ...]]:
    for day, tenant, user, which in product(range(_DAYS), range(TENANTS), range(USERS), range(2)):
        budget, workload, name = _budget(day, tenant, user, which), _workload(user, which), f"user-{tenant}-{user}"
        for model, failed in product(range(len(MODELS)), range(2)):
            yield (
                _profile(budget, model, failed), 1, "settle", f"[{budget}]", PLAN, f"tenant-{tenant}", name, "standard",
                workload, f"pod-{len(workload)}", workload, "", f"key-{name}", "openai_chat", 1, "auto", MODELS[model],
                "provider", "upstream_error" if failed else "served", 502 if failed else 200, "included", "", "exact",
            )  # fmt: skip


def _calls(first: int, last: int, step: int, draw: random.Random) -> Iterator[tuple[object, ...]]:
    chance = draw.random
    for number in range(first, last + 1):
        started = BEGIN + number * step
        day = number * step // DAY
        tenant, user, which = int(chance() * chance() * TENANTS), int(chance() * USERS), int(chance() * 2)
        profile = _profile(
            _budget(day, tenant, user, which), int(chance() * chance() * len(MODELS)), int(chance() < 0.02)
        )
        input_, cached, output = int(chance() * 8000), int(chance() * 2000), int(chance() * 900)
        latency, request = int(exp(draw.gauss(14.5, 0.8))), f"{number:026x}"
        cost = input_ * 3000 + output * 15000
        yield (
            2 * number, request, profile, started, started + latency, f"user-{tenant}-{user}-{day}",
            f"chatcmpl-{request}", input_, cached, 0, 0, output, 0, cost, cost, input_ + output, 12_000, 60_000_000,
            latency, latency // 4, 180,
        )  # fmt: skip


def _put(db: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> None:
    names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
    db.execute("BEGIN")
    db.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
    db.execute("COMMIT")


def fill(db: sqlite3.Connection, records: int) -> None:
    """Fill an empty, prepared file; `records` is a multiple of 1,000."""
    step, apart = (END - BEGIN) // (records + 1), max(1, records // _DEEDS)
    draw = random.Random(1)
    db.execute("PRAGMA synchronous = OFF")
    _put(db, "budgets", BUDGET_COLUMNS, _budgets())
    _put(db, "profiles", PROFILE_COLUMNS, _profiles())
    for first in range(1, records + 1, _PIECE):
        _put(db, "calls", CALL_COLUMNS, _calls(first, min(records, first + _PIECE - 1), step, draw))
    counters = ((row[0], draw.randrange(200_000), draw.randrange(2 * 10**9), 0, 0, 0, 0) for row in _budgets())
    _put(db, "counters", COUNTER_COLUMNS, counters)
    deeds = (
        (2 * n * apart - 1, "alert", f"alert/{n}", BEGIN + n * apart * step, PLAN, "", f"[{n}]", 0, 0, _DETAIL)
        for n in range(1, _DEEDS + 1)
    )
    _put(db, "deeds", DEED_COLUMNS, deeds)
    groups = ((last, last - _PER_GROUP + 1, last + 1, b"") for last in range(_PER_GROUP, 2 * records + 1, _PER_GROUP))
    _put(db, "groups", GROUP_COLUMNS, groups)
