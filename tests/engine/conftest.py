"""Where do the tests of the engine get an installation?"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.admin.installation import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path / "upshift.db")
    made.apply()
    yield made
    made.desk.journal.close()
