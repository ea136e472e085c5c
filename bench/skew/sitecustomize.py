"""Which time does a process believe it is whose machine's clock is wrong? Found by the interpreter as it starts.

Put in front of PYTHONPATH by `bench.faults`, so that neither the program nor its settings know of it. Only the wall
clock is wrong: those that measure durations go on as before, as on real machines.
"""

import os
import time

_SECONDS = int(os.environ.get("BENCH_CLOCK_SKEW_SECONDS", "0"))
_time, _time_ns = time.time, time.time_ns


def _skewed() -> float:
    return _time() + _SECONDS


def _skewed_ns() -> int:
    return _time_ns() + _SECONDS * 1_000_000_000


if _SECONDS:
    time.time, time.time_ns = _skewed, _skewed_ns
