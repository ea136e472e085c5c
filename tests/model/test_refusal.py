"""Can every reason to say no be written down, read again and carried by the one exception?"""

import msgspec
import pytest
from tests.traffic.builders import budget_key

from upshift.model.refusal import BadRequest, Busy, NoKey, Reason, Refused


@pytest.mark.parametrize("reason", [BadRequest("$.model", "found 3"), NoKey(), Busy(budget_key(), 30.0, 5)])
def test_a_reason_is_read_as_it_was_written(reason: Reason) -> None:
    assert msgspec.json.decode(msgspec.json.encode(reason), type=Reason) == reason


def test_a_refusal_carries_its_reason() -> None:
    assert Refused(NoKey()).reason == NoKey()
    assert "NoKey" in repr(Refused(NoKey()))
