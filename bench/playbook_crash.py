"""Does a playbook come to the same end however often its engines are killed?

`python -m bench.playbook_crash [--kills N] [--replicas N] [--files] [--json]`: replicas on one PostgreSQL (or on SQLite
files) rehearse a playbook; one after the other is killed at a random instant (SIGKILL) and started again. Every run has
to have the history of one that nobody disturbed, and every notice has to have arrived once.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from tests.postgres import Server

ROOT = Path(__file__).parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", action="store_true", help="SQLite files rather than PostgreSQL")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="playbooks-"))
    server = None if given.files else Server(Path(tempfile.mkdtemp(prefix="postgres-")))
    try:
        # As many databases as there may be rounds: one has a kill at least.
        urls = [] if server is None else [server.url(server.new_database()) for _ in range(min(given.kills, 60) + 1)]
        words = [str(folder), str(given.kills), str(given.seed), str(given.replicas), *urls]
        ran = subprocess.run(
            [sys.executable, "-m", "tests.engine.crashing_engine", *words],
            cwd=ROOT, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder)
    if ran.returncode:
        sys.stderr.write(ran.stderr)
        return 1
    found = json.loads(ran.stdout)
    rounds = found["rounds"]
    summary = {
        "kept_in": "SQLite" if given.files else "PostgreSQL",
        "replicas": given.replicas,
        "killed": found["killed"],
        "runs": len(rounds),
        "same_history": sum(one["history"] == found["alone"]["history"] for one in rounds),
        "told_once": sum(one["told_once"] for one in rounds),
        "letters_twice": sum(len(one["letters_twice"]) for one in rounds),
        "letters_lost": sum(one["letters_lost"] for one in rounds),
        "seconds": found["seconds"],
    }
    if given.json:
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    else:
        console = Console()
        for name, value in summary.items():
            console.print(f"{name.replace('_', ' '):>14}  {value}")
    good = summary["same_history"] == summary["told_once"] == len(rounds) and not summary["letters_twice"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
