"""Which kinds of names exist, so that a user is never passed where a tenant is meant."""

from typing import NewType

TenantId = NewType("TenantId", str)
UserId = NewType("UserId", str)
PodId = NewType("PodId", str)
ProjectId = NewType("ProjectId", str)
WorkloadId = NewType("WorkloadId", str)
TierId = NewType("TierId", str)
GateId = NewType("GateId", str)
ProviderId = NewType("ProviderId", str)
ModelName = NewType("ModelName", str)
ModelTierId = NewType("ModelTierId", str)
AgentId = NewType("AgentId", str)
KeyId = NewType("KeyId", str)
RequestId = NewType("RequestId", str)
PlanHash = NewType("PlanHash", str)
