"""May this workload ask this of that model?"""

from upshift.model.refusal import NotAllowed, Refused
from upshift.traffic.dispatch import Work, speaking
from upshift.traffic.snapshot import Dialect


def allow(work: Work, dialect: Dialect) -> None:
    """Hold a call to its workload's model-tier policy. Raises Refused for a model outside it."""
    workload, model = work.workload, work.model
    if model.provider.dialect is not dialect:
        raise Refused(
            NotAllowed(
                what=f"model {model.name!r} in the {dialect} dialect (it speaks {model.provider.dialect})",
                allowed=speaking(workload, dialect),
            )
        )
    if all(model is not each for each in workload.primary + workload.substitutes):
        raise Refused(
            NotAllowed(
                what=f"model {model.name!r} for workload {workload.id!r} (policy: {workload.primary_tier}"
                + (f", degrading to {workload.substitute_tier})" if workload.substitute_tier else ")"),
                allowed=speaking(workload, dialect),
            )
        )
