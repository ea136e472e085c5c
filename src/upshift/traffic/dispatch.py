"""Which workload is the call for, and which model does it ask for?"""

import msgspec

from upshift.model.ids import ModelTierId, TenantId, WorkloadId
from upshift.model.refusal import BadRequest, NotAllowed, Refused, UnknownModel
from upshift.traffic.identify import Caller
from upshift.traffic.snapshot import Dialect, Model, Snapshot, Workload

WORKLOAD_HEADER = b"x-upshift-workload"


class Work(msgspec.Struct, frozen=True):
    """What is to be done: a workload, and the model asked for."""

    workload: Workload
    model: Model


def open_to(snapshot: Snapshot, tenant: TenantId, scope: tuple[str, ...]) -> tuple[Workload, ...]:
    """The workloads that a key of this tenant and scope may use."""
    return tuple(
        workload
        for workload in snapshot.workloads.values()
        if tenant in workload.tenants and (not scope or workload.id in scope)
    )


def to(snapshot: Snapshot, caller: Caller, named: bytes | None, model: str, dialect: Dialect) -> Work:
    """The work of a call.

    The workload is named by header, or by using its name as the model, or is the only one open to the key. The
    model is a name or alias of the plan, a model tier (its first model that speaks the dialect), or a workload
    (the same of its primary tier). Raises Refused.
    """
    workload = _workload(snapshot, caller, named.decode("utf-8", "replace") if named else "", model)
    if model == workload.id:
        return Work(workload, _first(workload.primary, dialect, model))
    tier = snapshot.model_tiers.get(ModelTierId(model))
    if tier is not None:
        return Work(workload, _first(tier, dialect, model))
    found = snapshot.models.get(model)
    if found is None:
        raise Refused(UnknownModel(model=model[:200], known=speaking(workload, dialect)))
    return Work(workload, found)


def speaking(workload: Workload, dialect: Dialect) -> tuple[str, ...]:
    """Names of a workload's models that can be asked for in a dialect."""
    models = dict.fromkeys((*workload.primary, *workload.substitutes))
    return tuple(model.name for model in models if model.provider.dialect is dialect)


def _workload(snapshot: Snapshot, caller: Caller, named: str, model: str) -> Workload:
    scope = caller.key.workloads
    meant = snapshot.workloads.get(WorkloadId(model))
    # Another tenant's workload is no name at all here: asked for as a model it is as unknown as any other word.
    name = named or (model if meant is not None and caller.tenant.id in meant.tenants else "")
    if not name:
        candidates = open_to(snapshot, caller.tenant.id, scope)
        if len(candidates) == 1:
            return candidates[0]
        if not candidates:
            raise Refused(NotAllowed(what="any workload of the plan with this key", allowed=()))
        names = ", ".join(workload.id for workload in candidates)
        raise Refused(
            BadRequest(
                where=WORKLOAD_HEADER.decode(),
                what=f"this key may call several workloads ({names}); name one in this header or as the model",
            )
        )
    workload = snapshot.workloads.get(WorkloadId(name))
    if workload is None or caller.tenant.id not in workload.tenants or (scope and name not in scope):
        # One answer for 'unknown' and 'not yours', so that names of other tenants' workloads cannot be probed.
        allowed = tuple(each.id for each in open_to(snapshot, caller.tenant.id, scope))
        raise Refused(NotAllowed(what=f"workload {name[:64]!r}", allowed=allowed))
    return workload


def _first(models: tuple[Model, ...], dialect: Dialect, asked: str) -> Model:
    for model in models:
        if model.provider.dialect is dialect:
            return model
    raise Refused(UnknownModel(model=f"{asked} (none of its models speaks {dialect})", known=()))
