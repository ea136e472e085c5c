"""What do small plans look like to planning?"""

from typing import Any

from upshift.model.ids import GateId, ModelName, ModelTierId, PlanHash, TierId, WorkloadId
from upshift.model.quarter import Quarter
from upshift.model.rates import RateCard, Rates
from upshift.planning.outline import Audience, Estimate, Ops, Outline, Row, Share, Status, exactly

NOW = Quarter(2026, 4)
CARD = RateCard(
    steps=(
        Rates(
            input=3_000_000_000,
            output=15_000_000_000,
            cached=300_000_000,
            cache_write_5m=3_750_000_000,
            cache_write_1h=6_000_000_000,
        ),
    ),
    source="a test",
)


def row(name: str = "W-01", **more: Any) -> Row:
    """A complete row: 280 users, 60 sessions, 1.4M tokens, 2 h of ops."""
    said: dict[str, Any] = {
        "id": WorkloadId(name),
        "owner": "Priya",
        "ships": Quarter(2027, 1),
        "audiences": (Audience(None, exactly(280.0)),),
        "estimate": Estimate(
            sessions=exactly(60.0), tokens=exactly(1_400_000.0), ops_hours=exactly(2.0), minutes=exactly(12.0)
        ),
        "primary": ModelTierId("sonnet"),
        "mix": (Share(ModelName("sonnet"), 1.0, CARD),),
        "gate": GateId("soft"),
        "overage": ("soft-cap",),
        "ceilings": ((TierId("pro"), 2_000_000, None),),
        "stakeholder": "sales",
    }
    return Row(**{**said, **more})


def plan(*rows: Row, staffing: Ops | None = None, sign_offs: bool = True, **more: Any) -> Outline:
    return Outline(
        plan=PlanHash("p" * 64), name="acme", rows=rows, staffing=staffing or Ops(), sign_offs=sign_offs, **more
    )


CANDIDATE, PLANNED, COMMITTED = Status.CANDIDATE, Status.PLANNED, Status.COMMITTED
