"""Does a run end the same, told once, when its engine is killed at any instant, again and again?"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("replicas", "kills"), [(1, 30), (2, 10)])
def test_an_engine_that_is_killed_at_any_instant_comes_to_the_same_end(
    tmp_path: Path, replicas: int, kills: int
) -> None:
    command = [sys.executable, "-m", "tests.engine.crashing_engine", str(tmp_path), str(kills), "7", str(replicas)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=360)
        finally:
            # With its replicas, which would go on and hold the pipes.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert found["killed"] == kills
    alone = found["alone"]
    assert alone["state"] == "finished"
    for one in (alone, *found["rounds"]):
        assert one["history"] == alone["history"]
        assert one["told_once"], "every notice has arrived, and its receiver dropped the copies"
        assert one["letters_twice"] == [], "no letter was written twice"
        # A letter that may have been sent when its sender died is not sent again.
        assert 0 <= one["letters_lost"] <= one["killed"]
