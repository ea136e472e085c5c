"""Which workload is the call for, and which model does it ask for?"""

import msgspec

from upshift.model.ids import ModelTierId, TenantId, WorkloadId
from upshift.model.refusal import BadRequest, NotAllowed, Refused, UnknownModel
from upshift.traffic.identify import Caller
from upshift.traffic.snapshot import Dialect, Model, Shape, Snapshot, Task, Workload
from upshift.traffic.targets import can_carry, speaks, takes
from upshift.traffic.wire.ask import Ask

WORKLOAD_HEADER = b"x-upshift-workload"
TASK_HEADER = b"x-upshift-task"


class Work(msgspec.Struct, frozen=True):
    """What is to be done: a workload, and the model asked for."""

    workload: Workload
    model: Model
    tier: tuple[Model, ...] = ()
    """The models of the tier that was asked for by name; empty where a model was."""
    task: str = ""
    open_to_tasks: bool = False
    """The client asked for the workload, and leaves it to the plan which tier serves it."""


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
        first = _first(workload.primary, dialect, model)
        return Work(workload, first, workload.primary, open_to_tasks=True)
    own = {each.name: each for each in workload.models}
    tier = snapshot.model_tiers.get(ModelTierId(model))
    if tier is not None:
        # Only the models that are open to the workload, in its own version, which keeps to the routes of its pin. Where
        # there is none, the police says so.
        members = tuple(own[each.name] for each in tier if each.name in own) or tier
        return Work(workload, _first(members, dialect, model), members)
    found = snapshot.models.get(model)
    if found is None:
        raise Refused(UnknownModel(model=model[:200], known=speaking(workload, dialect)))
    return Work(workload, own.get(found.name, found))


def for_task(work: Work, named: bytes | None, ask: Ask, input_tokens: int) -> Work:
    """The work with the tier of its task, named by header or else recognised by the shape of the request.

    Only where the client left the tier to the plan: who asks for a model or a tier gets it. Raises Refused for a task
    that the workload does not have.
    """
    tasks = work.workload.routing.tasks
    if not tasks or not work.open_to_tasks:
        return work
    if named:
        name = named.decode("utf-8", "replace")
        task = next((each for each in tasks if each.name == name), None)
        if task is None:
            known = ", ".join(each.name for each in tasks)
            what = f"workload {work.workload.id} has no task {name[:64]!r}; it has {known}"
            raise Refused(BadRequest(where=TASK_HEADER.decode(), what=what))
    elif ask.dialect is Dialect.EMBEDDINGS:
        # Long texts and short ones have to be embedded by one model, or they cannot be compared.
        return work
    else:
        task = next((each for each in tasks if each.shape is not None and _like(each.shape, ask, input_tokens)), None)
    if task is None:
        return work
    return Work(work.workload, _able(task, ask), task.models, task.name, open_to_tasks=True)


def speaking(workload: Workload, dialect: Dialect) -> tuple[str, ...]:
    """Names of a workload's models that can be asked for in a dialect."""
    return tuple(model.name for model in workload.models if takes(model, dialect))


def _like(shape: Shape, ask: Ask, input_tokens: int) -> bool:
    if not shape.needs <= ask.needs or shape.without & ask.needs:
        return False
    if shape.above is not None and input_tokens <= shape.above:
        return False
    return shape.below is None or input_tokens < shape.below


def _able(task: Task, ask: Ask) -> Model:
    """The first of a task's models that can do what is asked for, native ones first; else the first."""
    able = [model for model in task.models if any(can_carry(each.provider, ask) for each in model.routes)]
    able = [model for model in able if not ask.needs - model.abilities] or able or list(task.models)
    return next((model for model in able if speaks(model, ask.dialect)), able[0])


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
    """The first model that speaks the dialect itself, else the first that can be asked in it."""
    able = [model for model in models if takes(model, dialect)]
    if able:
        return next((model for model in able if speaks(model, dialect)), able[0])
    raise Refused(UnknownModel(model=f"{asked} (none of its models can be asked in {dialect})", known=()))
