"""How do the tests run commands?"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.admin.installation import PLAN
from typer.testing import CliRunner

from upshift.cli.root import app


@dataclass
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs commands against one database, which begins without a plan."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.db = folder / "upshift.db"

    def run(self, *words: str, key: str = "", answer: str = "") -> Ran:
        variables = {"UPSHIFT_DB": str(self.db), "UPSHIFT_KEY": key, "COLUMNS": "200"}
        done = CliRunner().invoke(app, list(words), input=answer, env=variables)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Ran(done.exit_code, done.stdout, done.stderr)

    def ok(self, *words: str, key: str = "", answer: str = "") -> Ran:
        ran = self.run(*words, key=key, answer=answer)
        assert ran.code == 0, ran.err or ran.out
        return ran

    def json(self, *words: str, key: str = "") -> Any:
        return self.ok(*words, "--json", key=key).json

    def apply(self, plan: Path = PLAN) -> None:
        self.ok("plan", "apply", str(plan), "--yes")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("UPSHIFT_")}
    yield Shell(tmp_path)
    os.environ.update(kept)


@pytest.fixture
def planned(shell: Shell) -> Shell:
    shell.apply()
    return shell
