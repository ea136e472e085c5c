"""Does `upshift serve` run a gateway and its admin process, and end both however it ends?"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.admin.installation import PLAN

LIMIT = 150


class Serving:
    """A running `upshift serve`."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.log = folder / "serve.log"
        variables = {name: value for name, value in os.environ.items() if not name.startswith("UPSHIFT_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "upshift", "serve", "--port", "0", "--admin-port", "0", "--json", *words],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**variables, "UPSHIFT_DB": str(folder / "upshift.db")},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.said: dict[str, Any] = json.loads(line)

    def end(self, how: int) -> int:
        self.process.send_signal(how)
        code = self.process.wait(LIMIT)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextlib.contextmanager
def serving(folder: Path, *words: str) -> Iterator[Serving]:
    made = Serving(folder, *words)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.end(signal.SIGKILL)


def get(url: str, key: str = "") -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def child_of(parent: int) -> int:
    (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(child)


def wait_for_end(process: int) -> None:
    """Returns when a process that is not our child has ended."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], LIMIT)[0], "the process did not end"
    finally:
        os.close(descriptor)


def test_it_serves_shows_the_first_key_once_and_stops(tmp_path: Path) -> None:
    with serving(tmp_path, "--plan", str(PLAN)) as running:
        assert get(running.said["gateway"] + "/healthz")[0] == 200
        key = running.log.read_text().split("admin key (shown this once): ")[1].split()[0]
        assert get(running.said["admin"] + "/healthz") == (200, b'{"status":"ok"}')
        status, body = get(running.said["admin"] + "/api/v1/plan", key)
        assert (status, json.loads(body)["hash"]) == (200, running.said["plan"])
        assert running.said["pid"] == running.process.pid
        child = child_of(running.process.pid)
        assert running.end(signal.SIGTERM) == 0
        wait_for_end(child)
    with serving(tmp_path) as running:
        assert running.end(signal.SIGINT) == 0
    assert running.log.read_text().count("shown this once") == 1


def test_the_admin_process_is_started_again_and_ends_with_a_killed_gateway(tmp_path: Path) -> None:
    with serving(tmp_path, "--plan", str(PLAN)) as running:
        assert get(running.said["admin"] + "/healthz")[0] == 200
        first = child_of(running.process.pid)
        os.kill(first, signal.SIGKILL)
        # Nobody is refused meanwhile: the socket stays open, and the next process takes the connection.
        assert get(running.said["admin"] + "/healthz")[0] == 200
        second = child_of(running.process.pid)
        assert second != first
        running.end(signal.SIGKILL)
        wait_for_end(second)


def test_without_an_admin_process(tmp_path: Path) -> None:
    with serving(tmp_path, "--plan", str(PLAN), "--no-admin") as running:
        assert running.said["admin"] is None
        assert running.end(signal.SIGTERM) == 0


def test_two_gateways_on_one_file(tmp_path: Path) -> None:
    with serving(tmp_path, "--plan", str(PLAN), "--no-admin") as running:
        command = [sys.executable, "-m", "upshift", "serve", "--db", str(tmp_path / "upshift.db"), "--no-admin"]
        done = subprocess.run([*command, "--port", "0"], capture_output=True, text=True, timeout=LIMIT, check=False)
        assert done.returncode == 1
        assert f"is in use by process {running.process.pid}" in done.stderr
        assert "Traceback" not in done.stderr
        running.end(signal.SIGTERM)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with serving(tmp_path, "--plan", str(PLAN), "--no-admin") as running:
        port = running.said["gateway"].rpartition(":")[2]
        other = [sys.executable, "-m", "upshift", "serve", "--plan", str(PLAN), "--db", str(tmp_path / "other.db")]
        for words in (["--port", port, "--no-admin"], ["--port", "0", "--admin-port", port]):
            done = subprocess.run([*other, *words], capture_output=True, text=True, timeout=LIMIT, check=False)
            assert done.returncode == 1
            assert "in use" in done.stderr
            assert "Traceback" not in done.stderr
        running.end(signal.SIGTERM)


@pytest.mark.parametrize("words", [["--json"], []])
def test_the_simulated_provider(words: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "upshift", "simulate", "--port", "0", *words], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            url = json.loads(line)["url"] if words else line.split()[3]
            assert get(f"{url}/v1/models")[0] == 200
        finally:
            process.terminate()
            process.wait(LIMIT)
