"""Whose clocks do the people live by whose figures are watched?"""

from collections.abc import Iterable

from upshift.evidence.measurement import Of, Scope
from upshift.model.ids import TenantId
from upshift.traffic.snapshot import Snapshot, Workload

_UNSAID = "UTC"


def zone_of(scope: Scope, snapshot: Snapshot, otherwise: str) -> str:
    """The time zone that all tenants of a scope share; `otherwise` where they differ, or none of them says one.

    Tenants of a workload or pod are those that may call it; of an agent, those of the workload that it serves.
    """
    zones = {snapshot.tenants[name].zone for name in _tenants(scope, snapshot) if name in snapshot.tenants}
    one = zones.pop() if len(zones) == 1 else _UNSAID
    return otherwise if one == _UNSAID else one


def _tenants(scope: Scope, snapshot: Snapshot) -> Iterable[TenantId]:
    everything = snapshot.workloads.values()
    match scope.of:
        case Of.WORKLOAD:
            return _who([each for each in everything if each.id == scope.name])
        case Of.POD:
            return _who([each for each in everything if each.pod == scope.name])
        case Of.AGENT:
            served = {each.workload for each in snapshot.agents.values() if each.id == scope.name}
            return _who([each for each in everything if each.id in served])
        case Of.SYSTEM | Of.INTERFACE:
            return snapshot.tenants


def _who(workloads: Iterable[Workload]) -> set[TenantId]:
    return {tenant for each in workloads for tenant in each.tenants}
