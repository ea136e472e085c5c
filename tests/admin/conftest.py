"""Where do the tests of administration get an installation?"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.admin.installation import Installation


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path / "upshift.db")
    yield made
    made.desk.journal.close()


@pytest.fixture
def installation(empty: Installation) -> Installation:
    empty.apply()
    return empty
