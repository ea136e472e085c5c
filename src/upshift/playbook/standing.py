"""Which interfaces are active, and which share of its sessions does an agent get, by what was decided?"""

from collections.abc import Iterable

import msgspec

from upshift.model.entry import Decision
from upshift.model.span import Instant

ACTIVATED, DEACTIVATED, SHARED = "interface-activated", "interface-deactivated", "traffic-share"
KINDS = (ACTIVATED, DEACTIVATED, SHARED)


class Standing(msgspec.Struct, frozen=True):
    """Active interfaces, sorted; and the share of sessions, 0 to 1, of agents that do not get all of them."""

    interfaces: tuple[str, ...] = ()
    shares: dict[str, float] = {}

    def share(self, agent: str) -> float | None:
        """None where nothing was decided about an agent."""
        return self.shares.get(agent)


def standing(decisions: Iterable[Decision], at: Instant | None = None) -> Standing:
    """What holds by decisions in the order of the ledger; with `at`, what held then."""
    active: set[str] = set()
    shares: dict[str, float] = {}
    for one in decisions:
        if at is not None and one.at > at:
            continue
        if one.kind == ACTIVATED:
            active.add(one.subject)
        elif one.kind == DEACTIVATED:
            active.discard(one.subject)
        elif one.kind == SHARED:
            share = one.detail.get("share")
            if isinstance(share, str):
                shares[one.subject] = float(share)
            else:
                shares.pop(one.subject, None)
    return Standing(tuple(sorted(active)), shares)
