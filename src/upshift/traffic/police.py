"""May this workload ask this of that model?"""

from upshift.model.refusal import NotAllowed, Refused
from upshift.traffic.dispatch import Work, speaking
from upshift.traffic.snapshot import Dialect
from upshift.traffic.targets import takes


def allow(work: Work, dialect: Dialect) -> None:
    """Hold a call to its workload's model-tier policy. Raises Refused for a model outside it."""
    workload, model = work.workload, work.model
    if not takes(model, dialect):
        raise Refused(
            NotAllowed(
                what=f"model {model.name!r} in the {dialect} dialect (it speaks {model.provider.dialect})",
                allowed=speaking(workload, dialect),
            )
        )
    if all(model is not each for each in workload.models):
        policy = workload.primary_tier + (
            f", degrading to {workload.substitute_tier}" if workload.substitute_tier else ""
        )
        pinned = "; it is pinned" if workload.routing.pin else ""
        raise Refused(
            NotAllowed(
                what=f"model {model.name!r} for workload {workload.id!r} (policy: {policy}{pinned})",
                allowed=speaking(workload, dialect),
            )
        )
