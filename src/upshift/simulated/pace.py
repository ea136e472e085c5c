"""How long does a model of this class take?"""

import re
from typing import NamedTuple

_SMALL = re.compile(r"mini|nano|haiku|flash|lite|small|fast")
_PREMIUM = re.compile(r"opus|pro\b|o3|max|large|ultra|gpt-[56](?!.*(mini|nano))")


class Pace(NamedTuple):
    """Seconds of a model at full speed: until the first token, per uncached input token, and between output tokens."""

    first: float
    per_input: float
    per_output: float

    def until_first(self, uncached: int, quantile: float) -> float:
        """Seconds until the first token; `quantile` (0 to 1) is how unlucky the call is: half at 0, fivefold at 1."""
        return self.first * (0.5 + quantile + 3.5 * quantile**8) + uncached * self.per_input


def pace_of(model: str) -> Pace:
    """The pace of a model, by what its name says of its class: small ones are quick, premium ones slow.

    The figures are of the order that public latency boards show for each class: some 160, 80 and 40 tokens a second.
    """
    if _SMALL.search(model):
        return Pace(0.25, 0.000_03, 0.006)
    if _PREMIUM.search(model):
        return Pace(1.0, 0.000_1, 0.025)
    return Pace(0.5, 0.000_06, 0.0125)
