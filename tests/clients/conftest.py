"""Clients that weigh hundreds of megabytes run only when they are asked for: `make test-clients`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.clients.installation import House, house
from tests.clients.places import HERE, MODULES


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder out, unless the command line names it."""
    named = [Path(each.partition("::")[0]).resolve() for each in config.invocation_params.args if each[:1] != "-"]
    if any(path.is_relative_to(HERE) for path in named if path.exists()):
        if not MODULES.exists():
            pytest.exit("the clients are not installed: `make test-clients` does it", returncode=3)
        return None
    return True


@pytest.fixture
async def ample(tmp_path: Path) -> AsyncIterator[House]:
    """A house with a budget that is never reached."""
    async with house(tmp_path) as found:
        yield found


@pytest.fixture
async def spent(tmp_path: Path) -> AsyncIterator[House]:
    """A house whose budget is too small for any call."""
    async with house(tmp_path, "10") as found:
        yield found
