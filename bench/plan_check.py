"""How long does `upshift plan check` take on a plan of thousands of workloads?"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

_HEAD = """upshift: 1
name: large
providers:
  answers: {dialect: anthropic, base_url: "http://127.0.0.1:9000"}
models:
  large: {provider: answers, context: 1M, price: {input: $2, output: $10}}
  small: {provider: answers, context: 1M, price: {input: $1, output: $5}}
model_tiers:
  premium: [large]
  budget: [small]
tiers: [free, pro]
tenants:
  acme: {timezone: UTC, owner: ada@acme.example, default_tier: free}
gates:
  soft:
    overage: soft-cap
    ceilings: {free: {month: 500k}, pro: {month: 5M}}
workloads:
"""
_SHORT = """  W-{number}:
    name: Workload {number}
    owner: Sarah
    status: committed
    ships: Q{quarter}-2026
    users: 4,200
    estimate: {{sessions: 18, tokens: 520k, ops: 6h}}
    models: {{primary: premium, degrade_to: budget}}
    gate: soft
"""
_FULL = """  W-{number}:
    name: Workload {number}
    owner: Sarah
    status: committed
    ships: Q{quarter}-2026
    stakeholder: department {department}
    shape: chat
    users: {{free: {number}, pro: {{users: 200, weight: 3}}}}
    estimate:
      sessions: 12..18..30
      tokens: 520k +-20%
      cached: 60%
      session: 5m..9m..20m
      busy: 3
      ops: 6h
    models: {{primary: premium, degrade_to: budget}}
    gate: soft
"""


def plan_of(rows: int, *, full: bool) -> str:
    """The text of a plan with so many workloads: the columns of a scale-out plan, or `full` with ranges and tiers."""
    row = _FULL if full else _SHORT
    return _HEAD + "".join(
        row.format(number=number, quarter=number % 4 + 1, department=number % 50) for number in range(rows)
    )


def measure(rows: int, times: int, *, full: bool) -> dict[str, float | int | bool]:
    """Seconds of whole runs of the command, from starting Python to its end: least and median, wall and CPU."""
    took, worked = [], []
    with TemporaryDirectory() as folder:
        file = Path(folder) / "plan.yaml"
        file.write_text(plan_of(rows, full=full))
        command = [sys.executable, "-m", "upshift", "plan", "check", str(file), "--json"]
        for _ in range(times):
            started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            took.append(time.perf_counter() - started)
            worked.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    took.sort()
    worked.sort()
    return {
        "rows": rows,
        "full": full,
        "times": times,
        "least_s": round(took[0], 2),
        "median_s": round(took[len(took) // 2], 2),
        "least_cpu_s": round(worked[0], 2),
        "median_cpu_s": round(worked[len(worked) // 2], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    for full in (False, True):
        print(json.dumps(measure(asked.rows, asked.times, full=full)))


if __name__ == "__main__":
    main()
