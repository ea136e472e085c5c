"""Which rules may an organisation set for everything that its plan says?"""

from typing import Literal, TypeAlias

from upshift.plan_file.figures import Share
from upshift.plan_file.parts import Sparse
from upshift.plan_file.quantities import Money, Tokens
from upshift.plan_file.texts import Name

Required: TypeAlias = Literal[
    "contract", "data", "degrade_to", "estimate", "pod", "project", "second-provider", "shape", "sla", "stakeholder"
]


class DataClass(Sparse):
    """Which models may see data of a class. A name is a provider's or a model's."""

    only: list[str] = []
    """The only ones that may; all, where it is empty."""
    never: list[str] = []
    """Those that may not."""


class Policies(Sparse):
    """Rules that the whole plan has to keep."""

    enforce: Literal["refuse", "warn"] = "refuse"
    """What becomes of a plan that breaks one: it is refused, or it is warned of."""
    required: list[Required] = []
    """What each planned and committed workload has to state beside owner, quarter and gate."""
    vendor_share: Share | None = None
    """The most of the estimated tokens that one provider may serve."""
    month_money: Money | None = None
    """The most US dollars a month that a gate may let one user use."""
    month_tokens: Tokens | None = None
    """The most tokens a month that a gate may let one user use."""
    data: dict[Name, DataClass] = {}
    """Classes of data, by name, for workloads to say theirs."""
